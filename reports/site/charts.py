"""Small charts as SVG elements: a millisecond each, so that a thousand pages are soon drawn.

Colours are classes of the style sheet, so that charts follow the page into dark mode. Nothing is
told by colour alone: series differ in their dashes or their markers too, and each chart carries
its content in words.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from reports.accuracies import Series
from reports.styles import is_hollow
from reports.text import clipped, one_line, percent

SERIES_STYLES = 6
_WIDTH, _RIGHT, _BOTTOM = 560.0, 14.0, 46.0
_LABEL_LENGTH = 48
_BAND_LABEL_LENGTH = 24
_PITCH, _FEW_SERIES = 9.0, 6  # between the marks of a band, which may be wider where they are few
_MARKERS = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z",
    "M-3.6-3.6H3.6V3.6H-3.6Z",
    "M0-4.8L4.6 3.6H-4.6Z",
    "M0-5L5 0L0 5L-5 0Z",
    "M0 4.8L4.6-3.6H-4.6Z",
    "M-1.6-4.8H1.6V-1.6H4.8V1.6H1.6V4.8H-1.6V1.6H-4.8V-1.6H-1.6Z",
)
_CROSS = "M-4.6-2.6L-2.6-4.6L0-2L2.6-4.6L4.6-2.6L2 0L4.6 2.6L2.6 4.6L0 2L-2.6 4.6L-4.6 2.6L-2 0Z"


@dataclass(frozen=True)
class Axis:
    """One axis from `low` to `high`, linear or logarithmic.

    `percent` shows shares of one, `whole` has no ticks between whole numbers.
    """

    label: str
    low: float
    high: float
    log: bool = False
    percent: bool = False
    whole: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        return (self._scaled(value) - low) / (high - low) if high > low else 0.5

    def ticks(self) -> list[tuple[float, str]]:
        """Round values within the axis, with their labels."""
        powers = self._powers() if self.log else []
        if len(powers) > 1:
            return [(value, _short(value)) for value in powers]
        # Also on a logarithmic axis that is so short that one power says nothing of its scale
        scale = 100 if self.percent else 1
        span = (self.high - self.low) * scale or 1.0
        size = 10 ** math.floor(math.log10(span / 4))
        step = next(size * m for m in (1, 2, 2.5, 5, 10) if span / (size * m) <= 5.5)
        step = max(1, round(step)) if self.whole else step
        first = math.ceil(self.low * scale / step - 1e-9)
        last = math.floor(self.high * scale / step + 1e-9)
        return [(n * step / scale, _short(n * step)) for n in range(first, last + 1)]

    def _powers(self) -> list[float]:
        """Powers of ten within the axis; where they are few, twice and five times these, too."""
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        step = max(1, (last - first) // 5)
        few = last - first < 2
        values = [
            m * 10.0**n
            for n in range(first - few, last + 1, step)
            for m in ((1, 2, 5) if few else (1,))
        ]
        return [value for value in values if self.low <= value <= self.high]

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, 1e-300)) if self.log else value


@dataclass(frozen=True)
class Frame:
    """The size of a chart, and how far its axes stay from its edges."""

    width: float = _WIDTH
    height: float = 300.0
    left: float = 58.0
    right: float = _RIGHT
    top: float = 12.0
    bottom: float = _BOTTOM

    def across(self, x: Axis, value: float) -> float:
        return self.left + x.place(value) * (self.width - self.right - self.left)

    def down(self, y: Axis, value: float) -> float:
        floor = self.height - self.bottom
        return floor - y.place(value) * (floor - self.top)

    def at(self, x: Axis, y: Axis, across: float, up: float) -> str:
        return f"{self.across(x, across):.1f} {self.down(y, up):.1f}"


_FRAME = Frame()


@dataclass(frozen=True)
class Line:
    """A series of points joined by a line; `style` counts from 0, -1 is the muted one."""

    label: str
    points: Sequence[tuple[float, float]]
    style: int
    hollow: bool = False


@dataclass(frozen=True)
class Dot:
    """One point of a scatter plot; `words` appear on hovering, `link` opens on a click."""

    x: float
    y: float
    style: int
    hollow: bool
    words: str
    link: str


def lines(x: Axis, y: Axis, series: Sequence[Line], *, words: str) -> Markup:
    """A line chart as an SVG element with its legend below; `words` is its text alternative."""
    drawn = "".join(_line(x, y, one) for one in series)
    return Markup(
        svg(x, y, drawn, words)
        + _legend([(one.label, marker(one.style, hollow=one.hollow)) for one in series])
    )


def told(series: Sequence[Line]) -> str:
    """Where each series of shares starts and ends, in per cent."""
    return "; ".join(
        f"{one.label} from {percent(one.points[0][1])} to {percent(one.points[-1][1])}"
        for one in series
    )


def scatter(
    x: Axis, y: Axis, dots: Sequence[Dot], front: Sequence[tuple[float, float]], *, words: str
) -> Markup:
    """A scatter plot as an SVG element with a broken line through the points of `front`."""
    path = "L".join(_FRAME.at(x, y, *corner) for corner in front)
    line = f'<path class="front" d="M{path}"/>' if path else ""
    drawn = line + "".join(_dot(x, y, dot) for dot in dots)
    # Links may stand in a group, and not in an image.
    return Markup(svg(x, y, drawn, words).replace('role="img"', 'role="group"', 1))


def bands(columns: Sequence[str], series: Sequence[Series], *, words: str) -> Markup:
    """A band a column with a mark and its interval for each series; the legend below."""
    pitch = _PITCH if len(series) > _FEW_SERIES else 1.4 * _PITCH
    band = pitch * len(series) + _PITCH
    names = [clipped(name, _BAND_LABEL_LENGTH) for name in columns]
    left = 16 + 8.0 * max(map(len, names))
    bottom, x = band * len(columns), Axis("accuracy in %", 0, 1, percent=True)

    def across(share: float) -> float:
        return left + x.place(share) * (_WIDTH - _RIGHT - left)

    parts = [f'<svg class="chart bands" viewBox="0 -6 {_WIDTH:g} {bottom + _BOTTOM + 6:g}" ']
    parts.append(f'role="img" aria-label="{escape(one_line(words))}">')
    for value, label in x.ticks():
        at = f"{across(value):.1f}"
        parts.append(f'<path class="grid" d="M{at} 0V{bottom:g}"/>')
        parts.append(f'<text x="{at}" y="{bottom + 18:g}" class="middle">{label}</text>')
    parts.append(f'<text x="{across(0.5):.1f}" y="{bottom + 38:g}" class="middle">{x.label}</text>')
    for row, name in enumerate(names):
        middle = (row + 0.5) * band
        parts.append(f'<path class="grid" d="M0 {(row + 1) * band:g}H{_WIDTH - _RIGHT:g}"/>')
        parts.append(f'<text x="0" y="{middle:g}" dy=".35em">{escape(name)}</text>')
        for place, one in enumerate(series):
            if (point := one.points[row]) is None:
                continue
            y = row * band + _PITCH / 2 + (place + 0.5) * pitch
            low, value, high = map(across, (point.low, point.value, point.high))
            across_it = f"M{low:.1f} {y:.1f}H{high:.1f}"
            parts.append(f'<path class="span {kind(one.style)}" d="{across_it}"/>')
            if point.bound:
                at = f'x="{value - 6:.1f}" y="{y:.1f}" dy=".35em"'
                parts.append(f'<text {at} class="end bound">≤</text>')
            parts.append(mark(f"{value:.1f} {y:.1f}", one.style, hollow=one.hollow))
    legend = _legend([(one.label, marker(one.style, hollow=one.hollow)) for one in series])
    return Markup("".join([*parts, "</svg>", legend]))


def marker(style: int, *, hollow: bool = False) -> Markup:
    """A series' marker on its own, for a legend."""
    shape = f'<path class="{kind(style)}{" hollow" if hollow else ""}" d="{_marker(style)}"/>'
    return Markup(f'<svg class="marker" viewBox="-7 -7 14 14" aria-hidden="true">{shape}</svg>')


def filled_or_hollow(frameworks: Collection[str]) -> list[tuple[Markup, str]]:
    """What fill means, for a legend; empty where the marks are of one framework."""
    if len(frameworks) < 2:
        return []
    told = {name: "hollow" if is_hollow(name) else "filled" for name in sorted(frameworks)[::-1]}
    return [(marker(-2, hollow=is_hollow(n)), f"{fill}: {n}") for n, fill in told.items()]


def mark(at: str, style: int, *, hollow: bool, scale: float = 1.0, words: str = "") -> str:
    """A series' marker within a chart; `words` appear on hovering."""
    size = "" if scale == 1 else f" scale({scale:.2f})"
    start = f'<path class="{kind(style)}{" hollow" if hollow else ""}" '
    start += f'transform="translate({at}){size}" d="{_marker(style)}"'
    return f"{start}><title>{escape(one_line(words))}</title></path>" if words else f"{start}/>"


def svg(x: Axis, y: Axis, drawn: str, words: str, frame: Frame = _FRAME, *, more: str = "") -> str:
    """A chart's element with its axes; `more` are further classes of it."""
    parts = [f'<svg class="chart{more}" viewBox="0 0 {frame.width:g} {frame.height:g}" role="img"']
    parts.append(f' aria-label="{escape(one_line(words))}">')
    bottom, right = frame.height - frame.bottom, frame.width - frame.right
    for value, label in y.ticks():
        at = f"{frame.down(y, value):.1f}"
        parts.append(f'<path class="grid" d="M{frame.left:g} {at}H{right:g}"/>')
        parts.append(f'<text x="{frame.left - 8:g}" y="{at}" dy=".35em" class="end">{label}</text>')
    for value, label in x.ticks():
        at = f"{frame.across(x, value):.1f}"
        parts.append(f'<path class="tick" d="M{at} {bottom:g}v4"/>')
        parts.append(f'<text x="{at}" y="{bottom + 18:g}" class="middle">{label}</text>')
    parts.append(f'<path class="axis" d="M{frame.left:g} {bottom:g}H{right:g}"/>')
    middle, centre = (frame.left + right) / 2, (frame.top + bottom) / 2
    across, up = (escape(one_line(axis.label)) for axis in (x, y))
    parts.append(f'<text x="{middle:g}" y="{frame.height - 6:g}" class="middle">{across}</text>')
    parts.append(
        f'<text transform="translate(14 {centre:g}) rotate(-90)" class="middle">{up}</text>'
    )
    return "".join([*parts, drawn, "</svg>"])


def _line(x: Axis, y: Axis, one: Line) -> str:
    if not one.points:
        return ""
    path = "M" + "L".join(_FRAME.at(x, y, *point) for point in one.points)
    line = f'<path class="line {kind(one.style)}" d="{path}"/>'
    return line + mark(_FRAME.at(x, y, *one.points[-1]), one.style, hollow=one.hollow)


def _dot(x: Axis, y: Axis, dot: Dot) -> str:
    drawn = mark(_FRAME.at(x, y, dot.x, dot.y), dot.style, hollow=dot.hollow, words=dot.words)
    return f'<a href="{escape(dot.link)}" aria-label="{escape(one_line(dot.words))}">{drawn}</a>'


def _legend(entries: Sequence[tuple[str, Markup]]) -> str:
    if len(entries) < 2:
        return ""
    short = [(clipped(label, _LABEL_LENGTH), mark) for label, mark in entries]
    items = "".join(f"<li>{mark}{escape(label)}</li>" for label, mark in short)
    return f'<ul class="legend" aria-hidden="true">{items}</ul>'


def kind(style: int) -> str:
    """The class of the style sheet that colours a series."""
    return "s-muted" if style < 0 else f"s{style % SERIES_STYLES}"


def _marker(style: int) -> str:
    """The undefended twin has a cross; -2 is the circle that stands for any.

    Styles whose colours are the same have different markers.
    """
    if style == -1:
        return _CROSS
    place = max(0, style)
    return _MARKERS[(place + place // SERIES_STYLES) % len(_MARKERS)]


def _short(value: float) -> str:
    """A tick's label: few digits, and a prefix where the number is large."""
    for size, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{suffix}"
    return f"{round(value, 10):g}"

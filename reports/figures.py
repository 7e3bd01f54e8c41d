"""Figures as inline SVG, the same bytes for the same numbers.

Colours are the page's CSS variables, so a figure follows the page into dark mode. Nothing is told
by colour alone: each series has its own marker, filled for one framework and hollow for the other.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.drawing import Figure, mpl

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

SERIES_COLOURS = 6  # --series-0 to --series-5 in style.css.j2
_SHORT_LABEL = 32  # characters that leave room for a second column in the legend
_MARKERS = "osD^vP"
_FEW_SERIES = 6
_TEXT, _PAGE, _LINE, _MUTED = "#010201", "#010202", "#010203", "#010204"
_VARIABLES = {
    _TEXT: "currentColor",
    _PAGE: "var(--page)",
    _LINE: "var(--line)",
    _MUTED: "var(--muted)",
    **{f"#0102a{i}": f"var(--series-{i})" for i in range(SERIES_COLOURS)},
}
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "meta-adv-bench",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "text.color": _TEXT,
    "text.parse_math": False,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Point:
    """An accuracy with its interval, all shares of one."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """One row of the leaderboard: a point for each column of the figure, None where there is none.

    `style` numbers the defense (-1 is the undefended twin); rows of equal style look alike but for
    `hollow`, which tells the frameworks apart.
    """

    label: str
    style: int
    hollow: bool
    points: tuple[Point | None, ...]


def accuracy_by_attack(columns: Sequence[str], series: Sequence[Series], *, prefix: str) -> str:
    """An SVG element: one band per column, one marker with its interval per series.

    There must be at least one series. `prefix` makes the element's ids unique in the page.
    """
    pitch = 0.17 if len(series) <= _FEW_SERIES else 0.125  # inches between the markers of a band
    band = pitch * len(series) + 0.16
    legend_columns = 2 if max(len(one.label) for one in series) <= _SHORT_LABEL else 1
    legend = 0.22 * -(-len(series) // legend_columns) + 0.1
    height = band * len(columns) + 0.55 + legend
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()  # a notebook's style would change the figure
        mpl.rcParams.update(_SETTINGS)
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # the browser has other fonts
        figure = Figure(figsize=(6.6, height))
        left = min(0.38, (0.35 + 0.085 * max(map(len, columns))) / 6.6)
        axes = figure.add_axes(
            (left, (0.5 + legend) / height, 0.97 - left, band * len(columns) / height)
        )
        marks = [
            _draw(axes, one, offset=(place + 0.5) * pitch / band + 0.08 / band - 0.5)
            for place, one in enumerate(series)
        ]
        for edge in range(1, len(columns)):
            axes.axhline(edge - 0.5, color=_LINE, linewidth=0.8)
        axes.set_xlim(-1, 101)
        axes.set_ylim(len(columns) - 0.5, -0.5)
        axes.set_yticks(range(len(columns)), columns)
        axes.tick_params(length=0, pad=7)
        axes.grid(axis="x", color=_LINE, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_xlabel("accuracy in %")
        axes.spines[["top", "left", "right"]].set_visible(False)
        # matplotlib would leave out a label that starts with an underscore
        labels = [re.sub(r"^_", "\u200b_", one.label) for one in series]
        figure.legend(marks, labels, loc="lower center", ncols=legend_columns, handletextpad=0.3)
        stream = io.StringIO()
        # metadata would hold the date and matplotlib's version
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return _inline(stream.getvalue(), prefix)


def _draw(axes: Axes, series: Series, *, offset: float) -> Line2D:
    """Draws the points with their intervals; returns the mark for the legend."""
    undefended = series.style < 0
    colour = _MUTED if undefended else f"#0102a{series.style % SERIES_COLOURS}"
    place = series.style + series.style // SERIES_COLOURS  # equal colours, other markers
    marker = "X" if undefended else _MARKERS[place % len(_MARKERS)]
    points = [(row + offset, p) for row, p in enumerate(series.points) if p is not None]
    for y, point in points:
        axes.plot([100 * point.low, 100 * point.high], [y, y], color=colour, linewidth=1.6)
    (marks,) = axes.plot(
        [100 * point.value for _, point in points],
        [y for y, _ in points],
        marker,
        markersize=6,
        markeredgewidth=1.4,
        color=colour,
        markerfacecolor=_PAGE if series.hollow else colour,
        clip_on=False,
    )
    return marks


def _inline(document: str, prefix: str) -> str:
    """The document's svg element, to stand in a page: variables for colours, ids of its own."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*<style type=\"text/css\">.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*; ?", "", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    for sentinel, variable in _VARIABLES.items():
        svg = svg.replace(sentinel, variable)
    return svg.replace("<svg ", '<svg aria-hidden="true" ', 1).strip()

"""Figures for papers and notebooks, one for each group of rows: PDF, PNG and SVG.

Nothing here needs pyplot or a backend. What is stored stays text: `$` in a name is no mathematics.
"""

from __future__ import annotations

import io
import itertools
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark.errors import ConfigError
from reports.accuracies import MOST_ROWS, Series, series
from reports.adaptations import summary
from reports.columns import known
from reports.drawing import Figure, mpl
from reports.exports import write_files
from reports.groups import Group, board, title
from reports.records import read
from reports.rows import Row
from reports.styles import is_hollow, styles
from reports.text import budget, clipped, norm, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("pdf", "png", "svg")
_COLOURS = ("#0068ad", "#c75000", "#00805d", "#a4468c", "#8a6500", "#3c4fc4")
_MUTED = "#616b76"
_MARKERS = "osD^vP"
_DASHES = ("-", (0, (7, 3)), (0, (2, 3)), (0, (9, 3, 2, 3)), (0, (4, 2)), (0, (12, 4)))
_WIDTH = 6.6  # inches
_LABEL_LENGTH, _ATTACK_LENGTH, _SHORT_LABEL = 60, 24, 32
_TEXTS_ONLY = {"text.parse_math": False}
# Of files, whatever the style of the machine: texts stay texts, and the same results give the same
# bytes.
_OF_FILES = {
    **_TEXTS_ONLY,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "meta-adv-bench",
    "savefig.dpi": 200,
}
_NO_DATES: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
    "png": {},
}


def accuracy(group: Group) -> Figure | None:
    """Accuracy before any attack, under each and in the worst case: a band each, a mark a row."""
    drawn = series(group.rows, group.attacks)
    if not drawn:
        return None
    columns = ["clean", *group.attacks, "worst case"]
    pitch = 0.17 if len(drawn) <= 6 else 0.125  # inches between the marks of a band
    band = pitch * len(drawn) + 0.16
    figure, axes = _empty(band * len(columns) + 0.6 + 0.2 * len(drawn))
    for place, one in enumerate(drawn):
        _draw(axes, one, offset=((place + 0.5) * pitch + 0.08) / band - 0.5)
    for edge in range(1, len(columns)):
        axes.axhline(edge - 0.5, color="0.85", linewidth=0.8)
    axes.set(xlim=(-1, 101), ylim=(len(columns) - 0.5, -0.5), xlabel="accuracy in %")
    axes.set_yticks(range(len(columns)), [clipped(name, _ATTACK_LENGTH) for name in columns])
    axes.tick_params(axis="y", length=0)
    return _finished(figure, axes, grid="x")


def tradeoffs(group: Group) -> Figure | None:
    """Robust against clean accuracy, a mark a row that has a rank."""
    rows = [row for row in group.rows if row.values.rank is not None]
    if not rows:
        return None
    figure, axes = _empty(4.2 + 0.2 * min(len(rows), MOST_ROWS))
    found = styles(row.values.defense for row in rows)
    for number, row in enumerate(rows):
        label = _label(row.label) if number < MOST_ROWS else None
        shares = row.values.clean_accuracy, row.values.worst_case
        at = [[100 * known(share)] for share in shares]
        outline = is_hollow(row.values.framework)
        mark = _mark(axes, found[row.values.defense], hollow=outline)
        axes.plot(*at, label=label, linestyle="", **mark)
    axes.set(xlabel="clean accuracy in %", ylabel="worst case in %", ylim=(-2, 102))
    return _finished(figure, axes)


def security(group: Group) -> Figure | None:
    """Security curves: robust accuracy over budgets, a line an attack and row."""
    threat = group.about["norm"]
    found = [
        (row, f"{row.label}, {one.record.attack}", one.record.eps, one.record.robust_accuracy)
        for row in group.rows[:MOST_ROWS]
        for one in row.cell.curves
        if one.record.status == "ok" and one.record.norm == threat
    ]
    return _lines(found, f"perturbation in {norm(threat)}, ε")


def metatest(group: Group) -> Figure | None:
    """Accuracy under held-out attack families over steps of adaptation, a line a row."""
    found = [
        (row, row.label, row.cell.adaptations[0].record.steps, held.over_steps)
        for row in group.rows[:MOST_ROWS]
        if (held := summary(row.cell.adaptations)) is not None
    ]
    return _lines(found, "steps of adaptation")


KINDS: dict[str, Callable[[Group], Figure | None]] = {
    "accuracy": accuracy,
    "tradeoffs": tradeoffs,
    "security": security,
    "metatest": metatest,
}


def plot(kind: str, out: Path | str, group: str | None = None) -> Figure:
    """A figure of one group of a results folder; see `reports.plot_accuracy`."""
    groups = {_name(one): one for one in board(read(out)).groups}
    chosen = [one for name, one in groups.items() if group is None or name.startswith(group)]
    if len(chosen) != 1:
        what = "holds no group" if not chosen else f"holds {len(chosen)} groups"
        named = "" if group is None else f" that begin with {group!r}"
        known = "; ".join(map(one_line, groups)) or "none was attacked yet"
        raise ConfigError(f"{out} {what}{named}; give one of: {known}")
    with mpl.rc_context(_TEXTS_ONLY):
        figure = KINDS[kind](chosen[0])
    if figure is None:
        raise ConfigError(f"{one_line(_name(chosen[0]))} has no results for this figure")
    return figure


def write(out: Path | str, to: Path | str) -> list[Path]:
    """Writes every figure of every group in each format; see `reports.write_figures`."""
    contents: dict[str, bytes] = {}
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_OF_FILES)
        for group in board(read(out)).groups:
            for kind, draw in KINDS.items():
                if (figure := draw(group)) is None:
                    continue
                stems = _stems(kind, group)
                stem = next(stem for stem in stems if f"{stem}.pdf" not in contents)
                contents |= {f"{stem}.{form}": _encoded(figure, form) for form in FORMATS}
    return write_files(out, to, contents)


def _stems(kind: str, group: Group) -> Iterator[str]:
    """Names for a file, the next one where groups have the same."""
    about = group.about
    parts = [about["dataset"], about["model"], about["norm"], budget(about["eps"]), about["suite"]]
    stem = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join([kind, *parts])).strip("-.")[:80]
    return (f"{stem}-{n}" if n > 1 else stem for n in itertools.count(1))


def _name(group: Group) -> str:
    return f"{title(group.about)}, {group.about['suite']}"


def _encoded(figure: Figure, form: str) -> bytes:
    stream = io.BytesIO()
    with _quiet():
        figure.savefig(stream, format=form, metadata=_NO_DATES[form])
    return stream.getvalue()


@contextmanager
def _quiet() -> Iterator[None]:
    """A character that matplotlib's font lacks is a box, and no reason to warn."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def _empty(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def _finished(figure: Figure, axes: Axes, *, grid: Literal["both", "x"] = "both") -> Figure:
    """With a grid, a frame on two sides, and the legend below."""
    axes.grid(axis=grid, color="0.85", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    marks, labels = axes.get_legend_handles_labels()
    columns = 2 if labels and max(map(len, labels)) <= _SHORT_LABEL else 1
    figure.legend(marks, labels, loc="outside lower center", ncols=columns, frameon=False)
    return figure


def _lines(
    found: Iterable[tuple[Row, str, Sequence[float], Sequence[float]]], across: str
) -> Figure | None:
    """Shares over something else; rows of equal defense have the same mark."""
    curves = list(found)
    if not curves:
        return None
    figure, axes = _empty(3.4 + 0.2 * len(curves))
    known_styles = styles(row.values.defense for row, *_ in curves)
    for row, label, xs, ys in curves:
        style = known_styles[row.values.defense]
        mark = _mark(axes, style, hollow=is_hollow(row.values.framework))
        dashes = _DASHES[style % len(_DASHES)]
        axes.plot(xs, [100 * y for y in ys], label=_label(label), linestyle=dashes, **mark)
    axes.set(xlabel=across, ylabel="accuracy in %", ylim=(-2, 102))
    return _finished(figure, axes)


def _draw(axes: Axes, one: Series, *, offset: float) -> None:
    """A row's points with their intervals, and its entry in the legend."""
    mark = _mark(axes, one.style, hollow=one.hollow)
    points = [(row + offset, point) for row, point in enumerate(one.points) if point is not None]
    for y, point in points:
        axes.plot([100 * point.low, 100 * point.high], [y, y], color=mark["color"], linewidth=1.6)
        if point.bound:
            box = {"facecolor": axes.get_facecolor(), "edgecolor": "none", "pad": 0.5}
            at, left = (100 * point.value, y), (-7, 0)
            axes.annotate(
                "≤", at, left, textcoords="offset points", ha="right", va="center", bbox=box
            )
    xs, ys = [100 * point.value for _, point in points], [y for y, _ in points]
    axes.plot(xs, ys, label=_label(one.label), linestyle="", clip_on=False, **mark)


def _mark(axes: Axes, style: int, *, hollow: bool) -> dict[str, Any]:
    """Rows whose colours are the same have different markers; the undefended twin has a cross."""
    colour = _MUTED if style < 0 else _COLOURS[style % len(_COLOURS)]
    place = style + style // len(_COLOURS)
    return {
        "color": colour,
        "marker": "X" if style < 0 else _MARKERS[place % len(_MARKERS)],
        "markersize": 6,
        "markerfacecolor": axes.get_facecolor() if hollow else colour,
    }


def _label(label: str) -> str:
    # matplotlib leaves a label that starts with an underscore out of the legend
    return re.sub(r"^_", "\u200b_", clipped(label, _LABEL_LENGTH))

"""The plot of one group: accuracy by attack, and the same in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reports import shown
from reports.board import upper_bound
from reports.figures import Point, Series, accuracy_by_attack
from reports.rows import UNDEFENDED, Row
from reports.statistics import wilson
from reports.text import one_line, percent

MOST_ROWS = 12
_ROW_LENGTH = 60
_ATTACK_LENGTH = 24


def draw(rows: Sequence[Row], attacks: Sequence[str], *, prefix: str) -> str:
    """The plot of the first rows as an SVG element, "" if none of them has a result.

    `prefix` makes the element's ids unique in the page.
    """
    defenses = sorted({row.values["defense"] for row in rows} - {UNDEFENDED})
    filled = max(row.values["framework"] for row in rows)
    series = [
        Series(
            _short(row.label, _ROW_LENGTH),
            -1 if row.undefended else defenses.index(row.values["defense"]),
            row.values["framework"] != filled,
            tuple(_points(row, attacks)),
        )
        for row in rows[:MOST_ROWS]
    ]
    names = ["clean", *(_short(name, _ATTACK_LENGTH) for name in attacks), "worst case"]
    if not any(point for one in series for point in one.points):
        return ""
    return accuracy_by_attack(names, series, prefix=prefix)


def tell(rows: Sequence[Row], attacks: Sequence[str]) -> str:
    """The plot's text alternative."""
    told = [
        f"{row.label}: clean {percent(row.values['clean_accuracy'])}, "
        + "".join(f"{name} {shown.attack(row.values, name)}, " for name in attacks)
        + f"worst case {shown.worst_case(row.values)}"
        for row in rows[:MOST_ROWS]
    ]
    return "Accuracy by attack in per cent. " + "; ".join(told) + "."


def _points(row: Row, attacks: Sequence[str]) -> Iterator[Point | None]:
    """Clean accuracy, each attack's and the worst case's, with intervals of their own examples."""
    values, attacked = row.values, row.values["attacked"]
    yield _point(values["clean_correct"], attacked)
    for name in attacks:
        outcomes = row.outcomes(name)
        if outcomes is None:
            yield None
        else:
            held = outcomes.robust[outcomes.attacked]
            yield _point(int(held.sum()), len(held))
    if values["worst_case"] is None:
        yield None
    else:
        low, high = values["worst_case_low"], values["worst_case_high"]
        yield Point(values["worst_case"], low, high, bound=upper_bound(values))


def _point(correct: int | None, examples: int | None) -> Point | None:
    if correct is None or not examples:
        return None
    return Point(correct / examples, *wilson(correct, examples))


def _short(name: str, length: int) -> str:
    line = one_line(name)
    return line if len(line) <= length else line[: length - 1] + "…"

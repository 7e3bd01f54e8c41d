"""Accuracy by attack, row by row, as a chart or a figure draws it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reports.columns import known
from reports.rows import Row
from reports.statistics import wilson
from reports.styles import is_hollow, styles

MOST_ROWS = 12


@dataclass(frozen=True)
class Point:
    """An accuracy with its interval, all shares of one; `bound`: the value is an upper bound."""

    value: float
    low: float
    high: float
    bound: bool = False


@dataclass(frozen=True)
class Series:
    """One row: a point for clean, each attack and the worst case, None where there is none.

    `style` numbers the defense (-1 is the undefended twin); rows of equal style look alike but for
    `hollow`, which tells the frameworks apart.
    """

    label: str
    style: int
    hollow: bool
    points: tuple[Point | None, ...]


def series(rows: Sequence[Row], attacks: Sequence[str]) -> list[Series]:
    """The first rows of a group; empty if none of them has a result."""
    known_styles = styles(row.values.defense for row in rows)
    found = [
        Series(
            row.label,
            known_styles[row.values.defense],
            is_hollow(row.values.framework),
            tuple(_points(row, attacks)),
        )
        for row in rows[:MOST_ROWS]
    ]
    return found if any(point for one in found for point in one.points) else []


def _points(row: Row, attacks: Sequence[str]) -> Iterator[Point | None]:
    """Clean accuracy, each attack's and the worst case's, with intervals of their own examples."""
    values, attacked = row.values, row.values.attacked
    yield _point(values.clean_correct, attacked)
    for name in attacks:
        outcomes = row.outcomes(name)
        if outcomes is None:
            yield None
        else:
            held = outcomes.robust[outcomes.attacked]
            yield _point(int(held.sum()), len(held))
    if values.worst_case is None:
        yield None
    else:
        low, high = known(values.worst_case_low), known(values.worst_case_high)
        yield Point(values.worst_case, low, high, bound=values.upper_bound)


def _point(correct: int | None, examples: int | None) -> Point | None:
    if correct is None or not examples:
        return None
    return Point(correct / examples, *wilson(correct, examples))

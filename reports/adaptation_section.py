"""The page's section on adaptation: a table, curves, and every number of every family."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from reports.adaptations import Adaptation, Summary, summary
from reports.board import SETTING
from reports.rows import Row
from reports.statistics import AcrossSeeds, across_seeds
from reports.text import percent
from reports.website.charts import Axis, Line, lines

# Rows that the charts draw; the table has all.
MOST_ROWS = 8

Size = tuple[int, int, tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class AdaptedRow:
    """One model; `families` are in the order of the section's, None where it has none of these."""

    label: str
    undefended: bool
    rate: float
    tuned_steps: int
    families: list[Adaptation | None]
    held_out: Summary | None
    fewer: bool  # whether it was trained on families that are held out for others

    @property
    def results(self) -> list[Adaptation]:
        """The families that there are numbers of."""
        return [one for one in self.families if one is not None and one.correct is not None]


@dataclass(frozen=True)
class Section:
    """Rows that were adapted in the same way."""

    episodes: int
    queries: int
    shots: tuple[int, ...]
    steps: tuple[int, ...]
    roles: Mapping[str, str]  # family to its role for most: held out where it is so for any
    rows: list[AdaptedRow]
    charts: list[tuple[str, Markup]]
    seeds: list[tuple[str, AcrossSeeds]]
    rows_not_in_charts: int


def sections(rows: Sequence[Row]) -> list[Section]:
    """One for each size of the protocol that rows were measured with, the largest first."""
    sizes: dict[Size, list[Row]] = {}
    for row in rows:
        if row.cell.adaptations:
            sizes.setdefault(row.cell.adaptations[0].record.size, []).append(row)
    return [_section(size, sizes[size]) for size in sorted(sizes, reverse=True)]


def _section(size: Size, members: list[Row]) -> Section:
    episodes, queries, shots, steps = size
    every = [one for row in members for one in row.cell.adaptations]
    order = ("seen", "validation", "held-out")
    roles = {
        one.record.family: one.record.role
        for one in sorted(every, key=lambda one: order.index(one.record.role))
    }
    adapted = [_row(row, roles) for row in members]
    return Section(
        episodes=episodes,
        queries=queries,
        shots=shots,
        steps=steps,
        roles=roles,
        rows=adapted,
        charts=_charts(adapted, shots, steps),
        seeds=_over_seeds(members),
        rows_not_in_charts=max(0, len(adapted) - MOST_ROWS),
    )


def _row(row: Row, roles: Mapping[str, str]) -> AdaptedRow:
    found = {one.record.family: one for one in row.cell.adaptations}
    first = row.cell.adaptations[0].record
    return AdaptedRow(
        label=row.label,
        undefended=row.undefended,
        rate=first.rate,
        tuned_steps=first.tuned_steps,
        families=[found.get(name) for name in roles],
        held_out=summary(row.cell.adaptations),
        fewer=any(one.record.role != roles[one.record.family] for one in row.cell.adaptations),
    )


def _charts(
    rows: Sequence[AdaptedRow], shots: Sequence[int], steps: Sequence[int]
) -> list[tuple[str, Markup]]:
    """Held-out families over steps and over labels, and what the seen families keep."""
    labels = f"{shots[-1]} labels"
    kinds: tuple[tuple[str, str, Sequence[int], Callable[[Summary], list[float]]], ...] = (
        (f"Held-out families, {labels}", "steps", steps, lambda one: one.over_steps),
        ("Held-out families, tuned steps", "labels", shots, lambda one: one.over_shots),
        (f"Seen families, {labels}", "steps", steps, lambda one: one.seen),
    )
    found = []
    drawn = [row for row in rows if row.held_out is not None][:MOST_ROWS]
    for title, across, points, curve in kinds if drawn else ():
        series, style = [], -1
        for row in drawn:
            assert row.held_out is not None
            style += not row.undefended
            ys = curve(row.held_out)
            series.append(
                Line(row.label, list(zip(points, ys, strict=True)), -1 if row.undefended else style)
            )
        told = "; ".join(
            f"{one.label} from {percent(one.points[0][1])} to {percent(one.points[-1][1])}"
            for one in series
        )
        chart = lines(
            Axis(across, 0, points[-1]),
            Axis("accuracy in %", 0, 1, percent=True),
            series,
            words=f"{title}, accuracy in per cent over {across}: {told}.",
        )
        found.append((title, chart))
    return found


def _over_seeds(members: Sequence[Row]) -> list[tuple[str, AcrossSeeds]]:
    """The held-out area over training seeds: each seed's model met the same episodes."""
    settings: dict[tuple[object, ...], list[Row]] = {}
    for row in members:
        settings.setdefault(tuple(row.values[name] for name in SETTING), []).append(row)
    found = []
    for rows in settings.values():
        held = [summary(row.cell.adaptations) for row in rows]
        areas = [one.area_of_each for one in held if one is not None]
        if len(areas) > 1:
            first = rows[0]
            name = f"{first.values['defense']} ({first.values['framework']})"
            label = f"{name}, {first.variant}" if first.variant else name
            found.append((label, across_seeds(np.stack(areas))))
    return found

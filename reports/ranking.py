"""From tidy rows to the leaderboard: one row per (cell, suite), ranked within its group."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from reports.board import ABSENT, BoardRow, Manner, Result, columns
from reports.columns import SuiteRow, TidyRow, columns_of, table, tidy_rows
from reports.frame import outcomes, rows_of
from reports.paired import differences, pairs
from reports.ranks import with_ties
from reports.records import Results
from reports.statistics import across_seeds, wilson

_SHARED = tuple(columns_of(SuiteRow))


@dataclass(frozen=True)
class Leaderboard:
    """Rows in the order of their groups and ranks, the attacks of any, and what was left out."""

    rows: list[BoardRow]
    attacks: list[str]
    left_out: list[dict[str, str]]

    def plain(self) -> list[dict[str, Any]]:
        """The rows as plain values, all with the same columns."""
        return [row.plain(self.attacks) for row in self.rows]

    def frame(self) -> pd.DataFrame:
        """The same as a frame."""
        board = table(self.plain(), columns(self.attacks))
        board.attrs["left_out"] = self.left_out
        return board


def leaderboard(results: Results) -> Leaderboard:
    """The leaderboard of everything that could be read."""
    return ranked(rows_of(results), results.left_out.as_list())


def of_frame(tidy: pd.DataFrame) -> Leaderboard:
    """The leaderboard of a frame that `reports.load` gave, or of some of its rows."""
    return ranked(tidy_rows(tidy), tidy.attrs.get("left_out", []))


def ranked(tidy: Sequence[TidyRow], left_out: list[dict[str, str]]) -> Leaderboard:
    """The leaderboard of tidy rows; groups that were never attacked come last."""
    attacks = [name for name in dict.fromkeys(row.attack for row in tidy) if name]
    groups: dict[tuple[Any, ...], list[BoardRow]] = {}
    for row in _entries(tidy):
        groups.setdefault(row.group, []).append(row)
    order = sorted(groups, key=lambda group: (not groups[group][0].suite, group))
    return Leaderboard([row for one in order for row in _ranked(groups[one])], attacks, left_out)


def _entries(tidy: Iterable[TidyRow]) -> list[BoardRow]:
    """One row per (cell, suite), with the results of its attacks."""
    entries: dict[tuple[str, str], list[TidyRow]] = {}
    for row in tidy:
        entries.setdefault((row.cell_id, row.suite), []).append(row)
    return [_entry(rows) for rows in entries.values()]


def _entry(rows: Sequence[TidyRow]) -> BoardRow:
    first = rows[0]
    ran = {row.attack: row.attack_ran for row in rows if row.attack_ran is not None}
    how = {row.attack: manner(row) for row in rows if row.attack and row.attack_ran is not None}
    return BoardRow(
        **{name: getattr(first, name) for name in _SHARED},
        clean_accuracy=_share(first.clean_correct, first.attacked),
        worst_case=_share(first.worst_case_correct, first.attacked),
        results={
            row.attack: Result(
                str(row.attack_status), row.robust_accuracy, bool(row.attack_claimed)
            )
            for row in rows
            if row.attack
        },
        ran={"": first.examples_digest or "", **ran} if ran else {},
        how=how,
        attacks_digest=_digest(how) if how else None,
    )


def manner(row: TidyRow) -> Manner:
    """How an attack was run, and what it took."""
    # Records of earlier versions don't tell the threat where it is the cell's
    threat = (row.attack_norm, row.attack_eps) if row.attack_norm else (row.norm, row.eps)
    told = (row.attack_class, row.attack_arguments, *threat)
    return Manner(json.dumps(told), (row.forwards or 0.0) + (row.backwards or 0.0), *threat)


def _digest(how: Mapping[str, Manner]) -> str:
    told = json.dumps(sorted((name, one.told) for name, one in how.items()))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _share(correct: int | None, attacked: int | None) -> float | None:
    return correct / attacked if correct is not None and attacked else None


def _ranked(rows: list[BoardRow]) -> list[BoardRow]:
    """Rows with a rank in its order, then others by their upper bound, then failed cells."""
    attacked = sum(row.status == "ok" and bool(row.attacked) for row in rows)
    rows = [replace(_with_intervals(row), group_rows=attacked) for row in _exposed(rows)]
    rows = _explained(rows)
    comparable = [row for row in rows if not row.unranked_reason]
    worst = [outcomes(row.worst_case_outcomes) for row in comparable]
    places = with_ties(worst, comparisons=pairs(attacked))
    ranks = [replace(row, rank=rank) for row, rank in zip(comparable, places, strict=True)]
    best_first = _compared_to_best(sorted(_over_seeds(ranks), key=_place))
    return [*best_first, *sorted((row for row in rows if row.unranked_reason), key=_place)]


def _place(row: BoardRow) -> tuple[Any, ...]:
    worst_case = 1.0 if row.worst_case is None else -row.worst_case
    order = (row.defense, row.framework, row.seed, row.cell_id)
    return (row.status != "ok", row.rank is None, worst_case, *order)


def _exposed(rows: Sequence[BoardRow]) -> list[BoardRow]:
    """A worst case over fewer attacks than others of the group had to stand is not complete."""
    ended = [row for row in rows if row.status == "ok"]
    names = {n: None for row in ended for n, one in row.results.items() if not one.claimed}
    found = []
    for row in rows:
        absent = [name for name in names if name not in row.results]
        results = {**row.results, **dict.fromkeys(absent, Result(ABSENT))}
        row = replace(row, results=results)
        if absent and row.attacked:
            told = f"{', '.join(absent)} ran on other rows only"
            reason = "; ".join(filter(None, [row.bound_reason, told]))
            row = replace(row, bound_reason=reason, worst_case_complete=False, common_examples=0)
        found.append(row)
    return found


def _with_intervals(row: BoardRow) -> BoardRow:
    """Of the worst case, and of that on the examples that every attack was run on."""
    if row.attacked:
        low, high = wilson(row.worst_case_correct or 0, row.attacked)
        low = low if row.worst_case_complete else 0.0
        row = replace(row, worst_case_low=low, worst_case_high=high)
    if common := row.common_examples:
        correct = row.common_correct or 0
        low, high = wilson(correct, common)
        row = replace(row, common_worst_case=correct / common, common_low=low, common_high=high)
    return row


def _explained(rows: Sequence[BoardRow]) -> list[BoardRow]:
    """The rows with why they have no rank, "" where one means something for them.

    An attack that was run on some examples only leaves a worst case that is an upper bound. Those
    of rows whose attacks were run on the same examples are still the same measure of each. Where
    attacks were run in other manners, the one that most rows have counts, and of several the one
    that took most.
    """
    rows = [replace(row, unranked_reason=_obstacle(row)) for row in rows]
    ranked = [row for row in rows if not row.unranked_reason]
    usual, manners = _usual(ranked), _usual_manner(ranked)
    found = []
    for row in rows:
        others = [name for name, ran in row.ran.items() if ran != usual.get(name)]
        if others and not row.unranked_reason:
            what = "it was attacked" if "" in others else f"{', '.join(others)} ran"
            row = replace(row, unranked_reason=f"{what} on other examples than most rows")
        changed = [name for name, how in row.how.items() if how.told != manners.get(name)]
        if changed and not row.unranked_reason:
            told = f"{', '.join(changed)} ran with other arguments than in rows with a rank"
            row = replace(row, unranked_reason=told)
        found.append(row)
    return found


def _obstacle(row: BoardRow) -> str:
    """Why a row by itself can have no rank, "" if it can."""
    if row.status != "ok":
        return f"{row.status}: {row.reason}" if row.reason else row.status
    if not row.attacked:
        return "no attack has a result"
    if row.unfit_reason:
        return f"clean accuracy: {row.unfit_reason}"
    lost = row.without_result
    return f"attacks without a result: {', '.join(lost)}" if lost else ""


def _usual(rows: Iterable[BoardRow]) -> dict[str, str]:
    """Which examples most rows were attacked on: in all under "", and by each attack."""
    seen: dict[str, Counter[str]] = {}
    for row in rows:
        for name, ran in row.ran.items():
            seen.setdefault(name, Counter())[ran] += 1
    return {name: max(sorted(ran), key=lambda one: ran[one]) for name, ran in seen.items()}


def _usual_manner(rows: Iterable[BoardRow]) -> dict[str, str]:
    """How each attack ran in most rows, of all attacks together, so that some row has them all."""
    alike: dict[str, list[BoardRow]] = {}
    for row in rows:
        alike.setdefault(row.attacks_digest or "", []).append(row)

    def weight(members: list[BoardRow]) -> tuple[int, float, str]:
        passes = sum(how.passes for row in members for how in row.how.values())
        return len(members), passes, members[0].attacks_digest or ""

    found: dict[str, str] = {}
    for members in sorted(alike.values(), key=weight, reverse=True):
        found = {name: how.told for name, how in members[0].how.items()} | found
    return found


def _compared_to_best(rows: list[BoardRow]) -> list[BoardRow]:
    """The paired difference of each row to the one with the best worst case, which is the first."""
    if len(rows) < 2:
        return rows
    best, *others = [outcomes(row.worst_case_outcomes) for row in rows]
    right = np.array(others)  # (rows, n)
    found = differences(
        (right & ~best).sum(axis=1),
        (best & ~right).sum(axis=1),
        examples=len(best),
        comparisons=pairs(rows[0].group_rows or 0),
    )
    names = ("best_difference", "best_low", "best_high", "best_p")
    columns = zip(found.difference, found.low, found.high, found.p, strict=True)
    numbers: list[dict[str, Any]] = [
        dict(zip(names, map(float, one), strict=True)) for one in columns
    ]
    return [rows[0], *(replace(row, **n) for row, n in zip(rows[1:], numbers, strict=True))]


def _over_seeds(rows: Sequence[BoardRow]) -> list[BoardRow]:
    """With what rows that differ in nothing but the seed say together."""
    trainings: dict[tuple[Any, ...], list[BoardRow]] = {}
    for row in rows:
        trainings.setdefault(row.training, []).append(row)
    told: dict[tuple[Any, ...], dict[str, Any]] = {}
    for training, members in trainings.items():
        found = across_seeds([outcomes(row.worst_case_outcomes) for row in members])
        bounded = not all(row.worst_case_complete for row in members)
        told[training] = {
            "seeds": found.seeds,
            "seeds_mean": found.mean,
            "seeds_low": 0.0 if bounded else found.low,
            "seeds_high": found.high,
            "seeds_variance_between": found.between,
            "seeds_variance_within": found.within,
        }
    return [replace(row, **told[row.training]) for row in rows]

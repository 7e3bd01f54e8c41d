"""From the tidy frame to the leaderboard: one row per (cell, suite), ranked within its group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from reports.columns import (
    CELL_COLUMNS,
    NUMBER,
    TEXT,
    TRUST_COLUMNS,
    WHOLE,
    WORST_CASE_COLUMNS,
    YES_NO,
    Column,
    meanings,
    plain_rows,
    table,
)
from reports.frame import outcomes
from reports.paired import differences, pairs
from reports.ranks import with_ties
from reports.statistics import across_seeds, wilson

GROUP = ("dataset", "dataset_fingerprint", "model", "norm", "eps", "suite", "examples")
ATTACK_PREFIX = "robust_accuracy."
STATUS_PREFIX = "attack_status."
_PER_ATTACK = (ATTACK_PREFIX, STATUS_PREFIX)
ABSENT = "missing"  # the status of an attack that other rows of the group had to stand

_ABOUT = ("defense", "framework", "seed", "epochs", "budget_ge", "parameters")
TRAINING = tuple(name for name in _ABOUT if name != "seed")
_RESULTS = {
    "attacked": Column(WHOLE, "how many test examples were attacked"),
    "clean_correct": WORST_CASE_COLUMNS["clean_correct"],
    "clean_accuracy": Column(NUMBER, "share of them that is right before any attack"),
    "clean_balanced": WORST_CASE_COLUMNS["clean_balanced"],
    "worst_case_balanced": WORST_CASE_COLUMNS["worst_case_balanced"],
}
_ATTACK = Column(NUMBER, "share that is right before and after this attack; NA where it didn't run")
_STATUS = Column(
    TEXT, "ok, failed, not-applicable or missing; NA where no row of the group has this attack"
)
_ENDING = {
    "worst_case": Column(NUMBER, "share that stays right under every attack that ran"),
    "worst_case_low": Column(
        NUMBER, "lower end of its 95 % Wilson interval; 0 for an upper bound, which has none"
    ),
    "worst_case_high": Column(NUMBER, "upper end of its 95 % Wilson interval"),
    "worst_case_complete": Column(
        YES_NO,
        "false where an attack failed, is missing, was run on other rows of the group only, or on "
        "some of the examples: the worst case is an upper bound",
    ),
    "bound_reason": WORST_CASE_COLUMNS["bound_reason"],
    "common_examples": WORST_CASE_COLUMNS["common_examples"],
    "common_worst_case": Column(
        NUMBER, "share of these that stays right under every attack; NA where there are none"
    ),
    "common_low": Column(NUMBER, "lower end of its 95 % Wilson interval"),
    "common_high": Column(NUMBER, "upper end of its 95 % Wilson interval"),
    "unranked_reason": Column(TEXT, 'why the row has no rank, in words; "" where it has one'),
    "group_rows": Column(
        WHOLE,
        "how many rows of the group were attacked: all pairs of them are the family that p-values "
        "and intervals of differences are corrected for",
    ),
    "best_difference": Column(
        NUMBER,
        "worst case less that of the best ranked row of the group; NA for that row itself and for "
        "rows without rank, and so are the next three",
    ),
    "best_low": Column(NUMBER, "lower end of its 95 % interval, corrected for the family"),
    "best_high": Column(NUMBER, "upper end of its 95 % interval, corrected for the family"),
    "best_p": Column(
        NUMBER, "p-value of McNemar's exact test between the two, corrected for the family"
    ),
    "labels_used": CELL_COLUMNS["labels_used"],
    **TRUST_COLUMNS,
    "seeds": Column(
        WHOLE,
        "how many ranked rows of the group differ from this one in nothing but the training "
        "seed, itself included; NA for a row without rank, and so are the next five",
    ),
    "seeds_mean": Column(NUMBER, "mean of their worst cases"),
    "seeds_low": Column(
        NUMBER,
        "lower end of its 95 % interval over seeds and test examples; 0 where one is a bound",
    ),
    "seeds_high": Column(NUMBER, "upper end of its 95 % interval over seeds and test examples"),
    "seeds_variance_between": Column(
        NUMBER, "variance of a model's worst case that its training seed causes; NA for one seed"
    ),
    "seeds_variance_within": Column(
        NUMBER, "variance of a model's worst case that the choice of the test examples causes"
    ),
    **{name: CELL_COLUMNS[name] for name in ("training_gradient_evaluations", "training_seconds")},
    **{n: one for n, one in CELL_COLUMNS.items() if n.startswith(("held_out_", "corruption_"))},
    **{name: CELL_COLUMNS[name] for name in ("status", "reason", "cell_id")},
}
COLUMNS: Mapping[str, Column] = {
    "rank": Column(
        WHOLE,
        "1 + the number of rows of the group that are significantly better in the worst case "
        "(McNemar's exact test on the same examples, corrected for all pairs, 95 %), and never "
        "below a less accurate row; NA where unranked_reason says why",
    ),
    **{name: CELL_COLUMNS[name] for name in (*GROUP, *_ABOUT)},
    **_RESULTS,
    f"{ATTACK_PREFIX}<attack>": _ATTACK,
    f"{STATUS_PREFIX}<attack>": _STATUS,
    **_ENDING,
}


def leaderboard(tidy: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of their groups and ranks; `COLUMNS` explains each column."""
    attacks = [name for name in dict.fromkeys(tidy["attack"]) if name]  # as the suites have them
    columns: dict[str, Column] = {}
    for name, column in COLUMNS.items():
        prefix = next((one for one in _PER_ATTACK if name.startswith(one)), None)
        columns |= {f"{prefix}{one}": column for one in attacks} if prefix else {name: column}
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in _entries(tidy):
        groups.setdefault(tuple(row[name] for name in GROUP), []).append(row)
    never_attacked = {group for group in groups if not group[GROUP.index("suite")]}
    order = [*sorted(groups.keys() - never_attacked), *sorted(never_attacked)]
    ordered = [row for group in order for row in _ranked(groups[group])]
    board = table(ordered, columns)
    board.attrs["left_out"] = tidy.attrs.get("left_out", [])
    board.attrs["columns"] = meanings(columns)
    return board


def upper_bound(values: Mapping[str, Any]) -> bool:
    """Whether a row's worst case is only an upper bound, to be written with a ≤."""
    return values["worst_case"] is not None and not values["worst_case_complete"]


def without_result(values: Mapping[str, Any]) -> list[str]:
    """The attacks that should have a result in a row and have none."""
    return [
        name.removeprefix(STATUS_PREFIX)
        for name, status in values.items()
        if name.startswith(STATUS_PREFIX) and status in ("failed", ABSENT)
    ]


def _entries(tidy: pd.DataFrame) -> list[dict[str, Any]]:
    """One dictionary per (cell, suite), each attack's accuracy and status under its own columns.

    "ran" holds which examples were attacked: all of them under "", and those of each attack.
    """
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    for row in plain_rows(tidy):
        entry = entries.setdefault(
            (row["cell_id"], row["suite"]), row | {"ran": {}, "claims": set()}
        )
        if name := row["attack"]:
            entry[f"{ATTACK_PREFIX}{name}"] = row["robust_accuracy"]
            entry[f"{STATUS_PREFIX}{name}"] = row["attack_status"]
            if row["attack_claimed"]:
                entry["claims"].add(name)
            if row["attack_ran"] is not None:
                entry["ran"] |= {"": row["examples_digest"], name: row["attack_ran"]}
    for entry in entries.values():
        if entry["attacked"]:
            entry["clean_accuracy"] = entry["clean_correct"] / entry["attacked"]
            entry["worst_case"] = entry["worst_case_correct"] / entry["attacked"]
    return list(entries.values())


def _ranked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with a rank in its order, then others by their upper bound, then failed cells."""
    _compare_attacks(rows)
    attacked = sum(row["status"] == "ok" and bool(row["attacked"]) for row in rows)
    for row in rows:
        row["group_rows"] = attacked
        _add_intervals(row)
    comparable = _comparable(rows)
    worst = [outcomes(row["worst_case_outcomes"]) for row in comparable]
    places = with_ties(worst, comparisons=pairs(attacked))
    for row, rank in zip(comparable, places, strict=True):
        row["rank"] = rank
    _add_seeds(comparable)
    ordered = sorted(rows, key=_place)
    _compare_to_best([row for row in ordered if row.get("rank") is not None])
    return ordered


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    worst_case = row.get("worst_case")
    return (
        row["status"] != "ok",
        row.get("rank") is None,
        1.0 if worst_case is None else -worst_case,
        *(row[name] for name in ("defense", "framework", "seed", "cell_id")),
    )


def _compare_attacks(rows: list[dict[str, Any]]) -> None:
    """A worst case over fewer attacks than others of the group had to stand is not complete."""
    ended = [row for row in rows if row["status"] == "ok"]
    names = {
        name: None
        for row in ended
        for name in row
        if name.startswith(STATUS_PREFIX) and name.removeprefix(STATUS_PREFIX) not in row["claims"]
    }
    for row in rows:
        absent = [name for name in names if name not in row]
        row |= dict.fromkeys(absent, ABSENT)
        if absent and row["attacked"]:
            told = ", ".join(name.removeprefix(STATUS_PREFIX) for name in absent)
            told += " ran on other rows only"
            row["bound_reason"] = "; ".join(filter(None, [row["bound_reason"], told]))
            row |= {"worst_case_complete": False, "common_examples": 0}


def _add_intervals(row: dict[str, Any]) -> None:
    """Of the worst case, and of that on the examples that every attack was run on."""
    if row["attacked"]:
        low, high = wilson(row["worst_case_correct"], row["attacked"])
        row |= {"worst_case_low": low if row["worst_case_complete"] else 0.0}
        row |= {"worst_case_high": high}
    if common := row["common_examples"]:
        correct = row["common_correct"]
        row["common_worst_case"] = correct / common
        row["common_low"], row["common_high"] = wilson(correct, common)


def _comparable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that a rank means something for; all others get the reason why not.

    An attack that was run on some examples only leaves a worst case that is an upper bound. Those
    of rows whose attacks were run on the same examples are still the same measure of each.
    """
    found = []
    for row in rows:
        row["unranked_reason"] = _obstacle(row)
        if not row["unranked_reason"]:
            found.append(row)
    usual = _usual(found)
    for row in found:
        if others := [name for name, ran in row["ran"].items() if ran != usual[name]]:
            what = "it was attacked" if "" in others else f"{', '.join(others)} ran"
            row["unranked_reason"] = f"{what} on other examples than most rows"
    return [row for row in found if not row["unranked_reason"]]


def _obstacle(row: dict[str, Any]) -> str:
    """Why a row by itself can have no rank, "" if it can."""
    if row["status"] != "ok":
        return f"{row['status']}: {row['reason']}" if row["reason"] else str(row["status"])
    if not row["attacked"]:
        return "no attack has a result"
    if row["unfit_reason"]:
        return f"clean accuracy: {row['unfit_reason']}"
    lost = without_result(row)
    return f"attacks without a result: {', '.join(lost)}" if lost else ""


def _usual(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Which examples most rows were attacked on: in all under "", and by each attack."""
    seen: dict[str, Counter[str]] = {}
    for row in rows:
        for name, ran in row["ran"].items():
            seen.setdefault(name, Counter())[ran] += 1
    return {name: max(sorted(ran), key=lambda one: ran[one]) for name, ran in seen.items()}


def _compare_to_best(ranked: list[dict[str, Any]]) -> None:
    """The paired difference of each row to the one with the best worst case, which is the first."""
    if len(ranked) < 2:
        return
    best, *others = [outcomes(row["worst_case_outcomes"]) for row in ranked]
    right = np.array(others)  # (rows, n)
    found = differences(
        (right & ~best).sum(axis=1),
        (best & ~right).sum(axis=1),
        examples=len(best),
        comparisons=pairs(ranked[0]["group_rows"]),
    )
    names = ("best_difference", "best_low", "best_high", "best_p")
    columns = (found.difference, found.low, found.high, found.p)
    for row, *numbers in zip(ranked[1:], *columns, strict=True):
        row |= dict(zip(names, map(float, numbers), strict=True))


def _add_seeds(rows: list[dict[str, Any]]) -> None:
    """What rows that differ in nothing but the seed say together."""
    trainings: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        trainings.setdefault(tuple(row[name] for name in TRAINING), []).append(row)
    for members in trainings.values():
        found = across_seeds([outcomes(row["worst_case_outcomes"]) for row in members])
        bounded = not all(row["worst_case_complete"] for row in members)
        for row in members:
            row |= {
                "seeds": found.seeds,
                "seeds_mean": found.mean,
                "seeds_low": 0.0 if bounded else found.low,
                "seeds_high": found.high,
                "seeds_variance_between": found.between,
                "seeds_variance_within": found.within,
            }

"""From the tidy frame to the leaderboard: one row per (cell, suite), ranked within its group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.frame import (
    CELL_COLUMNS,
    NUMBER,
    TRUST_COLUMNS,
    WHOLE,
    YES_NO,
    Column,
    meanings,
    outcomes,
    plain_rows,
    table,
)
from reports.ranks import with_ties
from reports.statistics import across_seeds, wilson

GROUP = ("dataset", "dataset_fingerprint", "model", "norm", "eps", "suite", "examples")
ATTACK_PREFIX = "robust_accuracy."

_ABOUT = ("defense", "framework", "seed", "epochs", "budget_ge", "parameters")
SETTING = tuple(name for name in _ABOUT if name != "seed")
_RESULTS = {
    "attacked": Column(WHOLE, "how many test examples were attacked"),
    "clean_accuracy": Column(NUMBER, "share of them that is right before any attack"),
}
_ATTACK = Column(NUMBER, "share that is right before and after this attack; NA where it didn't run")
_ENDING = {
    "worst_case": Column(NUMBER, "share that stays right under every attack that ran"),
    "worst_case_low": Column(NUMBER, "lower end of its 95 % Wilson interval"),
    "worst_case_high": Column(NUMBER, "upper end of its 95 % Wilson interval"),
    "worst_case_complete": Column(
        YES_NO,
        "false where an attack failed, is missing, or was run on other rows of the group only: "
        "the worst case is an upper bound",
    ),
    **TRUST_COLUMNS,
    "seeds": Column(
        WHOLE,
        "how many complete rows of the group differ from this one in nothing but the training "
        "seed, itself included; NA for a row without rank, and so are the next five",
    ),
    "seeds_mean": Column(NUMBER, "mean of their worst cases"),
    "seeds_low": Column(NUMBER, "lower end of its 95 % interval over seeds and test examples"),
    "seeds_high": Column(NUMBER, "upper end of its 95 % interval over seeds and test examples"),
    "seeds_variance_between": Column(
        NUMBER, "variance of a model's worst case that its training seed causes; NA for one seed"
    ),
    "seeds_variance_within": Column(
        NUMBER, "variance of a model's worst case that the choice of the test examples causes"
    ),
    **{name: CELL_COLUMNS[name] for name in ("training_gradient_evaluations", "training_seconds")},
    **{name: column for name, column in CELL_COLUMNS.items() if name.startswith("held_out_")},
    **{name: CELL_COLUMNS[name] for name in ("status", "reason", "cell_id")},
}
COLUMNS: Mapping[str, Column] = {
    "rank": Column(
        WHOLE,
        "1 + the number of complete rows of the group that are significantly better in the worst "
        "case (McNemar's exact test on the same examples, Holm's correction, 95 %); NA for an "
        "incomplete row, for other examples than most, and for a cell that did not end well",
    ),
    **{name: CELL_COLUMNS[name] for name in (*GROUP, *_ABOUT)},
    **_RESULTS,
    f"{ATTACK_PREFIX}<attack>": _ATTACK,
    **_ENDING,
}


def leaderboard(tidy: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of their groups and ranks; `COLUMNS` explains each column."""
    attacks = [name for name in dict.fromkeys(tidy["attack"]) if name]  # as the suites have them
    columns: dict[str, Column] = {}
    for name, column in COLUMNS.items():
        if name.startswith(ATTACK_PREFIX):
            columns |= {f"{ATTACK_PREFIX}{attack}": column for attack in attacks}
        else:
            columns[name] = column
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


def _entries(tidy: pd.DataFrame) -> list[dict[str, Any]]:
    """One dictionary per (cell, suite), each attack's accuracy under its own column."""
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    for row in plain_rows(tidy):
        entry = entries.setdefault((row["cell_id"], row["suite"]), row | {"attacks": set()})
        if row["attack"]:
            entry["attacks"].add(row["attack"])
            entry[f"{ATTACK_PREFIX}{row['attack']}"] = row["robust_accuracy"]
    for entry in entries.values():
        if entry["attacked"]:
            correct, attacked = entry["worst_case_correct"], entry["attacked"]
            entry["clean_accuracy"] = entry["clean_correct"] / attacked
            entry["worst_case"] = correct / attacked
            entry["worst_case_low"], entry["worst_case_high"] = wilson(correct, attacked)
    return list(entries.values())


def _ranked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Complete rows by rank, then incomplete ones by their upper bound, then failed cells."""
    _compare_attacks(rows)
    comparable = _comparable(rows)
    places = with_ties([outcomes(row["worst_case_outcomes"]) for row in comparable])
    for row, rank in zip(comparable, places, strict=True):
        row["rank"] = rank
    _add_seeds(comparable)

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        worst_case = row.get("worst_case")
        return (
            row["status"] != "ok",
            row.get("rank") is None,
            1.0 if worst_case is None else -worst_case,
            *(row[name] for name in ("defense", "framework", "seed", "cell_id")),
        )

    return sorted(rows, key=place)


def _compare_attacks(rows: list[dict[str, Any]]) -> None:
    """A worst case over fewer attacks than others of the group had to stand is not complete."""
    attacks = set().union(*(row["attacks"] for row in rows if row["status"] == "ok"))
    for row in rows:
        row["worst_case_complete"] &= row["attacks"] >= attacks


def _comparable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The complete rows that attacked the same examples: those that most of them attacked."""
    complete = [row for row in rows if row["status"] == "ok" and row["worst_case_complete"]]
    attacked = Counter(row["examples_digest"] for row in complete if row["examples_digest"])
    if not attacked:
        return []
    usual = max(sorted(attacked), key=lambda digest: attacked[digest])
    return [row for row in complete if row["examples_digest"] == usual]


def _add_seeds(rows: list[dict[str, Any]]) -> None:
    """What rows that differ in nothing but the seed say together."""
    settings: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        settings.setdefault(tuple(row[name] for name in SETTING), []).append(row)
    for members in settings.values():
        found = across_seeds([outcomes(row["worst_case_outcomes"]) for row in members])
        for row in members:
            row |= {
                "seeds": found.seeds,
                "seeds_mean": found.mean,
                "seeds_low": found.low,
                "seeds_high": found.high,
                "seeds_variance_between": found.between,
                "seeds_variance_within": found.within,
            }

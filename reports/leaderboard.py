"""From the tidy frame to the leaderboard: one row per (cell, suite), ranked within its group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.frame import CELL_COLUMNS, NUMBER, WHOLE, YES_NO, Column, plain_rows, table
from reports.statistics import competition_ranks, wilson

GROUP = ("dataset", "dataset_fingerprint", "model", "norm", "eps", "suite", "examples")
ATTACK_PREFIX = "robust_accuracy."

_ABOUT = ("defense", "framework", "seed", "epochs", "budget_ge", "parameters")
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
        YES_NO, "false where an attack failed or is missing: the worst case is an upper bound"
    ),
    **{name: CELL_COLUMNS[name] for name in ("training_gradient_evaluations", "training_seconds")},
    **{name: CELL_COLUMNS[name] for name in ("status", "reason", "cell_id")},
}
COLUMNS: Mapping[str, Column] = {
    "rank": Column(
        WHOLE,
        "place by worst case among the complete rows of the group; equal ones share it; "
        "NA for an incomplete row and for a cell that did not end well",
    ),
    **{name: CELL_COLUMNS[name] for name in (*GROUP, *_ABOUT)},
    **_RESULTS,
    f"{ATTACK_PREFIX}<attack>": _ATTACK,
    **_ENDING,
}


def leaderboard(tidy: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of their groups and ranks; `COLUMNS` explains each column."""
    attacks = sorted({name for name in tidy["attack"] if name})
    columns: dict[str, Column] = {}
    for name, column in COLUMNS.items():
        if name.startswith(ATTACK_PREFIX):
            columns |= {f"{ATTACK_PREFIX}{attack}": column for attack in attacks}
        else:
            columns[name] = column
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in _entries(tidy):
        groups.setdefault(tuple(row[name] for name in GROUP), []).append(row)
    ordered = [row for _, rows in sorted(groups.items()) for row in _ranked(rows)]
    board = table(ordered, columns)
    board.attrs["left_out"] = tidy.attrs.get("left_out", [])
    return board


def _entries(tidy: pd.DataFrame) -> list[dict[str, Any]]:
    """One dictionary per (cell, suite), each attack's accuracy under its own column."""
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    for row in plain_rows(tidy):
        entry = entries.setdefault((row["cell_id"], row["suite"]), row)
        if row["attack"]:
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
    counted = [row["status"] == "ok" and row["worst_case_complete"] for row in rows]
    ranks = competition_ranks(
        [
            row.get("worst_case") if counts else None
            for row, counts in zip(rows, counted, strict=True)
        ]
    )
    for row, rank in zip(rows, ranks, strict=True):
        row["rank"] = rank

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        worst_case = row.get("worst_case")
        return (
            row["status"] != "ok",
            row["rank"] is None,
            1.0 if worst_case is None else -worst_case,
            *(row[name] for name in ("defense", "framework", "seed", "cell_id")),
        )

    return sorted(rows, key=place)

"""The leaderboard as text cells; whoever prints them must not read markup into them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from reports.board import ATTACK_PREFIX, GROUP, leaderboard
from reports.frame import load, plain_rows
from reports.rows import variants
from reports.seeds import over_seeds
from reports.text import amount, budget, duration, norm, one_line, percent

_TEXT_COLUMNS = ("setting", "defense", "framework", "suite", "attack")


class TerminalTable(NamedTuple):
    """Heads and rows of equal length, and lines to stand below. Control characters are gone."""

    columns: list[str]
    rows: list[list[str]]
    notes: list[str]

    @property
    def right_aligned(self) -> list[bool]:
        """For each column, whether it holds numbers."""
        return [name not in _TEXT_COLUMNS for name in self.columns]


def terminal_table(out: Path | str, cell_ids: Collection[str] | None = None) -> TerminalTable:
    """The leaderboard of all cells, or of those given, in ranking order.

    Ranks are within the group of comparable rows over all stored cells. The setting has a column
    only where there are several. Raises `StoreError` if `out` is not a results folder.
    """
    return table_of(leaderboard(load(out)), cell_ids)


def table_of(board: pd.DataFrame, cell_ids: Collection[str] | None = None) -> TerminalTable:
    """The same of a leaderboard that is there already."""
    entries = [r for r in plain_rows(board) if cell_ids is None or r["cell_id"] in cell_ids]
    attacks = [
        str(name).removeprefix(ATTACK_PREFIX)
        for name in board.columns
        if str(name).startswith(ATTACK_PREFIX) and any(entry[name] is not None for entry in entries)
    ]
    several = len({_setting(entry) for entry in entries if entry["status"] == "ok"}) > 1
    columns = ["rank", "defense", "framework", "seed", "clean %", *attacks, "worst case %"]
    columns += ["95 % interval", "cost GE", "training"]
    rows = [_row(entry, attacks) for entry in entries]
    if several:
        columns = ["setting", *columns]
        rows = [[_setting(entry), *row] for entry, row in zip(entries, rows, strict=True)]
    notes = [*_endings(entries), *_over_seeds(entries, several=several)]
    notes += [
        f"left out: {one_line(x['path'])}: {one_line(x['reason'])}" for x in board.attrs["left_out"]
    ]
    return TerminalTable([one_line(name) for name in columns], rows, notes)


def _endings(entries: list[dict[str, Any]]) -> Iterator[str]:
    """Failed cells, flagged ones, and what a worst case that is only a bound means."""
    for entry in entries:
        if entry["status"] != "ok":
            reason = one_line(entry["reason"]) or "no reason given"
            yield f"{one_line(entry['cell_id'])}: {entry['status']}: {reason}"
        if entry["trust_flags"]:
            flags = one_line(entry["trust_flags"])
            yield f"{one_line(entry['cell_id'])}: trust checks are flagged, look there: {flags}"
    if any(_upper_bound(entry) for entry in entries):
        yield "≤: an attack failed or is missing, so the worst case is only an upper bound"


def _over_seeds(entries: list[dict[str, Any]], *, several: bool) -> Iterator[str]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for entry in entries:
        groups.setdefault(tuple(entry[name] for name in GROUP), []).append(entry)
    for members in groups.values():
        prefix = f"{_setting(members[0])}: " if several else ""
        for one in over_seeds(members, variants(members)):
            yield (
                f"{prefix}{one_line(one.label)}: worst case {percent(one.mean)} % over {one.seeds} "
                f"seeds (95 % interval {percent(one.low)}–{percent(one.high)}; "
                f"± {percent(one.between)} by seed, ± {percent(one.within)} by test examples)"
            )


def _setting(entry: dict[str, Any]) -> str:
    threat = f"{norm(entry['norm'])} {budget(entry['eps'])}"
    return one_line(" ".join((entry["dataset"], entry["model"], threat, entry["suite"])))


def _row(entry: dict[str, Any], attacks: list[str]) -> list[str]:
    low, high = entry["worst_case_low"], entry["worst_case_high"]
    bound = "≤ " if _upper_bound(entry) else ""
    ended = entry["status"] == "ok"
    return [
        "–" if entry["rank"] is None else str(entry["rank"]),
        one_line(entry["defense"]),
        one_line(entry["framework"]),
        str(entry["seed"]),
        percent(entry["clean_accuracy"]),
        *(percent(entry[f"{ATTACK_PREFIX}{attack}"]) for attack in attacks),
        bound + percent(entry["worst_case"]) if ended else entry["status"],
        "–" if low is None else f"{percent(low)}–{percent(high)}",
        amount(entry["training_gradient_evaluations"]),
        duration(entry["training_seconds"]),
    ]


def _upper_bound(entry: dict[str, Any]) -> bool:
    return entry["worst_case"] is not None and not entry["worst_case_complete"]

"""The leaderboard as text cells; whoever prints them must not read markup into them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from reports.frame import load, plain_rows
from reports.leaderboard import ATTACK_PREFIX, leaderboard
from reports.text import amount, budget, duration, norm, one_line, percent

_TEXT_COLUMNS = ("setting", "defense", "framework")


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
    board = leaderboard(load(out))
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
    notes = [
        f"{one_line(e['cell_id'])}: {e['status']}: {one_line(e['reason']) or 'no reason given'}"
        for e in entries
        if e["status"] != "ok"
    ]
    if any(_upper_bound(entry) for entry in entries):
        notes.append("≤: an attack failed or is missing, so the worst case is only an upper bound")
    notes += [f"left out: {one_line(x['path'])}: {x['reason']}" for x in board.attrs["left_out"]]
    return TerminalTable([one_line(name) for name in columns], rows, notes)


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

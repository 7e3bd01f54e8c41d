"""Two cells side by side, example by example: what differs, and whether it is more than chance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.errors import ConfigError
from benchmark.results import Store
from reports import exports
from reports.board import BoardRow
from reports.columns import NUMBER, TEXT, WHOLE, YES_NO, Column, TidyRow, plain_rows, table
from reports.formats import WRITERS
from reports.frame import outcomes, rows_of
from reports.identifiers import find_cell
from reports.paired import LEVEL, pairs
from reports.paired import compare as paired
from reports.ranking import leaderboard, manner
from reports.records import read
from reports.terminal import TerminalTable
from reports.text import one_line, p_value, percent

CLEAN, WORST_CASE = "clean", "worst case"

COLUMNS = {
    "suite": Column(TEXT, 'name of the attack suite; "" for clean examples'),
    "attack": Column(TEXT, f'name of the attack, or "{CLEAN}" or "{WORST_CASE}"'),
    "accuracy_a": Column(NUMBER, "share of the test examples that A gets right"),
    "accuracy_b": Column(NUMBER, "share that B gets right"),
    "status_a": Column(TEXT, "of A's attack: ok, failed, missing or not-applicable"),
    "status_b": Column(TEXT, "of B's attack"),
    "bound_a": Column(YES_NO, "whether that of A is only an upper bound"),
    "bound_b": Column(YES_NO, "whether that of B is only an upper bound"),
    "difference": Column(
        NUMBER,
        "accuracy of A less that of B, on the examples that the attack was run on for both; NA "
        "where an attack has no result or the two worst cases are not over the same examples",
    ),
    "low": Column(NUMBER, "lower end of its 95 % interval, corrected as p_corrected is"),
    "high": Column(NUMBER, "upper end of its 95 % interval, corrected as p_corrected is"),
    "only_a": Column(WHOLE, "how many test examples A alone gets right"),
    "only_b": Column(WHOLE, "how many test examples B alone gets right"),
    "p_corrected": Column(
        NUMBER,
        "p-value of McNemar's exact test that both are right equally often, corrected for the "
        "comparisons of the family",
    ),
    "comparisons": Column(
        WHOLE, "how many the family holds: all pairs of the attacked rows of their group"
    ),
}


def compare(out: Path | str, a: str, b: str) -> pd.DataFrame:
    """The comparison of two cells by id; see `reports.compare`."""
    store = Store.open(Path(out))
    a, b = find_cell(store, a), find_cell(store, b)
    results = read(out)
    stored = {cell.cell_id: cell.config for cell in results.cells}
    for cell_id in (a, b):
        if cell_id not in stored:
            reasons = [x["reason"] for x in results.left_out.as_list() if cell_id in x["path"]]
            why = reasons[0] if reasons else "it is not there"
            raise ConfigError(f"cell {cell_id!r} has no results that can be compared: {why}")
    standing = [row for row in leaderboard(results).rows if row.cell_id in (a, b)]
    families = _families(standing)
    complete = {(row.cell_id, row.suite): row.worst_case_complete for row in standing}
    sides: dict[str, list[TidyRow]] = {a: [], b: []}
    for row in rows_of(results):
        if row.cell_id in sides:
            whole = complete[row.cell_id, row.suite]
            sides[row.cell_id].append(replace(row, worst_case_complete=whole))
    found = _pairs(sides[a], sides[b])
    compared = table([_row(pair, families) for pair in found], COLUMNS)
    compared.attrs["a"], compared.attrs["b"] = a, b
    compared.attrs["differs"] = _differences(stored[a], stored[b])
    return compared


def _families(standing: list[BoardRow]) -> dict[str, int]:
    """Suite to how many comparisons the family holds in it; of clean examples under "".

    Of cells of two groups, with another model say, it is that of both groups' rows together.

    Args:
        standing: the rows of both cells in the leaderboard.
    """
    cells: dict[str, set[str]] = {}
    families: dict[str, dict[tuple[Any, ...], int]] = {}
    for row in standing:
        cells.setdefault(row.suite, set()).add(row.cell_id)
        families.setdefault(row.suite, {})[row.group] = row.group_rows or 0
    found = {
        suite: pairs(sum(rows.values()))
        for suite, rows in families.items()
        if len(cells[suite]) == 2
    }
    return found | {"": max(found.values(), default=1)}


def as_table(compared: pd.DataFrame) -> TerminalTable:
    """The comparison as text cells, with what it means in words below."""
    rows = plain_rows(compared)
    several = len({row["suite"] for row in rows if row["suite"]}) > 1
    columns = ["suite"] if several else []
    columns += ["attack", "A %", "B %", "A - B", "95 % interval", "only A", "only B"]
    columns += ["p corrected"]
    notes = [f"A: {one_line(compared.attrs['a'])}", f"B: {one_line(compared.attrs['b'])}"]
    notes += [
        f"differs: {one_line(name)}: A {_value(first)}, B {_value(second)}"
        for name, (first, second) in compared.attrs["differs"].items()
    ]
    comparisons = max((row["comparisons"] or 1 for row in rows), default=1)
    if comparisons > 1:
        notes.append(f"intervals and p: corrected for the {comparisons} pairs of the group")
    notes += [_verdict(row) for row in rows if row["attack"] == WORST_CASE and row["suite"]]
    return TerminalTable(columns, [_cells(row, several=several) for row in rows], notes)


def formatted(compared: pd.DataFrame, form: str) -> str:
    """The comparison as csv, json, markdown or latex."""
    if form in WRITERS:
        return WRITERS[form](as_table(compared))
    if form == "csv":
        return exports.as_csv(compared.columns, plain_rows(compared))
    about = {name: compared.attrs[name] for name in ("a", "b", "differs", "columns")}
    return json.dumps({**about, "rows": plain_rows(compared)}, indent=2, allow_nan=False) + "\n"


@dataclass(frozen=True)
class _Pair:
    """One measure of two cells: a tidy row of each, and the column to compare."""

    suite: str
    attack: str
    ours: TidyRow
    other: TidyRow
    column: str
    comparable: bool = True


def _pairs(first: list[TidyRow], second: list[TidyRow]) -> Iterator[_Pair]:
    """Everything that both cells have a row of: clean, attacks, worst cases."""
    theirs = {(entry.suite, entry.attack): entry for entry in second}
    common = [
        (entry, theirs[key])
        for entry in first
        if (key := (entry.suite, entry.attack)) in theirs and entry.attack
    ]
    if not common:
        raise ConfigError("these cells have no attack in common; run one suite on both")
    for ours, other in common:
        _check_same_examples(ours, other)
    yield _Pair("", CLEAN, *common[0], "clean_outcomes")
    for suite in dict.fromkeys(ours.suite for ours, _ in common):
        members = [pair for pair in common if pair[0].suite == suite]
        for ours, other in members:
            same = manner(ours).told == manner(other).told
            yield _Pair(suite, ours.attack, ours, other, "robust_outcomes", same)
        exposures = [_exposure(entries, suite) for entries in (first, second)]
        comparable = _same_exposure(*exposures)
        yield _Pair(suite, WORST_CASE, *members[0], "worst_case_outcomes", comparable)


def _exposure(entries: list[TidyRow], suite: str) -> dict[str, tuple[str, str] | None] | None:
    """Attack to the examples it ran on, and how; None of one that isn't applicable.

    None for all if one failed.
    """
    # What others claim makes a model no harder to compare: anybody may claim of any
    mine = [entry for entry in entries if entry.suite == suite and not entry.attack_claimed]
    if any(e.status != "ok" or e.attack_status in ("failed", "missing") for e in mine):
        return None
    return {entry.attack: _run(entry) for entry in mine}


def _run(entry: TidyRow) -> tuple[str, str] | None:
    return None if entry.attack_ran is None else (entry.attack_ran, manner(entry).told)


def _same_exposure(
    ours: dict[str, tuple[str, str] | None] | None, other: dict[str, tuple[str, str] | None] | None
) -> bool:
    """Whether two worst cases are over the same attacks, arguments and examples."""
    if ours is None or other is None or ours.keys() != other.keys():
        return False
    return all(None in (ran, other[name]) or ran == other[name] for name, ran in ours.items())


def _check_same_examples(ours: TidyRow, other: TidyRow) -> None:
    for name in ("dataset_fingerprint", "examples_digest"):
        if (
            None not in (values := [getattr(one, name) for one in (ours, other)])
            and len({*values}) > 1
        ):
            raise ConfigError(
                f"these cells were attacked on different test examples ({ours.dataset!r} and "
                f"{other.dataset!r}, {name} {values[0]} and {values[1]}); "
                "compare cells of the same data, split and number of examples"
            )


def _row(pair: _Pair, families: dict[str, int]) -> dict[str, Any]:
    ours, other, column = pair.ours, pair.other, pair.column
    row: dict[str, Any] = {"suite": pair.suite, "attack": pair.attack}
    for side, entry in (("a", ours), ("b", other)):
        complete = entry.worst_case_complete and entry.status == "ok"
        row[f"bound_{side}"] = pair.attack == WORST_CASE and not complete
        if column == "robust_outcomes":
            row[f"status_{side}"] = entry.attack_status
        if getattr(entry, column) is not None:
            row[f"accuracy_{side}"] = float(
                outcomes(getattr(entry, column))[_ran(entry, column)].mean()
            )
    if None in (getattr(ours, column), getattr(other, column)) or not pair.comparable:
        return row
    both = _ran(ours, column) & _ran(other, column)
    if not both.any():
        return row
    right, theirs = outcomes(getattr(ours, column))[both], outcomes(getattr(other, column))[both]
    found = paired(right, theirs, comparisons=families[pair.suite])
    return row | {
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "only_a": found.only_first,
        "only_b": found.only_second,
        "p_corrected": found.p,
        "comparisons": families[pair.suite],
    }


def _ran(entry: TidyRow, column: str) -> np.ndarray:
    """Which examples a column tells of: of an attack those that it was run on, else all."""
    if column == "robust_outcomes":
        return outcomes(entry.attack_ran)
    return np.ones(len(getattr(entry, column)), dtype=bool)


def _differences(
    ours: Any, other: Any, prefix: str = "", *, depth: int = 4
) -> dict[str, tuple[Any, Any]]:
    """Paths of what differs between two configurations, with both values."""
    if not (isinstance(ours, dict) and isinstance(other, dict) and depth):
        return {} if ours == other else {prefix: (ours, other)}
    found: dict[str, tuple[Any, Any]] = {}
    for name in sorted({*ours, *other}):
        path = f"{prefix}.{name}" if prefix else name
        found |= _differences(ours.get(name), other.get(name), path, depth=depth - 1)
    return found


def _cells(row: dict[str, Any], *, several: bool) -> list[str]:
    shown = [row["suite"], row["attack"]] if several else [row["attack"]]
    for side in "ab":
        share, status = row[f"accuracy_{side}"], row[f"status_{side}"]
        bound = "≤ " if row[f"bound_{side}"] and share is not None else ""
        failed = share is None and status not in (None, "ok")
        shown.append(status if failed else bound + percent(share))
    if row["p_corrected"] is None:
        shown += ["–"] * 5
    else:
        shown += [_signed(row["difference"]), f"{_signed(row['low'])} to {_signed(row['high'])}"]
        shown += [str(row["only_a"]), str(row["only_b"]), p_value(row["p_corrected"])]
    return [one_line(text) for text in shown]


def _verdict(row: dict[str, Any]) -> str:
    suite = f"worst case of {one_line(row['suite'])}"
    if row["p_corrected"] is None:
        return f"{suite}: not compared, an attack failed, is missing, or ran otherwise"
    p = p_value(row["p_corrected"])
    told = f"p {p}" if p.startswith("<") else f"p = {p}"
    if row["comparisons"] > 1:
        told += f", corrected for the {row['comparisons']} pairs of the group"
    if row["p_corrected"] > LEVEL:
        return f"{suite}: the data can't tell A and B apart ({told})"
    better = "A" if row["difference"] > 0 else "B"
    return (
        f"{suite}: {better} is right more often, by {abs(100 * row['difference']):.1f} points "
        f"({told})"
    )


def _value(value: Any) -> str:
    return "–" if value is None else one_line(json.dumps(value, ensure_ascii=False))


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}"

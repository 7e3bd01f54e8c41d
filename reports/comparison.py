"""Two cells side by side, example by example: what differs, and whether it is more than chance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.errors import ConfigError
from benchmark.results import Store
from reports import exports
from reports.formats import WRITERS
from reports.frame import (
    NUMBER,
    TEXT,
    WHOLE,
    YES_NO,
    Column,
    frame,
    meanings,
    outcomes,
    plain_rows,
    table,
)
from reports.identifiers import find_cell
from reports.paired import bootstrap, discordant, holm, mcnemar
from reports.records import read
from reports.terminal import TerminalTable
from reports.text import one_line, percent

CLEAN, WORST_CASE = "clean", "worst case"

COLUMNS = {
    "suite": Column(TEXT, 'name of the attack suite; "" for clean examples'),
    "attack": Column(TEXT, f'name of the attack, or "{CLEAN}" or "{WORST_CASE}"'),
    "accuracy_a": Column(NUMBER, "share of the test examples that A gets right"),
    "accuracy_b": Column(NUMBER, "share that B gets right"),
    "bound_a": Column(YES_NO, "whether that of A is only an upper bound: an attack gave no result"),
    "bound_b": Column(YES_NO, "whether that of B is only an upper bound: an attack gave no result"),
    "difference": Column(NUMBER, "accuracy of A less that of B"),
    "low": Column(NUMBER, "lower end of its 95 % interval (paired bootstrap)"),
    "high": Column(NUMBER, "upper end of its 95 % interval (paired bootstrap)"),
    "only_a": Column(WHOLE, "how many test examples A alone gets right"),
    "only_b": Column(WHOLE, "how many test examples B alone gets right"),
    "p": Column(NUMBER, "p-value of McNemar's exact test that both are right equally often"),
    "p_corrected": Column(NUMBER, "the same with Holm's correction for all tests of this table"),
}

_LEVEL = 0.05


def compare(out: Path | str, a: str, b: str) -> pd.DataFrame:
    """The comparison of two cells by id; see `reports.compare`."""
    store = Store.open(Path(out))
    a, b = find_cell(store, a), find_cell(store, b)
    results = read(out, [a, b])
    stored = {cell.cell_id: cell.config for cell in results.cells}
    for cell_id in (a, b):
        if cell_id not in stored:
            reasons = [x["reason"] for x in results.left_out.as_list() if cell_id in x["path"]]
            why = reasons[0] if reasons else "it is not there"
            raise ConfigError(f"cell {cell_id!r} has no results that can be compared: {why}")
    entries = plain_rows(frame(results))
    pairs = _pairs(
        [entry for entry in entries if entry["cell_id"] == a],
        [entry for entry in entries if entry["cell_id"] == b],
    )
    rows = [_row(*pair) for pair in pairs]
    tested = [row for row in rows if "p" in row]
    for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_corrected"] = p
    compared = table(rows, COLUMNS)
    compared.attrs["a"], compared.attrs["b"] = a, b
    compared.attrs["differs"] = _differences(stored[a], stored[b])
    compared.attrs["columns"] = meanings(COLUMNS)
    return compared


def as_table(compared: pd.DataFrame) -> TerminalTable:
    """The comparison as text cells, with what it means in words below."""
    rows = plain_rows(compared)
    several = len({row["suite"] for row in rows if row["suite"]}) > 1
    columns = ["suite"] if several else []
    columns += ["attack", "A %", "B %", "A - B", "95 % interval", "only A", "only B", "p"]
    columns += ["p corrected"]
    notes = [f"A: {one_line(compared.attrs['a'])}", f"B: {one_line(compared.attrs['b'])}"]
    notes += [
        f"differs: {one_line(name)}: A {_value(first)}, B {_value(second)}"
        for name, (first, second) in compared.attrs["differs"].items()
    ]
    notes += [_verdict(row) for row in rows if row["attack"] == WORST_CASE and row["suite"]]
    return TerminalTable(columns, [_cells(row, several=several) for row in rows], notes)


def formatted(compared: pd.DataFrame, form: str) -> str:
    """The comparison as csv, json, markdown or latex."""
    if form in WRITERS:
        return WRITERS[form](as_table(compared))
    if form == "csv":
        return exports.as_csv(compared)
    about = {name: compared.attrs[name] for name in ("a", "b", "differs", "columns")}
    return json.dumps({**about, "rows": plain_rows(compared)}, indent=2, allow_nan=False) + "\n"


def _pairs(
    first: list[dict[str, Any]], second: list[dict[str, Any]]
) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any], str]]:
    """(suite, attack, row of A, row of B, column of outcomes) for all that both have."""
    theirs = {(entry["suite"], entry["attack"]): entry for entry in second}
    common = [
        (entry, theirs[key])
        for entry in first
        if (key := (entry["suite"], entry["attack"])) in theirs and entry["attack"]
    ]
    if not common:
        raise ConfigError("these cells have no attack in common; run one suite on both")
    for ours, other in common:
        _check_same_examples(ours, other)
    yield "", CLEAN, *common[0], "clean_outcomes"
    for suite in dict.fromkeys(ours["suite"] for ours, _ in common):
        members = [pair for pair in common if pair[0]["suite"] == suite]
        for ours, other in members:
            yield suite, ours["attack"], ours, other, "robust_outcomes"
        yield suite, WORST_CASE, *members[0], "worst_case_outcomes"


def _check_same_examples(ours: dict[str, Any], other: dict[str, Any]) -> None:
    for name in ("dataset_fingerprint", "examples_digest"):
        if None not in (ours[name], other[name]) and ours[name] != other[name]:
            raise ConfigError(
                f"these cells were attacked on different test examples ({ours['dataset']!r} and "
                f"{other['dataset']!r}, {name} {ours[name]} and {other[name]}); "
                "compare cells of the same data, split and number of examples"
            )


def _row(
    suite: str, attack: str, ours: dict[str, Any], other: dict[str, Any], column: str
) -> dict[str, Any]:
    row: dict[str, Any] = {"suite": suite, "attack": attack}
    for side, entry in (("a", ours), ("b", other)):
        complete = entry["worst_case_complete"] and entry["status"] == "ok"
        row[f"bound_{side}"] = attack == WORST_CASE and not complete
        if entry[column] is not None:
            row[f"accuracy_{side}"] = float(outcomes(entry[column])[_ran(entry, column)].mean())
    if None in (ours[column], other[column]) or row["bound_a"] or row["bound_b"]:
        return row
    both = _ran(ours, column) & _ran(other, column)
    if not both.any():
        return row
    right, theirs = outcomes(ours[column])[both], outcomes(other[column])[both]
    row["difference"], row["low"], row["high"] = bootstrap(right, theirs)
    row["only_a"], row["only_b"] = discordant(right, theirs)
    row["p"] = mcnemar(right, theirs)
    return row


def _ran(entry: dict[str, Any], column: str) -> np.ndarray:
    """Which examples a column tells of: of an attack those that it was run on, else all."""
    if column == "robust_outcomes":
        return outcomes(entry["attack_ran"])
    return np.ones(len(entry[column]), dtype=bool)


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
        shown.append(("≤ " if row[f"bound_{side}"] else "") + percent(row[f"accuracy_{side}"]))
    if row["p"] is None:
        return [one_line(text) for text in shown] + ["–"] * 6
    shown += [_signed(row["difference"]), f"{_signed(row['low'])} to {_signed(row['high'])}"]
    shown += [str(row["only_a"]), str(row["only_b"])]
    return [one_line(text) for text in shown] + [_p(row["p"]), _p(row["p_corrected"])]


def _verdict(row: dict[str, Any]) -> str:
    suite = f"worst case of {one_line(row['suite'])}"
    if row["p"] is None:
        return f"{suite}: not compared, an attack failed or is missing"
    p = _p(row["p_corrected"])
    told = f"p {p}" if p.startswith("<") else f"p = {p}"
    if row["p_corrected"] > _LEVEL:
        return f"{suite}: the data can't tell A and B apart ({told})"
    better = "A" if row["difference"] > 0 else "B"
    return (
        f"{suite}: {better} is right more often, by {abs(100 * row['difference']):.1f} points "
        f"({told})"
    )


def _value(setting: Any) -> str:
    return "–" if setting is None else one_line(json.dumps(setting, ensure_ascii=False))


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"

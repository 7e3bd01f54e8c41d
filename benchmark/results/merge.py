"""Joining results folders: what several machines measured becomes one leaderboard.

A cell's id hashes its configuration, so the same cell in two folders is the same work. Equal
results are taken once, whatever time they took. Configuration, data, suites, status and version of
the protocol must be equal in any case. Other numbers of CPU threads, other devices and other
processors round differently: such results stand for the same if no attack's accuracies are more
than TOLERANCE apart, and one copy, the first, is kept as a whole, with the record of its machine.
Where two folders contradict each other nothing is written.
Sources are only read. A cell arrives as a run writes it, stage by stage and `cell.json`
last: a merge that is killed leaves whole cells and unfinished ones, and merging again completes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.errors import StoreError
from benchmark.results.files import Record, copy_of
from benchmark.results.identity import protocol_of
from benchmark.results.layout import STAGES
from benchmark.results.store import Store

# How far clean and robust accuracies may be apart, as shares, where threads or devices differ.
TOLERANCE = 0.02

# What may differ between two machines that got the same result. An attack's identity is in its key;
# records of older versions don't hold it.
_CIRCUMSTANCES = ("seconds", "threads", "taken_from", "peak_memory", "identity")
# Judgements on results that are compared themselves; their numbers are rounded by the machine. And
# what was asked for: in other words, but it came to the same.
_NOT_COMPARED = ("trust/", "runs/")


@dataclass
class Merged:
    """What a merge did: ids of cells by what became of them, and what it left out and why.

    `extended` had other suites in the target already. `left_out` maps a path to its reason.
    """

    added: list[str] = field(default_factory=list)
    extended: list[str] = field(default_factory=list)
    equal: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def merge(sources: Sequence[Path | str], out: Path | str) -> Merged:
    """Joins the results folders `sources` in the folder `out`, which may hold results already.

    A cell that was measured with other threads, or on another device or processor, comes from
    `out`, or else from the source given first; the others are left out, with how far they are
    apart.

    Raises `StoreError` if a source is no results folder, `out` can't be written or is being
    written, or the same cell has different results; the error says where. `out` is unchanged then.
    """
    stores = [Store.open(source) for source in sources]
    Store.check_writable(out)
    if not (Path(out) / "bench.json").exists():
        _plan(stores, Merged())  # a contradiction must not leave an empty folder behind
    with Store.create(out).lock() as target:
        merged = Merged()
        for cell_id, copies in _plan([target, *stores], merged).items():
            _join(target, cell_id, copies, merged)
    return merged


@dataclass(frozen=True)
class _Copy:
    """A cell that ended, as one folder has it: its record, and the records of its intact stages."""

    store: Store
    cell_id: str
    record: Record
    stages: dict[str, Record]

    def file(self, name: str) -> Path:
        return self.store.cell_folder(self.cell_id) / f"{name}.json"


def _plan(stores: Sequence[Store], merged: Merged) -> dict[str, list[_Copy]]:
    """The copies of every cell; raises `StoreError` where they contradict each other."""
    plan: dict[str, list[_Copy]] = {}
    for store in stores:
        for cell_id in store.cell_ids():
            copy = _read(store, cell_id, merged)
            if copy is not None:
                plan.setdefault(cell_id, []).append(copy)
    return {cell_id: _kept(copies, merged) for cell_id, copies in plan.items()}


def _kept(copies: Sequence[_Copy], merged: Merged) -> list[_Copy]:
    """The copies of a cell that are the same to the last digit as the first one.

    Raises `StoreError` where another one contradicts it.
    """
    first, *others = copies
    kept = [first]
    for other in others:
        differing = [found for one in kept if (found := _difference(one, other)) is not None]
        if not differing:
            kept.append(other)
            continue
        apart, between = _apart(first, other), _machines(first, other)
        if not between or apart > TOLERANCE:
            raise _contradiction(first, other, *differing[0], between)
        lost = sorted(other.record["suites"].keys() - first.record["suites"].keys())
        merged.left_out[str(other.store.cell_folder(other.cell_id))] = (
            f"it was measured with {between}, and its accuracies are up to {apart:.1%} apart; "
            f"{first.store.cell_folder(first.cell_id)} is kept as a whole"
            + (f", so its suite {', '.join(lost)} is not taken over" if lost else "")
        )
    return kept


def _join(target: Store, cell_id: str, copies: Sequence[_Copy], merged: Merged) -> None:
    """Brings one cell to the target, with everything that any folder has of it."""
    known = copies[0].store is target
    suites: dict[str, Any] = {}
    owners: dict[str, _Copy] = {}
    for copy in copies:
        suites = {**copy.record["suites"], **suites}
        owners = {**dict.fromkeys(copy.stages, copy), **owners}
    news = {stage: copy for stage, copy in owners.items() if copy.store is not target}
    record = {**copies[0].record, "suites": suites}
    if known and not news and record == copies[0].record:
        merged.equal.append(cell_id)
        return
    for stage, copy in news.items():
        _transfer(target, stage, copy)
    target.write_cell(cell_id, record)
    (merged.extended if known else merged.added).append(cell_id)


def _transfer(target: Store, stage: str, copy: _Copy) -> None:
    """Writes a stage and its files as they are."""
    record = copy.stages[stage]
    folder = copy.file(stage).parent
    files = {name: copy_of(folder / name, seal) for name, seal in record["files"].items()}
    target.write_stage(copy.cell_id, stage, record, files)


def _read(store: Store, cell_id: str, merged: Merged) -> _Copy | None:
    """A cell of one folder, or None if it hasn't ended or can't be read."""
    record = store.read_cell(cell_id)
    folder = store.cell_folder(cell_id)
    reason = _fault(record)
    if record is None and not (folder / "cell.json").exists():
        reason = "it hasn't ended"
    if record is None or reason:
        merged.left_out[str(folder)] = reason
        return None
    stages: dict[str, Record] = {}
    for name in _stage_names(store, cell_id, record):
        try:
            stage = store.read_stage(cell_id, name)
        except StoreError as error:  # an unsafe name
            merged.left_out[str(folder)] = str(error)
            return None
        path = folder / f"{name}.json"
        if stage is not None:
            stages[name] = stage
        elif path.exists() and name in STAGES:
            merged.left_out[str(folder)] = f"its {name}, or a file of it, is damaged"
            return None
        elif path.exists():
            merged.left_out[str(path)] = "it, or a file of it, is damaged"
    return _Copy(store, cell_id, record, stages)


def _stage_names(store: Store, cell_id: str, record: Record) -> Iterator[str]:
    """Everything that a cell may hold; of attacks, those that its suites name."""
    yield from STAGES
    attacks = {key for keys in record["suites"].values() for key in keys}
    for folder in {"attacks", *store.stage_folders(cell_id)}:
        keys = attacks if folder == "attacks" else store.stage_keys(cell_id, folder)
        yield from (f"{folder}/{key}" for key in sorted(keys))


def _fault(record: Record | None) -> str:
    """Why a cell's record can't be taken, "" if it can."""
    if record is None:
        return "its cell.json is damaged"
    suites = record.get("suites")
    fits = isinstance(suites, dict) and all(
        isinstance(keys, list) and all(isinstance(key, str) for key in keys)
        for keys in suites.values()
    )
    return "" if fits else "its cell.json doesn't follow the schema"


def _difference(one: _Copy, other: _Copy) -> tuple[str, str] | None:
    """Where the results of two copies of a cell differ, and in what; None where they are equal.

    Raises `StoreError` where they aren't even of the same work.
    """
    for name in ("config", "status"):
        if one.record.get(name) != other.record.get(name):
            raise _contradiction(one, other, "cell", name)
    for suite in one.record["suites"].keys() & other.record["suites"].keys():
        if one.record["suites"][suite] != other.record["suites"][suite]:
            raise _contradiction(one, other, "cell", f"the attacks of suite {suite!r}")
    ended_well = one.record.get("status") == "ok"
    for stage in STAGES:
        if ended_well and (stage in one.stages) != (stage in other.stages):
            raise _contradiction(one, other, stage, "one of them has none")
    for stage in sorted(one.stages.keys() & other.stages.keys()):
        if stage.startswith(_NOT_COMPARED):
            continue
        ours, theirs = _result(one.stages[stage]), _result(other.stages[stage])
        if ours["protocol_version"] != theirs["protocol_version"]:
            raise _contradiction(one, other, stage, "protocol_version")
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                return stage, name
    return None


def _result(stage: Record) -> Record:
    found = {name: value for name, value in stage.items() if name not in _CIRCUMSTANCES}
    return {**found, "protocol_version": protocol_of(stage)}


def _machines(one: _Copy, other: _Copy) -> str:
    """How the machines of two copies differ; empty where they round alike."""
    both = [_threads(one), _threads(other)]
    if None not in both and both[0] != both[1]:
        return f"{both[1]} instead of {both[0]} CPU threads"
    for name in ("device", "processor"):
        ours, theirs = one.record.get(name), other.record.get(name)
        if ours and theirs and ours != theirs:
            return f"{name} {theirs} instead of {ours}"
    return ""


def _threads(copy: _Copy) -> Any:
    """Of the training, where it says so, or else of the cell's last run."""
    stored = copy.stages.get("training", {}).get("threads")
    return copy.record.get("threads") if stored is None else stored


def _apart(one: _Copy, other: _Copy) -> float:
    """How far any accuracy of an attack that both ran is apart, at most; infinite without one."""
    shared = [name for name in one.stages if name in other.stages and name.startswith("attacks/")]
    found = [math.inf] if not shared else []
    for name in shared:
        for accuracy in ("clean_accuracy", "robust_accuracy"):
            both = [copy.stages[name].get(accuracy) for copy in (one, other)]
            if both == [None, None]:
                continue
            numbers = [float(value) for value in both if isinstance(value, int | float)]
            found.append(abs(numbers[0] - numbers[1]) if len(numbers) == 2 else math.inf)
    return max(found, default=math.inf)


def _contradiction(one: _Copy, other: _Copy, file: str, what: str, between: str = "") -> StoreError:
    fix = "find out which one is right and leave the other folder out"
    if between:
        fix = (
            f"the second was measured with {between}, and accuracies are more than {TOLERANCE:.0%} "
            "apart: leave one folder out, or run both with the same --threads"
        )
    return StoreError(
        f"cell {one.cell_id} has different results: {one.file(file)} and {other.file(file)} differ "
        f"({what}); {fix}"
    )

"""Joining results folders: what several machines measured becomes one leaderboard.

A cell's id hashes its configuration, so the same cell in two folders is the same work. Equal
results are taken once, whatever time they took; where two folders contradict each other nothing is
written. Sources are only read. A cell arrives as a run writes it, stage by stage and `cell.json`
last: a merge that is killed leaves whole cells and unfinished ones, and merging again completes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.errors import StoreError
from benchmark.files import copy_of
from benchmark.results import KEYED_STAGES, STAGES, Record, Store

# What may differ between two machines that got the same result. An attack's identity is in its key;
# records of older versions don't hold it.
_CIRCUMSTANCES = ("seconds", "taken_from", "identity")
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

    Raises `StoreError` if a source is no results folder, `out` can't be written or is being
    written, or the same cell has different results; the error says where. `out` is unchanged then.
    """
    stores = [Store.open(source) for source in sources]
    Store.check_writable(out)
    if not (Path(out) / "bench.json").exists():
        _plan(stores, Merged())  # a contradiction must not leave an empty folder behind
    target = Store.create(out)
    with target.lock():
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
    for copies in plan.values():
        for place, copy in enumerate(copies):
            for other in copies[:place]:
                _check_equal(other, copy)
    return plan


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
    for folder in KEYED_STAGES:
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


def _check_equal(one: _Copy, other: _Copy) -> None:
    """Raises `StoreError` that says where two copies of a cell contradict each other."""
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
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                raise _contradiction(one, other, stage, name)


def _result(stage: Record) -> Record:
    return {name: value for name, value in stage.items() if name not in _CIRCUMSTANCES}


def _contradiction(one: _Copy, other: _Copy, file: str, what: str) -> StoreError:
    return StoreError(
        f"cell {one.cell_id} has different results: {one.file(file)} and {other.file(file)} differ "
        f"({what}); find out which one is right and leave the other folder out"
    )

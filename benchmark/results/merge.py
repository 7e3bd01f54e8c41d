"""Joining results folders: what several machines measured becomes one leaderboard.

A cell's id hashes its configuration, so the same cell in two folders is the same work. Equal
results are taken once, whatever time they took. Configuration, data, suites, status and version of
the protocol must be equal in any case. Other numbers of CPU threads, other devices, processors and
versions of packages round differently: such results stand for the same if no attack's accuracies
are more than TOLERANCE and one example apart, nor a mean of a meta-test TOLERANCE outside of the
other's interval; and one copy, the first, is kept as a whole, with the record of its machine.
Trust checks are taken from a folder that has those of now, where others have earlier ones.
Where two folders contradict each other nothing is written.
Sources are only read. A cell arrives as a run writes it, stage by stage and `cell.json`
last: a merge that is killed leaves whole cells and unfinished ones, and merging again completes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.errors import StoreError
from benchmark.results.copies import (
    Copy,
    apart,
    contradiction,
    difference,
    machines,
    too_far,
)
from benchmark.results.files import Record, copy_of
from benchmark.results.identity import CHECKS_VERSION, checks_of
from benchmark.results.layout import STAGES
from benchmark.results.store import Store


@dataclass
class Merged:
    """What a merge did: ids of cells by what became of them, and what it left out and why.

    `extended` had other suites in the target already. Those of `repeated` are in several of the
    sources, with equal results; they are among the others, too. `left_out` maps a path to its
    reason; those of `lost` are damaged, and no other folder has what they should hold.
    """

    added: list[str] = field(default_factory=list)
    extended: list[str] = field(default_factory=list)
    equal: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


def merge(sources: Sequence[Path | str], out: Path | str) -> Merged:
    """Joins the results folders `sources` in the folder `out`, which may hold results already.

    A cell that was measured with other threads or packages, or on another device or processor,
    comes from `out`, or else from the source given first; the others are left out, with how far
    they are apart.

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


def _plan(stores: Sequence[Store], merged: Merged) -> dict[str, list[Copy]]:
    """The copies of every cell; raises `StoreError` where they contradict each other."""
    plan: dict[str, list[Copy]] = {}
    damaged: dict[str, tuple[str, str]] = {}  # path: cell and stage, "" for the cell as a whole
    for store in stores:
        for cell_id in store.cell_ids():
            copy = _read(store, cell_id, merged, damaged)
            if copy is not None:
                plan.setdefault(cell_id, []).append(copy)
    kept = {cell_id: _kept(copies, merged) for cell_id, copies in plan.items()}
    merged.lost = [
        path
        for path, (cell_id, stage) in damaged.items()
        if cell_id not in kept or (stage and all(stage not in one.stages for one in kept[cell_id]))
    ]
    return kept


def _kept(copies: Sequence[Copy], merged: Merged) -> list[Copy]:
    """The copies of a cell that are the same to the last digit as each other, and as the first one.

    Raises `StoreError` where another one contradicts one of them.
    """
    kept: list[Copy] = []
    others: list[Copy] = []
    for copy in copies:
        is_same = all(difference(one, copy) is None for one in kept)
        (kept if is_same else others).append(copy)
    suites = {suite for one in kept for suite in one.record["suites"]}
    for other in others:
        differing = [(one, found) for one in kept if (found := difference(one, other)) is not None]
        for one, found in differing:
            between = machines(one, other)
            far = too_far(one, other, found) if between else found
            if far is not None:
                raise contradiction(one, other, *far, between)
        first = max((one for one, _ in differing), key=lambda one: apart(one, other))
        lost = sorted(other.record["suites"].keys() - suites)
        merged.left_out[str(other.store.cell_folder(other.cell_id))] = (
            f"it was measured with {machines(first, other)}, and accuracies are up to "
            f"{apart(first, other):.1%} apart; "
            f"{first.store.cell_folder(first.cell_id)} is kept as a whole"
            + (f", so its suite {', '.join(lost)} is not taken over" if lost else "")
        )
    return kept


def _join(target: Store, cell_id: str, copies: Sequence[Copy], merged: Merged) -> None:
    """Brings one cell to the target, with everything that any folder has of it."""
    known = copies[0].store is target
    if len({copy.store.path.resolve() for copy in copies if copy.store is not target}) > 1:
        merged.repeated.append(cell_id)
    suites: dict[str, Any] = {}
    owners: dict[str, Copy] = {}
    for copy in copies:
        suites = {**copy.record["suites"], **suites}
        for stage in copy.stages:
            if stage not in owners or _is_better(copy.stages[stage], owners[stage].stages[stage]):
                owners[stage] = copy
    news = {stage: copy for stage, copy in owners.items() if copy.store is not target}
    record = {**copies[0].record, "suites": suites}
    if known and not news and record == copies[0].record:
        merged.equal.append(cell_id)
        return
    if not known:  # what is left there of an unfinished one may be of other weights
        _discard(target, cell_id, owners, merged)
    for stage, copy in news.items():
        _transfer(target, stage, copy)
    target.write_cell(cell_id, record)
    (merged.extended if known else merged.added).append(cell_id)


def _is_better(one: Record, other: Record) -> bool:
    """Whether one is of trust checks of now, and the other of those that failed, or earlier ones.

    They are not compared, and reports leave earlier ones out. No other stage tells their version.
    """
    good = [
        record.get("status") != "failed" and checks_of(record) == CHECKS_VERSION
        for record in (one, other)
    ]
    return good == [True, False]


def _discard(target: Store, cell_id: str, owners: Collection[str], merged: Merged) -> None:
    """Removes what the target has of a cell that hasn't ended there, or is damaged; and tells."""
    folder = target.cell_folder(cell_id)
    has_ended = (folder / "cell.json").exists()
    for kind in target.stage_folders(cell_id):
        for stage in (f"{kind}/{key}" for key in target.stage_keys(cell_id, kind)):
            if stage in owners or target.read_stage(cell_id, stage) is None:
                continue
            path = str(folder / f"{stage}.json")
            merged.left_out[path] = "it may be of other weights than the cell that is taken over"
            if has_ended:
                merged.lost.append(path)
    target.discard(cell_id)


def _transfer(target: Store, stage: str, copy: Copy) -> None:
    """Writes a stage and its files as they are."""
    record = copy.stages[stage]
    folder = copy.file(stage).parent
    files = {name: copy_of(folder / name, seal) for name, seal in record["files"].items()}
    target.write_stage(copy.cell_id, stage, record, files)


def _read(
    store: Store, cell_id: str, merged: Merged, damaged: dict[str, tuple[str, str]]
) -> Copy | None:
    """A cell of one folder, or None if it hasn't ended or can't be read."""
    record = store.read_cell(cell_id)
    folder = store.cell_folder(cell_id)
    has_ended = (folder / "cell.json").exists()
    reason = _fault(record) if has_ended else "it hasn't ended"
    if record is None or reason:
        merged.left_out[str(folder)] = reason
        if has_ended:
            damaged[str(folder)] = cell_id, ""
        return None
    stages: dict[str, Record] = {}
    for name in _stage_names(store, cell_id, record):
        try:
            stage = store.read_stage(cell_id, name)
        except StoreError as error:  # an unsafe name
            merged.left_out[str(folder)] = str(error)
            damaged[str(folder)] = cell_id, ""
            return None
        path = folder / f"{name}.json"
        if stage is not None:
            stages[name] = stage
        elif path.exists() and name in STAGES:
            merged.left_out[str(folder)] = f"its {name}, or a file of it, is damaged"
            damaged[str(folder)] = cell_id, ""
            return None
        elif path.exists():
            merged.left_out[str(path)] = "it, or a file of it, is damaged"
            damaged[str(path)] = cell_id, name
    return Copy(store, cell_id, record, stages)


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

"""How far a run is, from its folder alone: its journal, and the records of its cells."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark.errors import SchemaError, StoreError
from benchmark.journal import path_in
from benchmark.results import Store, damaged_stages, failed_stages, lease, read_plain
from benchmark.results.records import CellRecord

# Seconds without a sign after which a run of another machine is called silent.
_SILENT = 4 * lease.HEARTBEAT
_LARGEST = 1 << 30  # bytes of a journal
_UNDONE = ("at work", "silent", "stopped")  # states of a run that has work left


@dataclass(frozen=True)
class Running:
    """A task that somebody is at: where, and since when; `attempt` counts from 1."""

    cell_id: str
    stage: str
    where: str
    since: str
    attempt: int


@dataclass
class Status:
    """What became of every cell that is known: those with a record, and those of the last run.

    state: of the last run: "at work", "silent" (its machine gives no sign), "stopped" (it ended
    before its work), "ended", or "unknown" where none left a journal. run: what it says of itself.
    failed: cell to the reason, and where a cell is done without a stage, "cell: stage" to it.
    damaged: cells whose record can't be read, or is of another version, and "cell: stage" where a
    stage of one that is done can't. labels: cell to what a person calls it.
    """

    state: str = "unknown"
    run: dict[str, Any] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    running: list[Running] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As `bench status --json` prints it."""
        return {**asdict(self), "schema_version": 1}


def status(folder: Path | str) -> Status:
    """The status of a results folder; raises `StoreError` where it is none."""
    store = Store.open(folder)
    found = Status()
    running, ended = _follow(store.path, found)
    found.state = _state(store.path, found.run)
    alive = found.state in ("at work", "silent")
    if alive:
        found.running = list(running.values())
    at_work = {one.cell_id for one in found.running}
    for cell_id in sorted({*store.cell_ids(), *found.labels}):
        if cell_id in at_work:
            continue
        record = _record(store, cell_id)
        # Where a run is to try a cell again, or was when it stopped, what it came to before is no
        # news.
        expected = found.state in _UNDONE and cell_id in found.labels and cell_id not in ended
        if record is None and (store.cell_folder(cell_id) / "cell.json").exists():
            found.damaged.append(cell_id)
        elif record is None or expected:
            found.waiting.append(cell_id)  # of an earlier run, too, which was broken off
        elif record.status == "ok":
            found.done.append(cell_id)
            attacks = {key for keys in record.suites.values() for key in keys}
            found.failed |= _failed_stages(store, cell_id, attacks)
            torn = damaged_stages(store, cell_id, attacks=attacks)
            found.damaged += [f"{cell_id}: {stage}" for stage in torn]
        else:
            found.failed[cell_id] = f"{record.status}: {record.reason}"
    return found


def _record(store: Store, cell_id: str) -> CellRecord | None:
    stored = store.read_cell(cell_id)
    try:
        return None if stored is None else CellRecord.read(stored)
    except SchemaError:
        return None


def _follow(folder: Path, found: Status) -> tuple[dict[int, Running], set[str]]:
    """Reads the journal; returns what is running by its slot, and the cells that ended."""
    running: dict[int, Running] = {}
    ended: set[str] = set()
    for line in _lines(folder):
        match line:
            case {"what": "began", "cells": dict(cells), **about}:
                found.labels = {str(cell): str(label) for cell, label in cells.items()}
                found.run = {name: value for name, value in about.items() if name != "cells"}
                running.clear()
                ended.clear()
            case {"what": "started", "slot": int(slot), "cell": str(cell), "at": str(at), **more}:
                where, attempt = str(more.get("where", "")), more.get("attempt")
                attempt = attempt if isinstance(attempt, int) else 1
                running[slot] = Running(cell, "starting", where, at, attempt)
            case {"what": "stage", "slot": int(slot), "stage": str(stage)} if slot in running:
                before = running[slot]
                running[slot] = Running(
                    before.cell_id, stage, before.where, before.since, before.attempt
                )
            case {"what": "paused", "slot": int(slot)}:
                running.pop(slot, None)
            case {"what": "finished", "slot": int(slot), "cell": str(cell)}:
                running.pop(slot, None)
                ended.add(cell)
            case {"what": "ended", "at": str(at), **more}:
                found.run |= {"ended": at, "error": more.get("error")}
    return running, ended


def _lines(folder: Path) -> Iterator[dict[str, Any]]:
    try:
        content = read_plain(path_in(folder), largest=_LARGEST)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"can't read {path_in(folder)}: {error.strerror or error}") from error
    for text in content.decode("utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):  # the last one, half-written
            continue
        if isinstance(line, dict):
            yield line


def _state(folder: Path, run: Mapping[str, Any]) -> str:
    if not run:
        return "unknown"
    if "ended" in run:
        return "stopped" if run.get("error") else "ended"
    number = lease.newest(folder)
    holder = lease.read(folder, number)
    if number != run.get("lock") or not lease.is_held(holder):
        return "stopped"
    if lease.is_here(holder) or holder is None:
        return "at work"
    return "at work" if _seconds_since(str(holder.get("at"))) < _SILENT else "silent"


def _seconds_since(at: str) -> float:
    """Infinite where it isn't told."""
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
    except (ValueError, TypeError):  # the latter without a time zone
        return math.inf


def _failed_stages(store: Store, cell_id: str, attacks: set[str]) -> dict[str, str]:
    """The stages that a cell is done without."""
    found = {}
    for stage, failed in failed_stages(store, cell_id, attacks=attacks):
        folder, _, key = stage.rpartition("/")
        name = f"attack {failed.get('name', key)}" if folder == "attacks" else stage
        found[f"{cell_id}: {name}"] = str(failed.get("reason", ""))
    return found

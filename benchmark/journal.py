"""What a run writes down about itself as it goes on, so that anyone who sees its folder can look.

    OUT/logs/run.jsonl   a line a happening: first the run and its cells, then where each of them is

It is written anew by each run, by the process that holds the folder alone, and read by
`benchmark.status`. Results don't depend on it: where the disk refuses a line, the run goes on
without, and what is told of it is what was written before.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmark.events import (
    CellFinished,
    CellNotice,
    CellPaused,
    CellProgress,
    CellStarted,
    Event,
    StageFailed,
)
from benchmark.job import Job
from benchmark.results import Store, write_text
from benchmark.results.layout import explained

NAME = "run"


class Journal:
    """The journal of a run of `jobs`; `about` says more of it."""

    def __init__(self, store: Store, jobs: Sequence[Job], about: dict[str, Any]) -> None:
        self._path = store.log(NAME, "jsonl")
        cells = {job.cell.cell_id: job.cell.label for job in jobs}
        lock = None if store.lease is None else store.lease.number
        first = {"lock": lock, "host": socket.gethostname(), "process": os.getpid()}
        line = _line("began", **first, **about, cells=cells)
        with explained("write", self._path):
            write_text(self._path, line, root=store.path, flush=False)
        self._stages: dict[int, str] = {}
        self._torn = False  # whether the last line may lack its end

    def __enter__(self) -> Self:
        with explained("write", self._path):
            self._stream = open(self._path, "ab", buffering=0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._stream:
            self._add("ended", error=None if kind is None else kind.__name__)

    def write(self, event: Event) -> None:
        """Adds a line, unless the event is of progress within a stage."""
        known: dict[str, Any] = {"cell": event.job.cell.cell_id, "slot": event.slot}
        match event:
            case CellStarted():
                self._stages.pop(event.slot, None)
                known |= {"where": event.where, "attempt": event.attempt}
                self._add("started", **known)
            case CellProgress():
                if self._stages.get(event.slot) != event.stage:
                    self._stages[event.slot] = event.stage
                    self._add("stage", **known, stage=event.stage)
            case CellPaused():
                self._add("paused", **known)
            case StageFailed():
                known |= {"stage": event.stage, "reason": event.reason}
                self._add("failed", **known)
            case CellFinished():
                known |= {"status": event.status, "reason": event.reason}
                self._add("finished", **known)
            case CellNotice():
                pass

    def _add(self, what: str, **more: Any) -> None:
        line = _line(what, **more).encode()
        line = b"\n" + line if self._torn else line
        self._torn = True
        with contextlib.suppress(OSError):
            self._torn = self._stream.write(line) != len(line)


def path_in(folder: Path) -> Path:
    """Where the journal of a results folder is."""
    return folder / "logs" / f"{NAME}.jsonl"


def _line(what: str, **more: Any) -> str:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return json.dumps({"what": what, "at": now, **more}) + "\n"

"""Pending cells to worker processes: progress and failures.

A worker holds one framework and serves several cells in turn. When it dies, the cell that it was
at is recorded as failed, and a new worker goes on with the next.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from benchmark.cells import cell_record
from benchmark.events import (
    DATA,
    STARTING,
    CellFinished,
    CellNotice,
    CellProgress,
    CellStarted,
    Event,
    StageFailed,
)
from benchmark.job import Job
from benchmark.process import interrupts_held, last_words, spawn
from benchmark.results import Store
from benchmark.resume import spent, suites_of

SERVE = "benchmark.worker:serve"


def run(
    jobs: Sequence[Job],
    store: Store,
    *,
    workers: int,
    device: str,
    on_event: Callable[[Event], None],
    threads: int | None = None,
    serve: str = SERVE,
) -> list[CellFinished]:
    """Works through `jobs`, in as many processes at a time as `workers` says.

    Every job ends with a `cell.json` and an event, whatever its worker does. However this returns,
    also by KeyboardInterrupt, no worker is left behind.

    Args:
        workers: processes at a time.
        threads: of each; None to share the CPUs evenly. Results depend on it in their last digits.
        device: "auto", "cpu" or "cuda".
        on_event: told everything that happens, in the caller's thread.
        serve: "module:function" that a worker process runs; see `benchmark.worker.serve`.
    """
    threads = threads or max(1, len(os.sched_getaffinity(0)) // workers)
    pool = _Pool(list(jobs), store, workers, (serve, device, threads), on_event)
    try:
        pool.work()
    finally:
        pool.stop()
    return pool.finished


@dataclass
class _Worker:
    slot: int
    framework: str
    process: SpawnProcess
    connection: Connection
    log: Path
    log_start: int
    job: Job
    served: int = 0  # cells that it has finished
    stage: str = STARTING
    failed: list[StageFailed] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


class _Pool:
    """The workers of one run, the cells that wait for them, and those that have ended."""

    def __init__(
        self,
        queue: list[Job],
        store: Store,
        workers: int,
        setting: tuple[str, str, int],
        on_event: Callable[[Event], None],
    ) -> None:
        self.queue = queue
        self.store = store
        self.serve, self.device, self.threads = setting
        self.on_event = on_event
        self.slots: list[_Worker | None] = [None] * workers
        self.leaving: list[SpawnProcess] = []
        self.finished: list[CellFinished] = []

    def work(self) -> None:
        """Until no cell is waiting and none is running."""
        while True:
            for slot, worker in enumerate(self.slots):
                if worker is None and self.queue:
                    self._hire(slot)
            live = [worker for worker in self.slots if worker is not None]
            if not live:
                return
            # A process that a worker forked could hold the pipe open after the worker's death, so
            # the worker itself is waited for too.
            wait([w.connection for w in live] + [w.process.sentinel for w in live])
            for worker in live:
                self._listen(worker)

    def stop(self) -> None:
        """Ends every worker that still runs: asks by SIGTERM, then kills."""
        working = [worker.process for worker in self.slots if worker is not None]
        try:
            for process in working:
                process.terminate()
            deadline = time.monotonic() + 5
            for process in [*working, *self.leaving]:
                process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for process in [*working, *self.leaving]:
                if process.is_alive():
                    process.kill()
                process.join()

    def _hire(self, slot: int) -> None:
        """Starts a worker with the framework whose waiting cells are worst served."""
        left = self._not_ended()
        waiting = Counter(job.cell.framework for job in self.queue if not job.after & left)
        if not waiting:  # what is left waits for a cell that another worker is at
            return
        busy = Counter(worker.framework for worker in self.slots if worker is not None)
        framework = max(waiting, key=lambda name: waiting[name] / (1 + busy[name]))
        job = self._take(framework)
        assert job is not None
        self.store.check_there()
        log = self.store.log(f"{framework}-{slot + 1}")
        start = log.stat().st_size if log.exists() else 0
        with interrupts_held():
            process, connection = spawn(
                self.serve,
                log,
                framework=framework,
                device=self.device,
                threads=self.threads,
                name=f"bench-{framework}-{slot + 1}",
            )
            self.slots[slot] = _Worker(slot, framework, process, connection, log, start, job)
        self.on_event(CellStarted(job, slot, fresh=True))

    def _take(self, framework: str) -> Job | None:
        """The next cell of a framework that can begin, out of the queue."""
        left = self._not_ended()
        for index, job in enumerate(self.queue):
            if job.cell.framework == framework and not job.after & left:
                return self.queue.pop(index)
        return None

    def _not_ended(self) -> set[str]:
        """The cells that another one may have to wait for."""
        working = {worker.job.cell.cell_id for worker in self.slots if worker is not None}
        working -= {event.job.cell.cell_id for event in self.finished}
        return working | {job.cell.cell_id for job in self.queue}

    def _listen(self, worker: _Worker) -> None:
        """Handles everything that a worker has said, and its death."""
        dead = not worker.process.is_alive()  # asked first: what it said before is still read
        try:
            while self.slots[worker.slot] is worker and worker.connection.poll():
                self._handle(worker, worker.connection.recv())
        except (EOFError, OSError):
            dead = True
        if dead and self.slots[worker.slot] is worker:
            self._bury(worker)

    def _handle(self, worker: _Worker, message: tuple[object, ...]) -> None:
        match message:
            case ("ready",):
                worker.connection.send(worker.job)
            case ("progress", _, str(stage), float() | int() as fraction):
                worker.stage = stage
                self.on_event(CellProgress(worker.job, worker.slot, stage, float(fraction)))
            case ("notice", _, str(text)):
                self.on_event(CellNotice(worker.job, worker.slot, text))
            case ("failed", _, str(stage), str(reason)):
                worker.failed.append(StageFailed(worker.job, worker.slot, stage, reason))
                self.on_event(worker.failed[-1])
            case ("finished", _, str(status), str(reason)):
                self._finish(worker, status, reason)
                self._next(worker)

    def _next(self, worker: _Worker) -> None:
        """Gives a worker its next cell, or lets it go."""
        job = self._take(worker.framework)
        if job is None:
            self.slots[worker.slot] = None
            self.leaving.append(worker.process)
            worker.connection.send(None)
            return
        worker.job, worker.stage, worker.served = job, STARTING, worker.served + 1
        worker.failed = []
        worker.began = time.monotonic()
        worker.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.on_event(CellStarted(job, worker.slot))
        worker.connection.send(job)

    def _finish(self, worker: _Worker, status: str, reason: str) -> None:
        seconds = time.monotonic() - worker.began
        event = CellFinished(worker.job, worker.slot, status, reason, seconds, tuple(worker.failed))
        self.finished.append(event)
        self.on_event(event)

    def _bury(self, worker: _Worker) -> None:
        """Frees the place of a dead worker, and records the cell that it was at as failed."""
        worker.process.join(5)
        if worker.process.is_alive():  # it closed its pipe and lingers
            worker.process.kill()
            worker.process.join()
        self.slots[worker.slot] = None
        worker.connection.close()
        if worker.served and worker.stage == STARTING:  # it fell after one cell, before the next
            self.queue.insert(0, worker.job)
            return
        reason = _cause_of_death(worker, self.store.path)
        cell = worker.job.cell
        self.store.write_cell(
            cell.cell_id,
            cell_record(
                cell,
                status="failed",
                reason=reason,
                suites=suites_of(worker.job, self.store),
                device=self.device,
                threads=self.threads,
                seconds=time.monotonic() - worker.began,
                gradient_evaluations=spent(cell, self.store),
                started=worker.started,
            ),
        )
        self._finish(worker, "failed", reason)


def _cause_of_death(worker: _Worker, out: Path) -> str:
    code = worker.process.exitcode or 0
    killed = code < 0
    cause = f"killed by {_signal_name(-code)}" if killed else f"worker ended with exit code {code}"
    hint = " (out of memory?)" if code == -signal.SIGKILL else ""
    # Who is killed from outside has no say in it.
    outside = code in (-signal.SIGKILL, -signal.SIGTERM)
    words = "" if outside else last_words(worker.log, worker.log_start)
    said = f": {words}" if words else ""
    return f"{cause} {_during(worker.stage)}{hint}{said}; see {worker.log.relative_to(out)}"


def _signal_name(number: int) -> str:
    names = {known.value: known.name for known in signal.Signals}
    return names.get(number, f"signal {number}")


def _during(stage: str) -> str:
    phrases = {
        STARTING: "while starting",
        DATA: "while reading the data",
        "training": "while training",
        "adaptation": "while adapting",
    }
    return phrases.get(stage, f"during {stage}")

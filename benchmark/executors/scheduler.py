"""What is done when, and by which worker: order, needs, retries. It starts no process itself.

A worker holds one framework and serves several tasks in turn. When it dies, the cell that it was at
is recorded as failed, and a new worker goes on with the next; where its machine was lost, the task
is given out again. Stages are made known here alone: a worker writes them aside and hands them
over, so that what was given up, and writes on, changes nothing.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from benchmark.cells import cell_record
from benchmark.events import (
    DATA,
    STARTING,
    CellFinished,
    CellNotice,
    CellPaused,
    CellProgress,
    CellStarted,
    Event,
    StageFailed,
)
from benchmark.executors.interface import STORED, Executor, Gone, Message, Task
from benchmark.executors.tasks import LONG, Waiting, again
from benchmark.job import Job
from benchmark.results import Store
from benchmark.resume import spent, suites_of
from benchmark.stages.stage import Stage

# A task whose machine was lost this often is not given out again.
MOST_ATTEMPTS = 3


def run(
    jobs: Sequence[Job],
    store: Store,
    executor: Executor,
    *,
    on_event: Callable[[Event], None],
    long: float = LONG,
) -> list[CellFinished]:
    """Works through `jobs`; every one ends with a `cell.json` and an event, whatever happens to it.

    However this returns, also by KeyboardInterrupt, no worker is left behind.

    Args:
        store: the folder, as its holder has it.
        executor: has the workers; it is stopped in the end.
        on_event: told everything that happens, in the caller's thread.
        long: seconds from which on an attack is a task of its own, where workers are distributed.
    """
    scheduler = _Scheduler(
        Waiting(jobs, store, parts=executor.distributed, long=long), store, executor, on_event
    )
    try:
        scheduler.work(len(jobs))
    finally:
        executor.stop()
    return scheduler.finished


@dataclass
class _Worker:
    """A worker in its slot, and what it is at."""

    slot: int
    framework: str
    where: str | None  # its machine; None until it has one
    task: Task | None
    served: int = 0  # tasks that it has finished
    stage: str = STARTING
    ready: bool = False
    began: float = field(default_factory=time.monotonic)


@dataclass
class _Scheduler:
    waiting: Waiting
    store: Store
    executor: Executor
    on_event: Callable[[Event], None]
    workers: dict[int, _Worker] = field(default_factory=dict)
    finished: list[CellFinished] = field(default_factory=list)
    # By cell: stages that failed, and when its first task began.
    failed: dict[str, list[StageFailed]] = field(default_factory=lambda: defaultdict(list))
    began: dict[str, tuple[float, str]] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)  # cells that have ended

    def work(self, count: int) -> None:
        """Until `count` cells have ended."""
        while len(self.finished) < count:
            self._fill()
            for slot, message in self.executor.listen():
                self._handle(self.workers[slot], message)

    def _fill(self) -> None:
        """Gives idle workers what has become ready, and hires while there is room."""
        for worker in list(self.workers.values()):
            if worker.ready and worker.task is None:
                self._next(worker)
        while len(self.workers) < self.executor.room() and (ready := self.waiting.counts()):
            # The framework whose waiting tasks are worst served.
            busy = Counter(worker.framework for worker in self.workers.values())
            self._hire(max(ready, key=lambda name: ready[name] / (1 + busy[name])))

    def _hire(self, framework: str) -> None:
        self.store.check_there()
        slot = next(n for n in range(len(self.workers) + 1) if n not in self.workers)
        task = self.waiting.take(framework)
        where = self.executor.hire(slot, framework)
        worker = self.workers[slot] = _Worker(slot, framework, where, task)
        if where is not None:
            self._begin(worker, fresh=True)

    def _handle(self, worker: _Worker, message: Message) -> None:
        if isinstance(message, Gone):
            self._bury(worker, message)
            return
        match message:
            case ("placed", str(where)):
                worker.where = where
                if worker.task is not None:
                    self._begin(worker, fresh=True)
            case ("ready",):
                worker.ready = True
                if worker.task is not None:  # else `_fill` has one for it, or lets it go
                    self.executor.send(worker.slot, worker.task)
            case _:
                assert worker.task is not None
                self._told(worker, worker.task, message)

    def _told(self, worker: _Worker, task: Task, message: tuple[object, ...]) -> None:
        match message:
            case ("progress", _, str(stage), float() | int() as fraction):
                worker.stage = stage
                self.on_event(CellProgress(task.job, worker.slot, stage, float(fraction)))
            case ("notice", _, str(text)):
                self.on_event(CellNotice(task.job, worker.slot, text))
            case ("failed", cell_id, str(stage), str(reason)):
                event = StageFailed(task.job, worker.slot, stage, reason)
                self.failed[str(cell_id)].append(event)
                self.on_event(event)
            case ("store", str(cell_id), str(stage), dict(files)):
                self.store.publish(cell_id, stage, files)
                self.executor.send(worker.slot, STORED)
            case ("finished", _, str(status), str(reason), *record):
                worker.task, worker.served = None, worker.served + 1
                ended = self._task_ended(worker, task, status, reason, record)
                self._next(worker, None if ended else task)

    def _task_ended(
        self, worker: _Worker, task: Task, status: str, reason: str, record: list[object]
    ) -> bool:
        """Takes in how a task ended; returns whether its cell ended with it."""
        job = task.job
        if self._is_over(job):  # another of its tasks has ended it meanwhile
            return False
        if task.ends or status != "ok":
            if record and isinstance(record[0], dict):
                self._write(task, record[0])
            self._finish(worker, job, status, reason)
            return True
        if any(stage.essential for stage in _stages(task)):
            self.waiting.made(job)
        else:
            self.waiting.part_ended(task)
        return False

    def _next(self, worker: _Worker, before: Task | None = None) -> None:
        """Gives a worker its next task, lets it wait for one, or lets it go.

        `before` is a part that it has done of a cell that goes on.
        """
        worker.task = self.waiting.take(worker.framework) or self._stolen(worker.framework)
        if before is not None:
            self.on_event(CellPaused(before.job, worker.slot, done=True))
        if worker.task is None:
            if not self._may_stay(worker):
                del self.workers[worker.slot]
                self.executor.send(worker.slot, None)
            return
        self._begin(worker)
        self.executor.send(worker.slot, worker.task)

    def _stolen(self, framework: str) -> Task | None:
        """The task of a worker that has no place yet, where one waits for that."""
        for other in self.workers.values():
            if other.where is None and other.framework == framework and other.task is not None:
                task, other.task = other.task, None
                return task
        return None

    def _may_stay(self, worker: _Worker) -> bool:
        """Whether a worker with nothing to do is kept, because what it can do is still to come."""
        if not self.executor.distributed:
            return False
        others = [one.task.job for one in self.workers.values() if one.task is not None]
        to_come = any(job.cell.framework == worker.framework for job in others)
        wanted = len(self.workers) >= self.executor.room() and self.waiting.counts()
        return not wanted and (to_come or self.waiting.blocked(worker.framework))

    def _begin(self, worker: _Worker, *, fresh: bool = False) -> None:
        task = worker.task
        assert task is not None
        worker.stage, worker.began = STARTING, time.monotonic()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.began.setdefault(task.job.cell.cell_id, (worker.began, now))
        stages = _stages(task)
        part = None if task.stages is None else tuple(stage.label for stage in stages)
        begins = part is None or any(stage.essential for stage in stages)
        where = worker.where or ""
        self.on_event(CellStarted(task.job, worker.slot, fresh, where, task.attempt, part, begins))

    def _finish(self, worker: _Worker, job: Job, status: str, reason: str) -> None:
        cell_id = job.cell.cell_id
        seconds = time.monotonic() - self.began[cell_id][0]
        failed = tuple(self.failed.pop(cell_id, ()))
        event = CellFinished(job, worker.slot, status, reason, seconds, failed)
        self.finished.append(event)
        self.over.add(cell_id)
        self.waiting.cell_ended(job)
        self.on_event(event)

    def _bury(self, worker: _Worker, gone: Gone) -> None:
        """Frees the place of a dead worker; what it was at comes again, or has failed."""
        del self.workers[worker.slot]
        task = worker.task
        if task is None:
            return
        lost = gone.lost and task.attempt < MOST_ATTEMPTS
        # It fell after one task and before the next.
        unserved = worker.served and worker.stage == STARTING
        if lost or unserved or self._is_over(task.job):
            if worker.where is not None:
                self.on_event(CellPaused(task.job, worker.slot, done=False))
            if not self._is_over(task.job):
                self._come_again(worker, task, gone)
            return
        if worker.where is None:
            self._begin(worker)
        reason = f"{gone.how} {_during(worker.stage)}{gone.words}"
        self._write(task, self._failure(task.job, reason))
        self._finish(worker, task.job, "failed", reason)

    def _come_again(self, worker: _Worker, task: Task, gone: Gone) -> None:
        """Gives a task out again; what of it failed is tried again."""
        cell_id, labels = task.job.cell.cell_id, {stage.label for stage in _stages(task)}
        self.failed[cell_id] = [one for one in self.failed[cell_id] if one.stage not in labels]
        if gone.lost:
            reason = f"{gone.how} {_during(worker.stage)}; it begins again elsewhere"
            self.on_event(CellNotice(task.job, worker.slot, reason))
        self.waiting.put_back(again(task) if gone.lost else task)

    def _failure(self, job: Job, reason: str) -> dict[str, object]:
        began, started = self.began[job.cell.cell_id]
        return cell_record(
            job.cell,
            status="failed",
            reason=reason,
            suites=suites_of(job, self.store),
            device=self.executor.device,
            threads=self.executor.threads,
            seconds=time.monotonic() - began,
            gradient_evaluations=spent(job.cell, self.store),
            started=started,
        )

    def _write(self, task: Task, record: dict[str, object]) -> None:
        """Writes how a cell ended; where it was several tasks, with the time of all."""
        cell_id = task.job.cell.cell_id
        if task.stages is not None:
            began, started = self.began[cell_id]
            record = {**record, "seconds": time.monotonic() - began, "started": started}
        self.store.write_cell(cell_id, record)

    def _is_over(self, job: Job) -> bool:
        return job.cell.cell_id in self.over


def _stages(task: Task) -> list[Stage]:
    """What a task is to do, in order."""
    return [s for s in task.job.stages if task.stages is None or s.path in task.stages]


def _during(stage: str) -> str:
    phrases = {
        STARTING: "while starting",
        DATA: "while reading the data",
        "training": "while training",
        "adaptation": "while adapting",
    }
    return phrases.get(stage, f"during {stage}")

"""Which tasks a run consists of, and which of them can begin now."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from benchmark.executors.interface import Task
from benchmark.job import Job
from benchmark.results import Store
from benchmark.stages.attack import Attack
from benchmark.stages.training import TRAINING

# Seconds from which on an attack is a task of its own: a worker that is new imports for a minute.
LONG = 60.0

_Place = tuple[int, int]  # of a cell in the run, and of a task in its cell


@dataclass
class Waiting:
    """The tasks of a run that nobody is at.

    A cell is one task; or, where `parts`, first what makes its model, and then the rest, of which
    each attack that is expected to take more than `long` seconds is a task of its own.
    """

    jobs: Sequence[Job]
    store: Store
    parts: bool = False
    long: float = LONG
    _ready: dict[str, list[tuple[_Place, Task]]] = field(default_factory=dict)
    _blocked: dict[_Place, tuple[Task, set[str]]] = field(default_factory=dict)
    _waited_for: dict[str, set[_Place]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ready, self._waited_for = defaultdict(list), defaultdict(set)
        self._in_parts: set[str] = set()
        self._index = {job.cell.cell_id: n for n, job in enumerate(self.jobs)}
        self._open = set(self._index)  # cells that have not ended
        for job in self.jobs:
            if self.parts:
                making = tuple(stage.path for stage in job.stages if stage.essential)
                self._add(Task(job, making, ends=False), job.training_after)
            else:
                self._add(Task(job), job.after)

    def counts(self) -> Counter[str]:
        """Framework to the number of tasks that can begin."""
        return Counter({name: len(tasks) for name, tasks in self._ready.items() if tasks})

    def blocked(self, framework: str) -> bool:
        """Whether tasks of a framework wait for others."""
        return any(task.job.cell.framework == framework for task, _ in self._blocked.values())

    def take(self, framework: str) -> Task | None:
        """The next task of a framework that can begin."""
        ready = self._ready[framework]
        return heapq.heappop(ready)[1] if ready else None

    def put_back(self, task: Task) -> None:
        """A task that was taken and is still to be done, before all others of its cell."""
        self._push(self._place(task), task)

    def made(self, job: Job) -> None:
        """Adds the rest of a cell whose model is there."""
        rest = [stage for stage in job.stages if not stage.essential]
        pace = self._pace(job)
        apart = [s for s in rest if isinstance(s, Attack) and s.effort * pace > self.long]
        for stage in apart:
            self._add(Task(job, (stage.path,), ends=False), job.after)
        # The last task waits for the others of its cell by their names.
        others = {self._name(job, stage.path) for stage in apart}
        self._open |= others
        if others:
            self._in_parts.add(job.cell.cell_id)
        paths = tuple(stage.path for stage in rest if stage not in apart)
        self._add(Task(job, paths), {*job.after, *others})

    def part_ended(self, task: Task) -> None:
        """Lets go what waited for an attack that was a task of its own."""
        assert task.stages is not None
        for path in task.stages:
            self._release(self._name(task.job, path))

    def cell_ended(self, job: Job) -> None:
        """Drops what is left of a cell, and lets go what waited for it."""
        cell_id, index = job.cell.cell_id, self._index[job.cell.cell_id]
        if cell_id in self._in_parts:
            for place in [one for one in self._blocked if one[0] == index]:
                del self._blocked[place]
            ready = self._ready[job.cell.framework]
            ready[:] = [entry for entry in ready if entry[0][0] != index]
            heapq.heapify(ready)
        self._release(cell_id)

    def _add(self, task: Task, after: Iterable[str]) -> None:
        place, left = self._place(task), set(after) & self._open
        if not left:
            self._push(place, task)
            return
        self._blocked[place] = task, left
        for name in left:
            self._waited_for[name].add(place)

    def _release(self, name: str) -> None:
        self._open.discard(name)
        for place in self._waited_for.pop(name, set()):
            if place not in self._blocked:  # dropped
                continue
            task, left = self._blocked[place]
            left.discard(name)
            if not left:
                del self._blocked[place]
                self._push(place, task)

    def _push(self, place: _Place, task: Task) -> None:
        heapq.heappush(self._ready[task.job.cell.framework], (place, task))

    def _place(self, task: Task) -> _Place:
        paths = [stage.path for stage in task.job.stages]
        part = paths.index(task.stages[0]) if task.stages else len(paths)
        return self._index[task.job.cell.cell_id], part

    def _name(self, job: Job, path: str) -> str:
        return f"{job.cell.cell_id}/{path}"

    def _pace(self, job: Job) -> float:
        """Seconds that a gradient evaluation took in the training; 0 where none is stored."""
        record = self.store.read_stage(job.cell.cell_id, TRAINING)
        if record is None:
            return 0.0
        return float(record["seconds"]) / max(1.0, float(record["cost"]["gradient_evaluations"]))


def again(task: Task) -> Task:
    """The same task, given out once more."""
    return replace(task, attempt=task.attempt + 1)

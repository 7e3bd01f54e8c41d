"""How far a run is and how long it still takes, from what its workers report. Prints nothing.

A stage's duration is guessed from the gradient evaluations that it takes, until the same stage has
been timed once in the same framework.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmark.events import CellFinished, CellNotice, CellProgress, CellStarted, Event
from benchmark.job import Job
from benchmark.stages.training import TRAINING


@dataclass
class _Running:
    job: Job
    slot: int
    stage: str
    fraction: float
    since: float  # when the stage began
    done: set[str] = field(default_factory=set)


class Progress:
    """Follows the events of one run.

    Args:
        jobs: all cells of the run.
        workers: how many cells run at a time.
        clock: gives seconds.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        workers: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._waiting = {job.cell.cell_id: job for job in jobs}
        self._units = {job.cell.cell_id: _stages(job) for job in jobs}
        self._running: dict[str, _Running] = {}
        self._ended: set[str] = set()
        self._timed: dict[tuple[str, ...], float] = {}
        self._spent: dict[str, tuple[float, float]] = {}  # framework: (seconds, units)
        self._workers = workers
        self._clock = clock
        self.began = clock()

    def update(self, event: Event) -> tuple[str, float] | None:
        """Takes in an event; returns the stage that is over now, if one is, and its seconds."""
        cell_id = event.job.cell.cell_id
        match event:
            case CellStarted():
                self._waiting.pop(cell_id, None)
                self._running[cell_id] = _Running(event.job, event.slot, "", 0.0, self._clock())
                return None
            case CellProgress():
                return self._move(self._running[cell_id], event.stage, event.fraction)
            case CellNotice():
                return None
            case CellFinished():
                running = self._running.pop(cell_id)
                self._ended.add(cell_id)
                return self._move(running, "", 0.0) if event.status == "ok" else None

    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self._clock() - self.began

    def fraction(self) -> float:
        """How much of the whole run is done, 0 to 1, by gradient evaluations."""
        total = sum(sum(units.values()) for units in self._units.values())
        done = sum(sum(self._units[cell_id].values()) for cell_id in self._ended)
        done += sum(self._done_units(running) for running in self._running.values())
        return min(1.0, done / total) if total else 1.0

    def cell_fraction(self, cell_id: str) -> float:
        """How much of a running cell is done, 0 to 1."""
        total = sum(self._units[cell_id].values())
        return min(1.0, self._done_units(self._running[cell_id]) / total) if total else 0.0

    def cell_left(self, cell_id: str) -> float | None:
        """Seconds that a running cell still takes, or None while nothing is known."""
        running = self._running[cell_id]
        left = 0.0
        for stage in self._units[cell_id]:
            if stage in running.done:
                continue
            seconds = self._expected(running.job, stage)
            if seconds is None:
                return None
            part = 1 - running.fraction if stage == running.stage else 1.0
            left += seconds * part
        return left

    def left(self) -> float | None:
        """Seconds that the whole run still takes, or None while nothing is known."""
        running = [self.cell_left(cell_id) for cell_id in self._running]
        waiting = [self._whole(job) for job in self._waiting.values()]
        if any(seconds is None for seconds in [*running, *waiting]):
            return None
        free = [0.0] * max(0, self._workers - len(running)) + [s or 0.0 for s in running]
        heapq.heapify(free)
        for seconds in waiting:  # each goes to the worker that is free first
            heapq.heapreplace(free, free[0] + (seconds or 0.0))
        return max(free)

    def _move(self, running: _Running, stage: str, fraction: float) -> tuple[str, float] | None:
        """Puts a cell where it is now; times a stage that it has left, and returns it."""
        over = None
        if stage != running.stage:
            seconds = self._clock() - running.since
            stages = list(self._units[running.job.cell.cell_id])
            if running.stage in stages:
                self._time(running, seconds)
            if running.stage:
                over = running.stage, seconds
            if stage in stages:  # those before it are done, or were found done
                running.done = set(stages[: stages.index(stage)])
            running.stage, running.since = stage, self._clock()
        running.fraction = min(1.0, max(0.0, fraction))
        return over

    def _time(self, running: _Running, seconds: float) -> None:
        cell = running.job.cell
        units = self._units[cell.cell_id][running.stage]
        self._timed[_kind(running.job, running.stage)] = seconds
        spent = self._spent.get(cell.framework, (0.0, 0.0))
        self._spent[cell.framework] = (spent[0] + seconds, spent[1] + units)

    def _expected(self, job: Job, stage: str) -> float | None:
        """Seconds that a stage takes as a whole."""
        units = self._units[job.cell.cell_id][stage]
        running = self._running.get(job.cell.cell_id)
        if running is not None and running.stage == stage and running.fraction >= 0.05:
            return (self._clock() - running.since) / running.fraction
        if (timed := self._timed.get(_kind(job, stage))) is not None:
            return timed
        rate = self._rate(job.cell.framework)
        return None if rate is None else units * rate

    def _rate(self, framework: str) -> float | None:
        """Seconds a gradient evaluation takes, by what this framework (or any) has done so far."""
        spent = dict(self._spent)
        for running in self._running.values():
            units = self._units[running.job.cell.cell_id].get(running.stage, 0.0) * running.fraction
            seconds = self._clock() - running.since
            name = running.job.cell.framework
            if units:
                before = spent.get(name, (0.0, 0.0))
                spent[name] = (before[0] + seconds, before[1] + units)
        chosen = [spent[framework]] if framework in spent else list(spent.values())
        seconds, units = sum(s for s, _ in chosen), sum(u for _, u in chosen)
        return seconds / units if units else None

    def _whole(self, job: Job) -> float | None:
        expected = [self._expected(job, stage) for stage in self._units[job.cell.cell_id]]
        known = [seconds for seconds in expected if seconds is not None]
        return sum(known) if len(known) == len(expected) else None

    def _done_units(self, running: _Running) -> float:
        units = self._units[running.job.cell.cell_id]
        over = sum(units[stage] for stage in running.done)
        return over + units.get(running.stage, 0.0) * running.fraction


def _stages(job: Job) -> dict[str, float]:
    """The stages of a cell and the gradient evaluations, roughly, that each takes."""
    return {s.label: s.gradient_evaluations for s in job.stages if s.gradient_evaluations}


def _kind(job: Job, stage: str) -> tuple[str, ...]:
    """What two stages must share to take as long: an attack takes no notice of the defense."""
    cell = job.cell
    return (cell.framework, stage) if stage != TRAINING else (cell.framework, stage, cell.defense)

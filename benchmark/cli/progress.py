"""How far a run is and how long it still takes, from what its workers report. Prints nothing.

A stage's duration is guessed from its effort and from the speed of the most similar work that was
measured so far: the same kind of stage on the same defense in the same framework, or else the next
nearest; see `benchmark.cli.efforts`. Until every stage that is left can be guessed, what those take
that can be is all that is known: at least so long it is.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmark.cli.efforts import Speeds, efforts
from benchmark.events import (
    STARTING,
    CellFinished,
    CellNotice,
    CellPaused,
    CellProgress,
    CellStarted,
    Event,
    StageFailed,
)
from benchmark.job import Job

# From here on a running stage tells its own speed.
_ENOUGH = 0.05
# Seconds; less than that is no news where more is left of which nobody knows how long it takes.
_WORTH_TELLING = 60.0


@dataclass(frozen=True)
class Left:
    """Seconds that what can be guessed still takes, and whether that is all there is."""

    seconds: float
    whole: bool

    @property
    def known(self) -> float | None:
        """The seconds where they are all there is."""
        return self.seconds if self.whole else None

    @property
    def least(self) -> float | None:
        """At least so many are left; None while that is little, or nothing."""
        return self.seconds if self.whole or self.seconds >= _WORTH_TELLING else None


def _together(guesses: Sequence[Left]) -> Left:
    """Of what is done one after the other."""
    return Left(sum(one.seconds for one in guesses), all(one.whole for one in guesses))


@dataclass
class _Running:
    job: Job
    stage: str
    fraction: float
    since: float  # when the stage began
    began: float  # when the cell did
    left: list[str]  # its stages that are not done, this one included
    shown: float = 0.0  # of the cell, as it was told last


class Progress:
    """Follows the events of one run.

    Args:
        jobs: all cells of the run.
        workers: how many tasks run at a time.
        clock: gives seconds.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        workers: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._units = {job.cell.cell_id: efforts(job) for job in jobs}
        # Cells that have not ended, and the stages of each that nobody is at.
        self._waiting = {
            job.cell.cell_id: (job, list(self._units[job.cell.cell_id])) for job in jobs
        }
        self._running: dict[int, _Running] = {}  # by slot
        self._measured = Speeds()
        self._shown = 0.0
        self._workers = workers
        self._clock = clock
        self.began = clock()

    def update(self, event: Event) -> tuple[str, float] | None:
        """Takes in an event; returns the stage that is over now, if one is, and its seconds."""
        match event:
            case CellStarted():
                self._start(event)
            case CellProgress():
                return self._move(self._running[event.slot], event.stage, event.fraction)
            case StageFailed():  # it is not done, and its time tells nothing of others
                self._running[event.slot].stage = ""
            case CellPaused():
                running = self._running.pop(event.slot)
                if event.done:
                    return self._move(running, "", 0.0)
                _, stages = self._waiting.get(event.job.cell.cell_id, (event.job, []))
                stages += running.left
            case CellFinished():
                running = self._running.pop(event.slot)
                self._waiting.pop(event.job.cell.cell_id, None)
                return self._move(running, "", 0.0) if event.status == "ok" else None
            case CellNotice():
                pass
        return None

    def _start(self, event: CellStarted) -> None:
        """A worker takes the stages of its part; others of its cell wait."""
        _, waiting = self._waiting[event.job.cell.cell_id]
        part = [name for name in waiting if event.part is None or name in event.part]
        waiting[:] = [name for name in waiting if name not in part]
        now, stage = self._clock(), STARTING if event.fresh else ""
        self._running[event.slot] = _Running(event.job, stage, 0.0, now, now, part)

    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self._clock() - self.began

    def fraction(self) -> float:
        """How much of the whole run is done, 0 to 1, in time; it never falls."""
        self._shown = max(self._shown, _share(self.elapsed(), self.left()))
        return self._shown

    def cell_fraction(self, slot: int) -> float:
        """How much is done of what a worker is at, 0 to 1, likewise."""
        running = self._running[slot]
        spent = self._clock() - running.began
        running.shown = max(running.shown, _share(spent, self.cell_left(slot)))
        return running.shown

    def cell_left(self, slot: int) -> float | None:
        """Seconds that a worker still takes for what it is at, or None while not all is known."""
        return self.cell_guess(slot).known

    def cell_guess(self, slot: int) -> Left:
        """The same, also while not all is known."""
        return self._cell_left(self._running[slot], self._speeds())

    def left(self) -> float | None:
        """Seconds that the whole run still takes, or None while not all is known."""
        return self.guess().known

    def guess(self) -> Left:
        """The same, also while not all is known."""
        speeds = self._speeds()
        running = [self._cell_left(one, speeds) for one in self._running.values()]
        known: dict[tuple[object, ...], Left] = {}  # of cells that are alike
        waiting = [self._expected_of(*cell, speeds, known) for cell in self._waiting.values()]
        free = [0.0] * max(0, self._workers - len(running)) + [one.seconds for one in running]
        heapq.heapify(free)
        for one in waiting:  # each goes to the worker that is free first
            heapq.heapreplace(free, free[0] + one.seconds)
        return Left(max(free), _together([*running, *waiting]).whole)

    def _move(self, running: _Running, stage: str, fraction: float) -> tuple[str, float] | None:
        """Puts a cell where it is now; times a stage that it has left, and returns it."""
        over = None
        if stage != running.stage:
            seconds = self._clock() - running.since
            units = self._units[running.job.cell.cell_id]
            if running.stage in units:
                work = units[running.stage]
                self._measured.add(work.alike, seconds, work.effort)
            if running.stage:
                over = running.stage, seconds
            if stage in running.left:  # those before it are done, or were found done
                del running.left[: running.left.index(stage)]
            running.stage, running.since = stage, self._clock()
        running.fraction = min(1.0, max(0.0, fraction))
        return over

    def _speeds(self) -> Speeds:
        """What was measured, with what runs and is far enough to tell."""
        speeds = self._measured.copy()
        for running in self._running.values():
            work = self._units[running.job.cell.cell_id].get(running.stage)
            if work is not None and running.fraction >= _ENOUGH:
                seconds = self._clock() - running.since
                speeds.add(work.alike, seconds, work.effort * running.fraction)
        return speeds

    def _cell_left(self, running: _Running, speeds: Speeds) -> Left:
        guesses = []
        for stage in running.left:
            here = stage == running.stage
            if here and running.fraction >= _ENOUGH:
                whole = Left((self._clock() - running.since) / running.fraction, True)
            else:
                whole = self._expected(running.job, stage, speeds)
            left = 1 - running.fraction if here else 1.0
            guesses.append(Left(whole.seconds * left, whole.whole))
        return _together(guesses)

    def _expected(self, job: Job, stage: str, speeds: Speeds) -> Left:
        """Seconds that a stage takes as a whole."""
        seconds = speeds.seconds(self._units[job.cell.cell_id][stage])
        return Left(seconds or 0.0, seconds is not None)

    def _expected_of(
        self,
        job: Job,
        stages: Sequence[str],
        speeds: Speeds,
        known: dict[tuple[object, ...], Left],
    ) -> Left:
        """Seconds that stages of a cell take, as of one that is like it where that is known."""
        units = self._units[job.cell.cell_id]
        key = (
            job.cell.defense,
            job.cell.framework,
            *((name, units[name].effort) for name in stages),
        )
        if key not in known:
            known[key] = _together([self._expected(job, stage, speeds) for stage in stages])
        return known[key]


def _share(spent: float, left: float | None) -> float:
    """The part of a time that is over; 0 while nobody knows how much is left."""
    if left is None:
        return 0.0
    return spent / (spent + left) if spent + left > 0 else float(left == 0)

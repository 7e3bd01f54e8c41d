"""How much work the stages of a cell are, and how fast such work went so far.

Effort is gradient evaluations, weighted by how long each takes. The weights are rough: what a stage
of one kind took tells little of another kind that is far more work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.cells import BASELINE
from benchmark.job import Job
from benchmark.stages.stage import Stage

Alike = tuple[str, ...]
# So many times the work that was measured is guessed from it where it was of another kind.
_REACH = 10.0


@dataclass(frozen=True)
class Work:
    """What a stage of a cell is to a guess of its time.

    Args:
        effort: that it takes, roughly.
        same: what of its own kind it is like, from the nearest on.
        others: what of other kinds, likewise.
    """

    effort: float
    same: tuple[Alike, ...]
    others: tuple[Alike, ...]

    @property
    def alike(self) -> tuple[Alike, ...]:
        """All that it is like, from the nearest on."""
        return (*self.same, *self.others)


class Speeds:
    """Seconds and effort of what was measured, under everything that it is like."""

    def __init__(self) -> None:
        self._sums: dict[Alike, tuple[float, float]] = {}

    def add(self, alike: Sequence[Alike], seconds: float, effort: float) -> None:
        """Takes in a stage, or the part of one that is done."""
        for key in alike:
            before = self._sums.get(key, (0.0, 0.0))
            self._sums[key] = (before[0] + seconds, before[1] + effort)

    def pace(self, alike: Sequence[Alike]) -> float | None:
        """Seconds for a unit of effort, by the nearest that was measured."""
        for key in alike:
            seconds, effort = self._sums.get(key, (0.0, 0.0))
            if effort:
                return seconds / effort
        return None

    def seconds(self, work: Work) -> float | None:
        """That a stage takes as a whole; None while nothing that was measured tells."""
        pace = self.pace(work.same)
        if pace is None:
            known = [key for key in work.others if self._reaches(key, work.effort)]
            pace = self.pace(known)
        return None if pace is None else pace * work.effort

    def _reaches(self, key: Alike, effort: float) -> bool:
        return self._sums.get(key, (0.0, 0.0))[1] * _REACH >= effort

    def copy(self) -> Speeds:
        """One that can be added to for the moment."""
        other = Speeds()
        other._sums = dict(self._sums)
        return other


def efforts(job: Job) -> dict[str, Work]:
    """The stages of a cell, by label, that take effort."""
    return {stage.label: _work(job, stage) for stage in job.stages if stage.effort}


def _work(job: Job, stage: Stage) -> Work:
    nearest, *wider = stage.kinds or (stage.label,)
    others = [key for kind in wider for key in _of_kind(kind, job, stage)]
    if stage.comparable:
        framework, strength = job.cell.framework, _strength(job)
        others += [(strength, framework), (strength,), ("framework", framework), ()]
    return Work(stage.effort, tuple(_of_kind(nearest, job, stage)), tuple(others))


def _of_kind(kind: str, job: Job, stage: Stage) -> list[Alike]:
    """What gives up sooner on an undefended model says nothing of defended ones."""
    cell, strength = job.cell, _strength(job)
    alike: list[Alike] = [
        ("kind", kind, cell.defense, cell.framework),
        ("kind", kind, cell.defense),
        ("kind", kind, strength, cell.framework),
        ("kind", kind, strength),
    ]
    return alike if stage.gives_up else [*alike, ("any", kind, cell.framework), ("any", kind)]


def _strength(job: Job) -> str:
    return "undefended" if job.cell.defense == BASELINE else "defended"

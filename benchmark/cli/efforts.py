"""How much work the stages of a cell are, and how fast such work went so far.

Effort is gradient evaluations, weighted by how long each takes.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.cells import BASELINE
from benchmark.job import Job

Alike = tuple[str, ...]


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

    def copy(self) -> Speeds:
        """One that can be added to for the moment."""
        other = Speeds()
        other._sums = dict(self._sums)
        return other


def efforts(job: Job) -> dict[str, float]:
    """The stages of a cell and the effort, roughly, that each takes."""
    return {stage.label: stage.effort for stage in job.stages if stage.effort}


def alike(job: Job, stage: str) -> list[Alike]:
    """What a stage is like, from the nearest on.

    An attack gives up sooner on an undefended model, so that the two are told apart for long.
    """
    cell, kind = job.cell, _kind(job, stage)
    strength = "undefended" if cell.defense == BASELINE else "defended"
    return [
        ("kind", kind, cell.defense, cell.framework),
        ("kind", kind, cell.defense),
        ("kind", kind, strength, cell.framework),
        ("kind", kind, strength),
        (strength, cell.framework),
        (strength,),
        ("framework", cell.framework),
        (),
    ]


def _kind(job: Job, label: str) -> str:
    """What an attack does, by whatever name; other stages are of a kind of their own."""
    attacks = {f"attack {spec.name}": spec.attack for spec in job.attacks}
    return f"attack {attacks[label]}" if label in attacks else label

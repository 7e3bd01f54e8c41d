"""The meta-test: how well the trained model adapts to attack families with few labels."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmark import datasets
from benchmark.metatest.course import Course
from benchmark.metatest.protocol import TUNING, Protocol
from benchmark.results import npz_writer
from benchmark.results.identity import PROTOCOL_VERSION
from benchmark.results.records import FamilyRecord, TuningRecord
from benchmark.stages.context import Context
from benchmark.stages.stage import Result, Versioned

# Effort of a gradient evaluation where a training's is 1, measured on digits in both frameworks.
_WEIGHT = 2.5


class Tuning(Versioned):
    """Stage "adaptations/tuning-<hash>": the model's rate and steps, on a family of its own.

    Args:
        protocol: how much is measured.
        key: of the stage.
        needs: what makes the model.
    """

    label = f"adapt {TUNING}"
    comparable = False

    def __init__(self, protocol: Protocol, key: str, needs: Sequence[str]) -> None:
        self.protocol, self.path, self.needs = protocol, f"adaptations/{key}", tuple(needs)
        self.effort = _WEIGHT * protocol.of_tuning()

    def run(self, context: Context) -> Result:
        """On validation data."""
        context.reporter.stage(self.label)
        started, course = time.perf_counter(), course_of(context, self.protocol)
        tuning = course.tuning(context.adaptable)
        seconds = time.perf_counter() - started
        record = course.tuning_record(tuning) | {"protocol_version": PROTOCOL_VERSION}
        return TuningRecord(**record, seconds=seconds), {}


class Family(Versioned):
    """Stage "adaptations/<family>-<hash>": every episode of one attack family.

    Its record, and an npz: `correct`,
    `clean` (episodes, shots, steps); `seen` (episodes, steps), at the largest support; `area`,
    `area_over_shots` (episodes,); `forgetting` (episodes, steps).

    Args:
        name: of the family.
        key: of its stage.
        tuning: the stage that says rate and steps.
        norm: of the run.
    """

    comparable = False

    def __init__(self, name: str, key: str, tuning: Tuning, norm: str) -> None:
        self.name, self.key, self.tuning = name, key, tuning
        self.path, self.label = f"adaptations/{key}", f"adapt {name}"
        self.kinds = (self.label, "adapt")
        self.needs = (*tuning.needs, tuning.path)
        self.effort = _WEIGHT * tuning.protocol.of_family(name, norm)

    def run(self, context: Context) -> Result:
        """A family that raises is a failed record."""
        course = course_of(context, self.tuning.protocol)
        tuned = course.tuned(context.record(self.tuning.path))
        progress = context.reporter.stage(self.label)
        record, arrays = course.family(self.name, context.adaptable, tuned, progress)
        files = {f"{self.key}.npz": npz_writer(arrays)} if arrays else {}
        return FamilyRecord(**record, protocol_version=PROTOCOL_VERSION), files


def course_of(context: Context, protocol: Protocol) -> Course:
    """What the cell's model is measured with."""
    cell, met = context.cell, context.fitted.defense.families_seen
    budgets = datasets.budgets(cell.dataset, cell.norm, cell.eps)
    return Course(protocol, context.dataset, cell.norm, budgets, cell.split_seed, met)

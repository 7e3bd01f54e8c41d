"""The sequence of attack families: what the trained model keeps while it learns one by one."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark import datasets
from benchmark.metatest.sequence.course import Course
from benchmark.metatest.sequence.settings import Arrivals
from benchmark.results import npz_writer
from benchmark.results.identity import PROTOCOL_VERSION
from benchmark.results.records import SequenceRecord
from benchmark.stages.context import Context
from benchmark.stages.stage import Result, Versioned

FOLDER = "sequences"


class Learner(Versioned):
    """Stage "sequences/<learner>-<hash>": every episode of one learner.

    Its record, and an npz of shares of the queries: `correct` (episodes, arrivals, families),
    `worst` and `clean` (episodes, arrivals).

    Args:
        protocol: how much is measured.
        learner: by name.
        key: of the stage.
        needs: what makes the model.
    """

    comparable = False

    def __init__(self, protocol: Arrivals, learner: str, key: str, needs: Sequence[str]) -> None:
        self.protocol, self.learner, self.key = protocol, learner, key
        self.path, self.label = f"{FOLDER}/{key}", f"sequence {learner}"
        self.kinds = (self.label, FOLDER)
        self.needs = tuple(needs)
        self.effort = protocol.gradient_evaluations(learner)

    def run(self, context: Context) -> Result:
        """Chosen on validation data, measured on test data."""
        progress = context.reporter.stage(self.label)
        course = course_of(context, self.protocol)
        record, arrays = course.run(self.learner, context.adaptable, progress)
        files = {f"{self.key}.npz": npz_writer(arrays)} if arrays else {}
        return SequenceRecord(**record, protocol_version=PROTOCOL_VERSION), files


def course_of(context: Context, protocol: Arrivals) -> Course:
    """What the cell's model is measured with."""
    cell, met = context.cell, context.fitted.defense.families_seen
    budgets = datasets.budgets(cell.dataset, cell.norm, cell.eps)
    return Course(protocol, context.dataset, cell.norm, budgets, cell.split_seed, met)

"""The few-shot meta-test: how well the trained model adapts to classes that it never saw."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.metatest.fewshot.course import Course
from benchmark.metatest.fewshot.settings import NAME, FewShot
from benchmark.metatest.readouts.table import moves_weights
from benchmark.results import npz_writer
from benchmark.results.identity import PROTOCOL_VERSION
from benchmark.results.records import FewShotRecord
from benchmark.stages.context import Context
from benchmark.stages.stage import Result, Versioned
from defenses import Threat
from defenses.adaptation.spec import Adaptation


class NewClasses(Versioned):
    """Stage "few-shot/<read-out>-<ways>way-<shots>shot-<hash>": every episode of one read-out.

    Its record, and an npz of shares by episode, (episodes,): `clean`, `robust`, `stored_queries`
    where they are asked for, and `autoattack` of the first episodes.

    Args:
        protocol: how much is measured.
        readout: by name.
        ways: classes of an episode.
        shots: labelled examples a class.
        key: of the stage.
        needs: the stages that make the model which is attacked.
        own: how the defense itself adapts.
    """

    def __init__(
        self,
        protocol: FewShot,
        readout: str,
        ways: int,
        shots: int,
        key: str,
        needs: Sequence[str],
        own: Adaptation,
    ) -> None:
        self.protocol, self.readout, self.ways, self.shots = protocol, readout, ways, shots
        self.key, self.path = key, f"{NAME}/{key}"
        self.label = f"{readout} {ways}-way {shots}-shot"
        moves = moves_weights(readout, own)
        pace = "one by one" if moves else "together"  # episodes
        self.comparable = not moves
        self.kinds = (f"{NAME} {readout}", f"{NAME} {pace}")
        self.needs = tuple(needs)
        self.effort = protocol.gradient_evaluations(readout, ways, shots, own)

    def run(self, context: Context) -> Result:
        """Chosen on validation classes, measured on test classes."""
        course = course_of(context, self.protocol)
        progress = context.reporter.stage(self.label)
        record, arrays = course.run(self.readout, self.ways, self.shots, progress)
        files = {f"{self.key}.npz": npz_writer(arrays)} if arrays else {}
        return FewShotRecord(**record, protocol_version=PROTOCOL_VERSION), files


def course_of(context: Context, protocol: FewShot) -> Course:
    """What the cell's model is measured with."""
    cell = context.cell
    threat = Threat(cell.norm, cell.eps)
    return Course(protocol, context.dataset, threat, cell.split_seed, context.readable)

"""What a stage is: stored whole, done once, failed with its reason, and in no other's way."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.attacks.suites import AttackSpec, SecurityCurve
from benchmark.cells import BASELINE
from benchmark.metatest.domain.settings import Domain
from benchmark.metatest.fewshot.settings import FewShot
from benchmark.metatest.protocol import PRESETS
from benchmark.metatest.sequence.settings import Arrivals
from benchmark.reporter import Reporter
from benchmark.results import CHECKS_VERSION, PROTOCOL_VERSION, Store, npz_writer
from benchmark.results.records import StageRecord
from benchmark.stages.attack import Attack
from benchmark.stages.corruptions import Corruptions
from benchmark.stages.curve import Curve
from benchmark.stages.domain import Adapting
from benchmark.stages.fewshot import NewClasses
from benchmark.stages.metatest import Family, Tuning
from benchmark.stages.sequence import Learner
from benchmark.stages.stage import Stage
from benchmark.stages.trust import TrustChecks, _left_of_twin
from benchmark.worker import do
from defenses.adaptation.spec import Adaptation

TUNING = Tuning(PRESETS["brief"], "tuning-1", ("training",))
# Whose numbers are of a version of the protocol
MEASURED = {
    "attack": Attack(AttackSpec("fgsm", "fast-gradient", {}), "fgsm-1", 5, needs=()),
    "curve": Curve(
        SecurityCurve("fgsm", (1.0,)),
        "fgsm-1",
        Attack(AttackSpec("fgsm", "fast-gradient", {}), "fgsm-1", 5, needs=()),
        examples=5,
    ),
    "corruptions": Corruptions(5, ()),
    "tuning": TUNING,
    "family": Family("linf", "linf-1", TUNING, "linf"),
    "read-out": NewClasses(FewShot(), "ridge", 5, 1, "ridge-1", (), Adaptation("linf")),
    "learner": Learner(Arrivals(), "finetune", "finetune-1", ("training",)),
    "method": Adapting(Domain(adapt_to="digits"), "finetune", "finetune-1", ()),
}
CELL = "digits-cnn-torch-none-s0-0123456789"


class Runs(StageRecord):
    """How often a stage was run."""

    runs: int


class Counted(Stage):
    """Writes how often it was run."""

    label = "counted"

    def __init__(self, path="training", needs=(), error=None, result=True):
        self.path, self.needs, self.error, self.result = path, needs, error, result
        self.runs = self.cleanings = 0

    def run(self, context):
        self.runs += 1
        if self.error is not None:
            raise self.error
        return (Runs(runs=self.runs), {}) if self.result else None

    def clean_up(self, context):
        self.cleanings += 1


class Essential(Counted):
    essential = True


@pytest.fixture
def context(tmp_path):
    return SimpleNamespace(
        store=Store.create(tmp_path),
        cell=SimpleNamespace(cell_id=CELL),
        reporter=Reporter(None, CELL),
        device="cpu",
        record=lambda path: Store.open(tmp_path).read_stage(CELL, path) or {},
    )


def test_a_stage_is_done_once(context):
    stage = Counted()

    do(stage, context)
    do(stage, context)

    assert (stage.runs, stage.cleanings) == (1, 1)
    assert stage.is_stored(context.store, CELL)


def test_what_raises_is_stored_as_failed_and_tried_again(context):
    stage = Counted("curves/pgd-1", error=ValueError("no budget"))

    do(stage, context)
    stored = context.record("curves/pgd-1")
    do(stage, context)

    assert (stored["status"], stored["reason"]) == ("failed", "ValueError: no budget")
    assert not stage.is_stored(context.store, CELL)
    assert stage.runs == 2


@pytest.mark.parametrize("status", ["failed", "ok"])
def test_a_failure_is_told_and_nothing_else_is(context, status):
    told = []
    context.reporter.failed = lambda *about: told.append(about)

    do(Counted("curves/pgd-1", error=ValueError("no") if status == "failed" else None), context)

    assert told == [("counted", "ValueError: no")] * (status == "failed")


def test_what_needs_a_failed_stage_fails_with_its_reason_and_is_not_run(context):
    do(Counted("adaptations/tuning-1", error=RuntimeError("singular")), context)
    family = Counted("adaptations/linf-1", needs=("adaptations/tuning-1",))

    do(family, context)

    assert family.runs == 0
    assert context.record(family.path)["reason"] == (
        "needs adaptations/tuning-1, which failed: RuntimeError: singular"
    )


def test_what_does_not_need_a_failed_stage_goes_on(context):
    do(Counted("transfers/torch", error=RuntimeError("lost")), context)
    other = Counted("adaptations/linf-1", needs=("training",))

    do(other, context)

    assert other.is_stored(context.store, CELL)


def test_what_an_essential_stage_raises_ends_the_cell_and_stores_nothing(context):
    with pytest.raises(ValueError, match="diverged"):
        do(Essential(error=ValueError("diverged")), context)

    assert context.store.read_stage(CELL, "training") is None


def test_what_can_not_be_done_yet_leaves_nothing(context):
    stage = Counted("transfers/torch", result=False)

    do(stage, context)

    assert stage.cleanings == 0
    assert context.store.read_stage(CELL, "transfers/torch") is None


@pytest.mark.parametrize(
    ("told", "stored"),
    [
        ({}, False),  # written before records told, by the first
        ({"protocol_version": PROTOCOL_VERSION}, True),
        ({"protocol_version": PROTOCOL_VERSION + 1}, False),
        ({"protocol_version": PROTOCOL_VERSION - 1}, False),
    ],
    ids=["untold", "this", "later", "before"],
)
@pytest.mark.parametrize("name", MEASURED)
def test_what_was_measured_by_another_protocol_is_done_again(context, name, told, stored):
    stage = MEASURED[name]
    context.store.write_stage("cell", stage.path, {"status": "ok", **told})

    assert stage.is_stored(context.store, "cell") == stored


@pytest.mark.parametrize(("version", "stored"), [(None, False), (CHECKS_VERSION, True), (1, False)])
def test_trust_checks_of_another_version_are_made_again(context, version, stored):
    stage = TrustChecks("quick", "trust/quick", (), examples=10, needs=())
    told = {} if version is None else {"checks_version": version}
    context.store.write_stage("cell", stage.path, {"status": "ok", "attacks": {}, **told})

    assert stage.is_stored(context.store, "cell") == stored


def first(count):
    return np.arange(10) < count


PARTS = {
    "all of it": ([(first(10), first(6))], 0.25),  # of 8 that are right
    "a part, which is broken": ([(first(4), first(4))], 0.0),
    "parts of two sizes": ([(first(6), first(3)), (first(4), first(4))], 1 / 3),
    "what is not right": ([(~first(8), first(0))], None),
    "nothing": ([], None),
}


@pytest.mark.parametrize(("done", "left"), PARTS.values(), ids=PARTS)
def test_what_is_left_of_a_twin_is_left_of_the_examples_that_were_attacked(context, done, left):
    """Attacks that are run on some of the examples leave the others as they are."""
    attacks = []
    for number, (attacked, success) in enumerate(done):
        attack = Attack(AttackSpec("pgd", "pgd", {}), f"pgd-{number}", 10, needs=())
        arrays = {"clean_correct": first(8), "attacked": attacked, "success": success}
        record = {"status": "ok", "norm": "linf", "eps": 0.1}
        files = {f"{attack.key}.npz": npz_writer(arrays)}
        context.store.write_stage(CELL, attack.path, record, files)
        attacks.append(attack)
    context.cell = SimpleNamespace(defense=BASELINE, cell_id=CELL, norm="linf", eps=0.1)
    found = _left_of_twin(context, attacks)
    assert found == (None if left is None else pytest.approx(left))

"""How far a run is, and how long it still takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from progressing import Clock, few_shot_job, follow, make_job, spec

from benchmark.attacks.suites import AttackSpec, SecurityCurve
from benchmark.cli.progress import Progress
from benchmark.events import (
    CellFinished,
    CellProgress,
    CellStarted,
)
from benchmark.job import Job
from benchmark.metatest.fewshot.settings import FewShot
from benchmark.stages import attack as attack_stage
from benchmark.stages import trust
from defenses.adaptation.spec import Adaptation


@pytest.fixture(autouse=True)
def _free_trust_checks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "counts" not in request.node.name:
        monkeypatch.setattr(trust, "_EACH", 0.0)
        monkeypatch.setattr(attack_stage, "_WEIGHT", 1.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def train_and_attack(progress: Progress, job: Job, clock: Clock) -> None:
    """3 s of training and 5 s of attack."""
    progress.update(CellStarted(job, 0))
    progress.update(CellProgress(job, 0, "training", 0.0))
    clock.now += 3
    progress.update(CellProgress(job, 0, "attack pgd", 0.0))
    clock.now += 5
    progress.update(CellFinished(job, 0, "ok", "", 8.0))


def test_nothing_is_known_at_first(clock: Clock) -> None:
    progress = follow([make_job()], clock)
    progress.update(CellStarted(make_job(), 0))

    assert (progress.fraction(), progress.left()) == (0.0, None)


def test_the_estimate_counts_trust_checks_curves_and_attacks_on_some_examples(clock: Clock) -> None:
    attack = AttackSpec("pgd", "pgd", {"max_iter": 10}, examples=50)
    curve = SecurityCurve("pgd", (0.5, 1.0), examples=20)
    job = replace(make_job(), attacks=(attack,), curve=curve)
    progress = follow([job], clock)
    progress.update(CellStarted(job, 0))
    progress.update(CellProgress(job, 0, "training", 0.0))
    clock.now = 3.0
    progress.update(CellProgress(job, 0, "training", 1.0))

    # Training 3000, the attack 50 x 10, the curve 20 x 10 at two budgets, at 1000 a second.
    checks = trust._EXAMPLES * trust._EACH
    assert checks > 0
    attacks = attack_stage._WEIGHT * (500 + 400)
    assert progress.left() == pytest.approx((attacks + checks) / 1000)


def test_time_left_follows_the_gradient_evaluations_of_each_stage(clock: Clock) -> None:
    job = make_job()
    progress = follow([job], clock)
    progress.update(CellStarted(job, 0))
    progress.update(CellProgress(job, 0, "training", 0.0))
    clock.now = 6.0
    progress.update(CellProgress(job, 0, "training", 0.5))

    assert progress.cell_fraction(0) == pytest.approx(1500 / 4000)
    assert progress.fraction() == pytest.approx(1500 / 4000)
    assert progress.left() == pytest.approx(6.0 + 4.0)


def run_stage(progress: Progress, job: Job, clock: Clock, stage: str, seconds: float) -> None:
    progress.update(CellProgress(job, 0, stage, 0.0))
    clock.now += seconds
    progress.update(CellProgress(job, 0, stage, 1.0))


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ({"defense": "none"}, 3.0 + 5.0),
        ({"defense": "none", "seed": 1, "framework": "tensorflow"}, 3.0 + 5.0),
    ],
    ids=["same", "other framework"],
)
def test_each_kind_of_stage_has_a_speed_of_its_own(
    clock: Clock, measured: dict[str, Any], expected: float
) -> None:
    done, waiting = make_job(**measured), make_job(seed=7)
    progress = follow([done, waiting], clock)
    progress.update(CellStarted(done, 0))
    run_stage(progress, done, clock, "training", 3.0)
    run_stage(progress, done, clock, "attack pgd", 5.0)
    progress.update(CellFinished(done, 0, "ok", "", 8.0))

    assert progress.left() == pytest.approx(expected)


def test_undefended_models_say_nothing_of_attacks_on_defended_ones(clock: Clock) -> None:
    twin, defended = make_job(), make_job(defense="pgd-at")
    progress = follow([twin, defended], clock)
    progress.update(CellStarted(twin, 0))
    run_stage(progress, twin, clock, "training", 3.0)
    run_stage(progress, twin, clock, "attack pgd", 0.01)  # it gives up at once
    progress.update(CellFinished(twin, 0, "ok", "", 3.0))
    progress.update(CellStarted(defended, 0))
    run_stage(progress, defended, clock, "training", 30.0)

    assert progress.left() == pytest.approx(10.0)  # 1000 of effort at the defended 100 a second


def test_attack_is_known_by_what_it_does_and_not_by_its_name(clock: Clock) -> None:
    attacks = (spec("pgd", max_iter=10), spec("pgd-again", max_iter=20), spec("cw", "cw-l2"))
    job = replace(make_job(), attacks=attacks)
    progress = follow([job], clock)
    progress.update(CellStarted(job, 0))
    run_stage(progress, job, clock, "training", 3.0)
    run_stage(progress, job, clock, "attack pgd", 10.0)
    progress.update(CellProgress(job, 0, "attack pgd-again", 0.0))

    attack = 10.0 / 1000  # seconds for a unit of another attack, the nearest of the third
    assert progress.left() == pytest.approx(20.0 + 1000 * attack)


def test_far_more_work_of_another_kind_is_not_guessed(clock: Clock) -> None:
    attacks = (spec("fgsm", "fast-gradient"), spec("square", "square", max_iter=5000))
    job = replace(make_job(), attacks=attacks, training=0.0)
    progress = follow([job], clock)
    progress.update(CellStarted(job, 0))
    run_stage(progress, job, clock, "attack fgsm", 1.0)
    progress.update(CellProgress(job, 0, "attack square", 0.0))
    assert progress.left() is None

    clock.now += 2
    progress.update(CellProgress(job, 0, "attack square", 0.4))
    assert progress.left() == pytest.approx(3.0)


def test_new_classes_take_as_long_as_the_same_read_out_took_of_whatever_defense(
    clock: Clock,
) -> None:
    done, waiting = few_shot_job(), few_shot_job(defense="pgd-at")
    progress = follow([done, waiting], clock)
    progress.update(CellStarted(done, 0))
    run_stage(progress, done, clock, "training", 3.0)
    progress.update(CellProgress(done, 0, "centroid 2-way 1-shot", 0.0))
    assert progress.left() is None

    for readout, seconds in (("centroid", 1.0), ("finetune", 30.0)):
        for shots in (1, 5):
            run_stage(progress, done, clock, f"{readout} 2-way {shots}-shot", seconds)
    progress.update(CellFinished(done, 0, "ok", "", 65.0))
    progress.update(CellStarted(waiting, 0))
    run_stage(progress, waiting, clock, "training", 6.0)
    assert progress.left() == pytest.approx(62.0)


def test_what_can_be_guessed_is_the_least_that_is_left(clock: Clock) -> None:
    """Of `finetune` nothing is known until it runs, which is late."""
    jobs = [few_shot_job(), few_shot_job(defense="pgd-at")]
    progress = follow(jobs, clock)
    assert progress.guess().least is None
    progress.update(CellStarted(jobs[0], 0))
    run_stage(progress, jobs[0], clock, "training", 3.0)
    progress.update(CellProgress(jobs[0], 0, "centroid 2-way 1-shot", 0.0))
    clock.now += 50
    progress.update(CellProgress(jobs[0], 0, "centroid 2-way 1-shot", 0.5))

    assert progress.left() is None
    # With five labels a class as long as with one, but for fitting
    trainings, readouts = 3.0, (50.0 + 100.0) + (100.0 + 100.0)
    assert progress.guess().least == pytest.approx(trainings + readouts, rel=0.01)
    assert progress.cell_guess(0).least == pytest.approx(150.0, rel=0.01)
    assert progress.fraction() == 0

    clock.now += 50
    progress.update(CellProgress(jobs[0], 0, "finetune 2-way 1-shot", 0.0))
    clock.now += 30
    progress.update(CellProgress(jobs[0], 0, "finetune 2-way 1-shot", 0.1))
    assert progress.left() == progress.guess().least
    assert progress.guess().whole


def test_read_outs_that_move_no_weights_are_guessed_from_the_training(clock: Clock) -> None:
    protocol = FewShot(ways=(2,), shots=(1, 5), readouts=("ridge",), autoattack_episodes=0)
    job = replace(make_job(), attacks=(), few_shot=protocol)
    job = replace(job, training=job.adapting / 4)  # of two read-outs
    progress = follow([job], clock)
    progress.update(CellStarted(job, 0))
    run_stage(progress, job, clock, "training", 30.0)
    progress.update(CellProgress(job, 0, "ridge 2-way 1-shot", 0.0))

    assert progress.left() == pytest.approx(2 * 60.0)


@pytest.mark.parametrize("closed", [False, True])
def test_the_own_way_moves_no_weights_where_it_fits_a_head(closed: bool) -> None:
    protocol = FewShot(ways=(2,), shots=(1,), readouts=("own", "ridge"))
    own = Adaptation("linf", closed_form=closed)
    stages = replace(make_job(), attacks=(), few_shot=protocol, own=own).stages
    theirs, ridge = (one for one in stages if one.path.startswith("few-shot/"))
    assert theirs.comparable is closed
    assert (theirs.kinds[1:] == ridge.kinds[1:]) is closed


def test_a_few_seconds_are_not_told_where_more_is_left(clock: Clock) -> None:
    job = few_shot_job()
    progress = follow([job], clock)
    progress.update(CellStarted(job, 0))
    run_stage(progress, job, clock, "training", 3.0)
    progress.update(CellProgress(job, 0, "centroid 2-way 1-shot", 0.0))
    clock.now += 1
    progress.update(CellProgress(job, 0, "centroid 2-way 1-shot", 0.5))

    assert progress.guess().least is None


def test_whole_run_of_one_worker_never_contradicts_its_cell(clock: Clock) -> None:
    job = make_job()
    progress = follow([job], clock)
    progress.update(CellStarted(job, 0))
    for step in range(101):
        clock.now += 0.1
        progress.update(CellProgress(job, 0, "training", step / 100))
        whole, left = progress.fraction(), progress.left()
        assert whole == pytest.approx(progress.cell_fraction(0))
        if left is not None:
            assert left == pytest.approx(progress.cell_left(0))
            assert whole <= 1 - left / (left + clock.now) + 0.1


def test_percentage_never_falls(clock: Clock) -> None:
    job = make_job()
    progress = follow([job], clock)
    progress.update(CellStarted(job, 0))
    run_stage(progress, job, clock, "training", 1.0)
    before = progress.fraction()
    progress.update(CellProgress(job, 0, "attack pgd", 0.0))
    clock.now += 100  # the attack is far slower than anyone could guess
    progress.update(CellProgress(job, 0, "attack pgd", 0.1))

    assert before == pytest.approx(1 / (1 + 1 / 3))
    assert progress.fraction() == before


def test_measured_stages_replace_the_estimate(clock: Clock) -> None:
    jobs = [make_job(), make_job(seed=1)]
    progress = follow(jobs, clock)
    train_and_attack(progress, jobs[0], clock)

    assert progress.fraction() == pytest.approx(0.5)
    assert progress.left() == pytest.approx(8.0)


def test_waiting_cells_are_shared_by_the_workers(clock: Clock) -> None:
    jobs = [make_job(seed=seed) for seed in range(5)]
    progress = follow(jobs, clock, workers=2)
    train_and_attack(progress, jobs[0], clock)

    assert progress.left() == pytest.approx(16.0)


def test_stages_found_done_count_as_done(clock: Clock) -> None:
    job = make_job()
    progress = follow([job], clock)
    progress.update(CellStarted(job, 0))
    progress.update(CellProgress(job, 0, "data", 1.0))
    progress.update(CellProgress(job, 0, "attack pgd", 0.0))
    clock.now = 4.0
    progress.update(CellProgress(job, 0, "attack pgd", 0.5))

    assert progress.left() == pytest.approx(4.0)


def test_stage_that_ends_is_told_once_with_its_seconds(clock: Clock) -> None:
    job = make_job()
    progress = follow([job], clock)
    progress.update(CellStarted(job, 0))
    clock.now = 2.0
    assert progress.update(CellProgress(job, 0, "training", 0.0)) is None
    clock.now = 5.0
    assert progress.update(CellProgress(job, 0, "training", 1.0)) is None
    assert progress.update(CellProgress(job, 0, "attack pgd", 0.0)) == ("training", 3.0)


def test_failed_cell_counts_as_ended(clock: Clock) -> None:
    job = make_job()
    progress = follow([job], clock)
    progress.update(CellStarted(job, 0))
    progress.update(CellFinished(job, 0, "failed", "killed", 1.0))

    assert (progress.fraction(), progress.left()) == (1.0, 0.0)

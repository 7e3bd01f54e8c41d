"""Families in a row in the reports: learners, what they are sorted by, what can't be read."""

from __future__ import annotations

import numpy as np
import pytest
from site_pages import assert_replaced, metatest

from benchmark.metatest.sequence.course import Course
from benchmark.metatest.sequence.settings import Arrivals
from benchmark.results import npz_writer
from benchmark.results.identity import PROTOCOL_VERSION
from benchmark.results.records import SequenceRecord

PROTOCOL = Arrivals(families=("linf", "l2"), episodes=10, queries=20)


def measure(synthetic, cell_id, learner="finetune", *, worst=0.4, arrays=None, **changes):
    """Writes a learner whose episodes are spread around a share."""
    spread = np.random.default_rng(len(learner)).uniform(-0.1, 0.1, (10, 2))
    shares = {
        "correct": np.tile([[0.7, 0.6], [0.5, 0.8]], (10, 1, 1)),
        "worst": worst + spread,
        "clean": np.full((10, 2), 0.9),
    }
    course = Course(PROTOCOL, None, "linf", {}, 0)
    record = {
        **PROTOCOL.settings(),
        "learner": learner,
        "protocol_version": PROTOCOL_VERSION,
        "roles": ["seen", "seen"],
        "labels_used": 400,
        "status": "ok",
        "setting": {"rate": 0.1},
        "cost": {"gradient_evaluations": 7.0},
        **course.summary(shares),
        **changes,
    }
    key = f"{learner}-1a2b3c4d"
    files = {f"{key}.npz": npz_writer({**shares, **(arrays or {})})}
    synthetic.store.write_stage(cell_id, f"sequences/{key}", record, files)


def test_learners_are_sorted_by_what_stays_right_under_all_families(synthetic):
    cell_id = synthetic.cell("pgd-at")
    measure(synthetic, cell_id, "finetune", worst=np.array([0.8, 0.2]))  # after each arrival
    measure(synthetic, cell_id, "rehearsal", worst=0.5)
    text, (group,) = metatest(synthetic, "sequences")
    (part,) = group["parts"]
    assert [row["learner"] for row in part["rows"]] == ["rehearsal", "finetune"]
    row = part["rows"][0]
    assert (row["gradient_evaluations"], row["labels_used"]) == (7.0, 400)
    assert row["mean"][-1]["mean"] == pytest.approx(0.65)
    assert row["forgetting"]["mean"] == pytest.approx(-0.2)
    assert "linf, then l2; 200 labels each" in text
    assert "accuracy in per cent over arrivals" in text


def test_other_orders_of_arrival_are_apart(synthetic):
    measure(synthetic, synthetic.cell("pgd-at"))
    measure(synthetic, synthetic.cell("trades"), families=["l2", "linf"])
    _, (group,) = metatest(synthetic, "sequences")
    assert [len(part["rows"]) for part in group["parts"]] == [1, 1]


def test_numbers_of_a_version_that_was_replaced_say_so(synthetic):
    before = SequenceRecord.VERSION - 1
    measure(synthetic, synthetic.cell("trades"))
    measure(synthetic, synthetic.cell("pgd-at"), version=before)
    assert_replaced(*metatest(synthetic, "sequences"), before)


def test_seeds_are_summed_up_over_the_episodes_that_they_share(synthetic):
    for seed in (0, 1):
        worst = np.array([0.8, 0.4 + seed / 10])
        measure(synthetic, synthetic.cell("pgd-at", seed=seed), worst=worst)
    _, (group,) = metatest(synthetic, "sequences")
    (over,) = group["parts"][0]["over_seeds"]
    assert (over["seeds"], over["learner"]) == (2, "finetune")
    assert over["mean"] == pytest.approx(0.45, abs=0.06)


def test_a_learner_that_failed_is_shown_with_its_reason(synthetic):
    measure(synthetic, synthetic.cell("pgd-at"), status="failed", reason="no memory left")
    text, _ = metatest(synthetic, "sequences")
    assert "no memory left" in text


WRONG = {
    "whole numbers": {"worst": np.ones((10, 2), int)},
    "too few episodes": {"worst": np.full((9, 2), 0.5)},
    "no shares": {"correct": np.full((10, 2, 2), 1.5)},
}


@pytest.mark.parametrize("arrays", WRONG.values(), ids=WRONG)
def test_episodes_that_make_no_sense_are_left_out(synthetic, arrays):
    measure(synthetic, synthetic.cell("pgd-at"), arrays=arrays)
    _, sequences = metatest(synthetic, "sequences")
    assert sequences == []


def test_a_record_whose_curves_are_too_short_is_left_out(synthetic):
    measure(synthetic, synthetic.cell("pgd-at"), worst=0.4, accuracy=[[0.5, 0.5]])
    _, sequences = metatest(synthetic, "sequences")
    assert sequences == []


@pytest.mark.parametrize(("share", "said"), [(0.025, True), (0.0, False), (None, False)])
def test_what_the_attack_gave_up_is_told_beside_the_numbers(synthetic, share, said):
    measure(synthetic, synthetic.cell("pgd-at"), given_up=share)
    text, (group,) = metatest(synthetic, "sequences")
    assert group["parts"][0]["rows"][0]["given_up"] == share
    assert ("attack gave up on 2.5 %" in text) is said


def test_one_round_and_one_episode_are_no_plural(synthetic):
    measure(synthetic, synthetic.cell("pgd-at"), rounds=1, tuning_episodes=1)
    text, _ = metatest(synthetic, "sequences")
    assert ", 1 round of " in text
    assert "chosen on 1 validation episode," in text


def test_the_page_says_what_a_sign_of_forgetting_means(synthetic):
    measure(synthetic, synthetic.cell("pgd-at"))
    text, _ = metatest(synthetic, "sequences")
    assert "learned, in points, negative where it was lost" in text
    assert "−20.0" in text


@pytest.mark.parametrize(("count", "said"), [(6, False), (7, True)])
def test_the_page_says_where_its_chart_lacks_rows(synthetic, count, said):
    for seed in range(count):
        measure(synthetic, synthetic.cell("pgd-at", seed=seed))
    text, _ = metatest(synthetic, "sequences")
    assert ("The first rows only; 1 more" in text) is said

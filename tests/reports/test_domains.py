"""Another data set in the reports: methods over labels, and what can't be read."""

from __future__ import annotations

import numpy as np
import pytest
from site_pages import assert_replaced, metatest

from benchmark.metatest.domain.course import Course
from benchmark.metatest.domain.settings import Domain
from benchmark.results import npz_writer
from benchmark.results.identity import PROTOCOL_VERSION
from benchmark.results.records import DomainRecord

PROTOCOL = Domain(
    adapt_to="digits",
    fingerprint="1a2b",
    shots=(1, 5),
    episodes=10,
    queries=20,
    autoattack_episodes=4,
)


def measure(
    synthetic, cell_id, method="finetune-adv", *, robust=0.4, arrays=None, key="1a2b", **changes
):
    """Writes a method whose episodes are spread around a share."""
    spread = np.random.default_rng(len(method)).uniform(-0.1, 0.1, (10, 2))
    shares = {"clean": np.full((10, 2), 0.9), "robust": robust + spread}
    shares["autoattack"] = shares["robust"][:4] - 0.01
    record = {
        **PROTOCOL.settings(),
        "adapt_to": "digits",
        "method": method,
        "protocol_version": PROTOCOL_VERSION,
        "classes": 10,
        "labels_used": [10, 50],
        "status": "ok",
        "setting": [{"rate": 0.1, "rounds": 4}] * 2,
        "cost": [{"gradient_evaluations": 7.0}, {"gradient_evaluations": 35.0}],
        **Course(PROTOCOL, None, (), None, 0).summary(shares),
        **changes,
    }
    key = f"{method}-{key}3c4d"
    files = {f"{key}.npz": npz_writer({**shares, **(arrays or {})})}
    synthetic.store.write_stage(cell_id, f"domains/{key}", record, files)


def test_methods_are_sorted_by_what_is_robust_with_the_most_labels(synthetic):
    cell_id = synthetic.cell("pgd-at")
    measure(synthetic, cell_id, "scratch-adv", robust=0.2)
    measure(synthetic, cell_id, "finetune-adv", robust=0.5)
    text, (group,) = metatest(synthetic, "domains")
    (part,) = group["parts"]
    assert [row["method"] for row in part["rows"]] == ["finetune-adv", "scratch-adv"]
    assert part["rows"][0]["gradient_evaluations"] == [7.0, 35.0]
    assert part["rows"][0]["labels_used"] == [10, 50]
    assert "To digits" in text
    assert "accuracy in per cent over labels a class" in text


def test_a_constant_answer_is_said_to_guess_and_stands_last(synthetic):
    """It is as robust as it is right, and useless."""
    cell_id = synthetic.cell("pgd-at")
    clean = [{"mean": 0.9, "low": 0.8, "high": 0.95}, {"mean": 0.22, "low": 0.18, "high": 0.26}]
    measure(synthetic, cell_id, "scratch-adv", robust=0.22, clean=clean, classes=5)
    measure(synthetic, cell_id, "finetune", robust=0.2, classes=5)
    text, (group,) = metatest(synthetic, "domains")
    rows = [(row["method"], row["guesses"]) for row in group["parts"][0]["rows"]]
    assert rows == [("finetune", [False, False]), ("scratch-adv", [False, True])]
    assert text.count("<b>not told from guessing</b>") == 1


def test_seeds_are_summed_up_over_the_episodes_that_they_share(synthetic):
    for seed in (0, 1):
        measure(synthetic, synthetic.cell("pgd-at", seed=seed), robust=0.4 + seed / 10)
    _, (group,) = metatest(synthetic, "domains")
    (over,) = group["parts"][0]["over_seeds"]
    assert (over["seeds"], over["method"]) == (2, "finetune-adv")
    assert over["mean"] == pytest.approx(0.45, abs=0.06)


def test_resized_images_are_apart_from_those_that_are_not(synthetic):
    measure(synthetic, synthetic.cell("pgd-at"))
    measure(synthetic, synthetic.cell("trades"), resize=True)
    _, (group,) = metatest(synthetic, "domains")
    assert [len(part["rows"]) for part in group["parts"]] == [1, 1]


def test_numbers_of_a_version_that_was_replaced_say_so(synthetic):
    before = DomainRecord.VERSION - 1
    measure(synthetic, synthetic.cell("trades"))
    measure(synthetic, synthetic.cell("pgd-at"), version=before)
    assert_replaced(*metatest(synthetic, "domains"), before)


def test_a_method_that_failed_is_shown_with_its_reason(synthetic):
    measure(synthetic, synthetic.cell("pgd-at"), status="failed", reason="no memory left")
    text, _ = metatest(synthetic, "domains")
    assert "no memory left" in text


def test_one_that_failed_when_it_was_run_again_does_not_take_the_place_of_a_result(synthetic):
    cell_id = synthetic.cell("pgd-at")
    measure(synthetic, cell_id)
    again = {"status": "failed", "reason": "killed", "autoattack_episodes": 6}
    measure(synthetic, cell_id, key="2b3c", **again)
    _, (group,) = metatest(synthetic, "domains")
    assert [row["status"] for row in group["parts"][0]["rows"]] == ["ok"]


def test_autoattack_sees_no_more_episodes_than_there_are(synthetic):
    every = {"autoattack": np.full((10, 2), 0.2)}
    measure(synthetic, synthetic.cell("pgd-at"), arrays=every, autoattack_episodes=20)
    assert metatest(synthetic, "domains")[1]


@pytest.mark.parametrize(("left", "said"), [(0.24, True), (0.36, False), (0.4, False)])
def test_a_method_says_where_pgd_was_too_weak_to_judge_by(synthetic, left, said):
    """Of 80 queries with five labels a class, AutoAttack breaks 13 that PGD has left, 3 or none."""
    arrays = {"robust": np.full((10, 2), 0.4), "autoattack": np.full((4, 2), 0.4)}
    arrays["autoattack"][:, 1] = left
    arrays["robust"][4:] = 0.7  # which AutoAttack has not seen
    measure(synthetic, synthetic.cell("pgd-at"), arrays=arrays)
    text, (group,) = metatest(synthetic, "domains")
    assert group["parts"][0]["rows"][0]["weakly_attacked"] == [False, said]
    assert ("<b>PGD too weak</b>" in text) is said
    assert " of 40.0" in text
    assert "leaves of what PGD left of the first of them" in text


def test_methods_with_and_without_autoattack_stand_in_one_table(synthetic):
    measure(synthetic, synthetic.cell("pgd-at"))
    none = {"autoattack_episodes": 0, "autoattack": []}
    measure(synthetic, synthetic.cell("trades"), **none)
    text, (group,) = metatest(synthetic, "domains")
    (part,) = group["parts"]
    assert sorted(len(row["autoattack"]) for row in part["rows"]) == [0, 2]
    assert "leaves of what PGD left of the first of them" in text


WRONG = {
    "too many under AutoAttack": {"autoattack": np.full((5, 2), 0.3)},
    "whole numbers": {"robust": np.ones((10, 2), int)},
    "too few episodes": {"robust": np.full((9, 2), 0.5)},
    "no shares": {"robust": np.full((10, 2), 1.5)},
}


@pytest.mark.parametrize("arrays", WRONG.values(), ids=WRONG)
def test_episodes_that_make_no_sense_are_left_out(synthetic, arrays):
    measure(synthetic, synthetic.cell("pgd-at"), arrays=arrays)
    _, domains = metatest(synthetic, "domains")
    assert domains == []


@pytest.mark.parametrize(("share", "said"), [(0.025, True), (0.0, False), (None, False)])
def test_what_the_attack_gave_up_is_told_beside_the_numbers(synthetic, share, said):
    measure(synthetic, synthetic.cell("pgd-at"), given_up=share)
    text, (group,) = metatest(synthetic, "domains")
    assert group["parts"][0]["rows"][0]["given_up"] == share
    assert ("attack gave up on 2.5 %" in text) is said


@pytest.mark.parametrize(
    ("rounds", "said"), [([1], "and 1 round of"), ([2, 4, 16], "and 2, 4 or 16 rounds of")]
)
def test_rates_are_told_from_rounds(synthetic, rounds, said):
    measure(synthetic, synthetic.cell("pgd-at"), rates=[0.1, 0.3], rounds=rounds)
    text, _ = metatest(synthetic, "domains")
    assert f"rates of 0.1, 0.3, {said} 5 steps" in text


@pytest.mark.parametrize(("count", "said"), [(6, False), (7, True)])
def test_the_page_says_where_its_chart_lacks_rows(synthetic, count, said):
    for seed in range(count):
        measure(synthetic, synthetic.cell("pgd-at", seed=seed))
    text, _ = metatest(synthetic, "domains")
    assert ("The first rows only; 1 more" in text) is said

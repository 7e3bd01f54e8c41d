"""New classes in the reports: rows of read-outs, what they are sorted by, what can't be read."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from site_pages import assert_replaced, metatest

import reports
from benchmark.metatest.summary import share
from benchmark.results import npz_writer
from benchmark.results.identity import PROTOCOL_VERSION
from benchmark.results.records import FewShotRecord
from reports.site import wins

EPISODES, QUERIES, WAYS = 10, 5, 5


def measure(
    synthetic,
    cell_id,
    readout="ridge",
    *,
    shots=1,
    ways=WAYS,
    robust=0.4,
    arrays=None,
    key="1a2b3c4d",
    stored=True,
    without="",
    **changes,
):
    """Writes a read-out whose episodes are spread around a share; returns their arrays."""
    generator = np.random.default_rng(len(readout) + shots)
    spread = generator.uniform(-0.1, 0.1, EPISODES)
    shares = {"clean": np.full(EPISODES, 0.8), "robust": robust + spread}
    shares |= {"stored_queries": np.full(EPISODES, 0.7)} if stored else {}
    shares |= arrays or {}
    record = {
        "version": FewShotRecord.VERSION,
        "readout": readout,
        "protocol_version": PROTOCOL_VERSION,
        "ways": ways,
        "shots": shots,
        "queries": QUERIES,
        "episodes": EPISODES,
        "attack_steps": 20,
        "labels_used": WAYS * shots,
        "status": "ok",
        "setting": {"scale": 1.0},
        "tuning": {
            "ways": WAYS,
            "episodes": 2,
            "tried": [{"scale": 1.0, "robust": changes.pop("validation", robust)}],
        },
        "cost": {"gradient_evaluations": 7.0},
        **{name: vars(share(values, QUERIES * WAYS)) for name, values in shares.items()},
        **changes,
    }
    key = f"{readout}-{ways}way-{shots}shot-{key}"
    there = {name: values for name, values in shares.items() if name != without}
    files = {f"{key}.npz": npz_writer(there)}
    synthetic.store.write_stage(cell_id, f"few-shot/{key}", record, files)
    return shares


def test_read_outs_are_sorted_by_white_box_queries_whatever_stored_ones_leave(synthetic):
    cell_id = synthetic.cell("pgd-at")
    high = {"stored_queries": np.full(EPISODES, 0.99)}
    measure(synthetic, cell_id, "linear", robust=0.2, arrays=high)
    shares = measure(synthetic, cell_id, "ridge", robust=0.5)
    text, (group,) = metatest(synthetic, "few_shot")
    (part,) = group["parts"]
    assert [row["readout"] for row in part["rows"]] == ["ridge", "linear"]
    assert part["rows"][0]["robust"]["mean"] == pytest.approx(shares["robust"].mean())
    assert (part["rows"][0]["gradient_evaluations"], part["rows"][0]["labels_used"]) == (7.0, 5)
    assert re.search(r"Stored, %.*99\.0", text, re.S)
    assert "guessing leaves 20.0 %" in text


@pytest.mark.parametrize("asked", [True, False])
def test_the_page_tells_of_stored_queries_and_autoattack_where_they_were_asked_for(
    synthetic, asked
):
    more = {"arrays": {"autoattack": np.full(4, 0.3)}, "autoattack_episodes": 4} if asked else {}
    measure(synthetic, synthetic.cell("pgd-at"), stored=asked, **more)
    text, _ = metatest(synthetic, "few_shot")
    assert ("queries were attacked once" in text, "AutoAttack goes on" in text) == (asked, asked)


def test_the_read_out_that_a_model_is_judged_by_is_chosen_on_validation_classes(synthetic):
    cell_id = synthetic.cell("pgd-at")
    measure(synthetic, cell_id, "linear", robust=0.2, validation=0.9)
    measure(synthetic, cell_id, "ridge", robust=0.5, validation=0.3)
    text, (group,) = metatest(synthetic, "few_shot")
    assert {r["readout"]: r["chosen"] for r in group["parts"][0]["rows"]} == {
        "linear": True,
        "ridge": False,
    }
    assert "<b>linear</b>" in text


def test_a_read_out_is_chosen_by_what_its_own_setting_left(synthetic):
    cell_id = synthetic.cell("pgd-at")
    tried = [{"scale": 1.0, "robust": 0.3}, {"scale": 2.0, "robust": 0.9}]
    tuning = {"ways": WAYS, "episodes": 2, "tried": tried}
    measure(synthetic, cell_id, "linear", tuning=tuning)
    measure(synthetic, cell_id, "ridge", validation=0.5)
    _, (group,) = metatest(synthetic, "few_shot")
    assert [r["readout"] for r in group["parts"][0]["rows"] if r["chosen"]] == ["ridge"]


def test_each_number_of_shots_is_a_table_and_a_point_of_the_curve(synthetic):
    cell_id = synthetic.cell("pgd-at")
    for shots in (1, 5):
        measure(synthetic, cell_id, shots=shots, robust=0.3 + shots / 20)
    text, (group,) = metatest(synthetic, "few_shot")
    assert [(part["ways"], part["shots"]) for part in group["parts"]] == [(5, 1), (5, 5)]
    assert "robust accuracy in per cent over shots" in text


@pytest.mark.parametrize(("count", "said"), [(6, False), (7, True)])
def test_the_page_says_where_its_charts_lack_trainings(synthetic, count, said):
    for defense in ["none", "pgd-at", "trades", "mart", "free-at", "awp", "msd"][:count]:
        cell_id = synthetic.cell(defense)
        for shots in (1, 5):
            measure(synthetic, cell_id, shots=shots)
    text, _ = metatest(synthetic, "few_shot")
    assert ("The first rows only; 1 more" in text) is said


def test_several_ways_are_points_of_a_curve_over_ways(synthetic):
    cell_id = synthetic.cell("pgd-at")
    for ways in (5, 20):
        measure(synthetic, cell_id, ways=ways)
    text, (group,) = metatest(synthetic, "few_shot")
    assert [part["ways"] for part in group["parts"]] == [5, 20]
    assert "1-shot, 10 episodes, the read-out that is best on validation classes" in text


def test_protocols_of_other_sizes_and_versions_are_apart(synthetic):
    cell_id, other = synthetic.cell("pgd-at"), synthetic.cell("trades")
    measure(synthetic, cell_id, shots=5)
    measure(synthetic, other, version=FewShotRecord.VERSION - 1)
    text, (group,) = metatest(synthetic, "few_shot")
    assert [len(part["rows"]) for part in group["parts"]] == [1, 1]
    assert "over shots" not in text  # no curve through numbers that don't compare
    assert_replaced(text, [group], FewShotRecord.VERSION - 1)


def test_seeds_are_summed_up_over_the_episodes_that_they_share(synthetic):
    for seed in (0, 1):
        measure(synthetic, synthetic.cell("pgd-at", seed=seed), robust=0.4 + seed / 10)
    _, (group,) = metatest(synthetic, "few_shot")
    (over,) = group["parts"][0]["over_seeds"]
    assert (over["seeds"], over["readout"]) == (2, "ridge")
    assert over["mean"] == pytest.approx(0.45, abs=0.06)


def test_a_read_out_that_was_run_again_with_more_beside_it_counts_once(synthetic):
    """Of each seed the one that AutoAttack saw more episodes of."""
    for seed in (0, 1):
        cell_id = synthetic.cell("pgd-at", seed=seed)
        for key, seen in (("1a2b3c4d", 4), ("2b3c4d5e", 6), ("3c4d5e6f", 2)):
            arrays = {"autoattack": np.full(seen, 0.3)}
            measure(synthetic, cell_id, arrays=arrays, autoattack_episodes=seen, key=key)
    _, (group,) = metatest(synthetic, "few_shot")
    (part,) = group["parts"]
    assert [over["seeds"] for over in part["over_seeds"]] == [2]
    assert len(part["rows"]) == 2
    (cell,) = (c for c in reports.records.read(synthetic.store.path).cells if c.cell_id == cell_id)
    assert [one.record.autoattack_episodes for one in cell.few_shot] == [6]


def test_one_that_failed_when_it_was_run_again_does_not_take_the_place_of_a_result(synthetic):
    cell_id = synthetic.cell("pgd-at")
    measure(synthetic, cell_id)
    again = {"status": "failed", "reason": "killed", "autoattack_episodes": 4}
    measure(synthetic, cell_id, key="2b3c4d5e", robust=0.0, **again)
    _, (group,) = metatest(synthetic, "few_shot")
    assert [row["status"] for row in group["parts"][0]["rows"]] == ["ok"]


def test_read_outs_that_were_tuned_on_more_are_apart(synthetic):
    measure(synthetic, synthetic.cell("pgd-at"), tuning_episodes=2)
    measure(synthetic, synthetic.cell("trades"), tuning_episodes=20)
    _, (group,) = metatest(synthetic, "few_shot")
    assert [len(part["rows"]) for part in group["parts"]] == [1, 1]


def test_autoattack_stands_beside_what_pgd_left_of_the_same(synthetic):
    arrays = {"autoattack": np.full(4, 0.3)}
    told = {"robust_of_attacked": 0.415, "autoattack_episodes": 4}
    measure(synthetic, synthetic.cell("pgd-at"), arrays=arrays, **told)
    assert "30.0 of 41.5" in metatest(synthetic, "few_shot")[0]


@pytest.mark.parametrize("found", [np.full(9, 0.3), np.zeros((4, 1))])
def test_autoattack_of_other_episodes_than_the_record_tells_is_left_out(synthetic, found):
    measure(
        synthetic,
        synthetic.cell("pgd-at"),
        arrays={"autoattack": found},
        autoattack_episodes=4,
    )
    reports.publish(synthetic.store.path)
    (left_out,) = reports.load(synthetic.store.path).attrs["left_out"]
    assert "don't follow the schema" in left_out["reason"]


def judged(synthetic):
    _, (group,) = metatest(synthetic, "few_shot")
    return group["parts"][0]["judged"]


def test_trainings_are_compared_by_their_best_read_out_over_seeds(synthetic):
    for seed in (0, 1):
        cell_id = synthetic.cell("meta-adv", seed=seed)
        measure(synthetic, cell_id, "ridge", robust=0.7, validation=0.7)
        measure(synthetic, cell_id, "linear", robust=0.8, validation=0.1)
        others = 0.4 + np.random.default_rng(seed).uniform(-0.05, 0.05, EPISODES)
        measure(synthetic, synthetic.cell("pgd-at", seed=seed), arrays={"robust": others})
    best, other = judged(synthetic)
    assert (best["readout"], best["seeds"], best["mean"]) == (
        "ridge",
        2,
        pytest.approx(0.7, abs=0.05),
    )
    assert best["rival"]["label"].startswith("pgd-at")
    assert best["rival"]["mean"] == pytest.approx(0.3, abs=0.05)
    assert (best["rival"]["verdict"], other["rival"]["verdict"]) == ("win", "loss")
    assert best["rival"]["low"] == pytest.approx(-other["rival"]["high"])


def test_a_constant_answer_wins_nothing_and_nothing_loses_to_it(synthetic):
    measure(synthetic, synthetic.cell("meta-adv"), robust=0.3)
    measure(synthetic, synthetic.cell("pgd-at"), robust=0.1)
    constant = np.full(EPISODES, 1 / WAYS)
    measure(synthetic, synthetic.cell("trades"), arrays={"clean": constant, "robust": constant},
            validation=0.9)  # fmt: skip
    text, document = metatest(synthetic, "few_shot")
    part = document[0]["parts"][0]
    found = {one["label"].split()[0].strip(","): one["rival"] for one in part["judged"]}
    assert found["trades"] is None
    assert found["pgd-at"]["label"].startswith("meta-adv")
    assert part["rows"][-1]["guesses"]
    assert text.count("<b>not told from guessing</b>") == 1


def test_episodes_of_another_split_seed_are_not_paired(synthetic):
    for number, defense in enumerate(("meta-adv", "pgd-at")):
        cell_id = synthetic.cell(defense)
        measure(synthetic, cell_id)
        config = synthetic.store.read_cell(cell_id)["config"]
        data = {**config["dataset"], "split_seed": number}
        synthetic.change(cell_id, config={**config, "dataset": data})
    _, document = metatest(synthetic, "few_shot")
    assert [group["title"].rpartition(", ")[2] for group in document] == [
        "split seed 0",
        "split seed 1",
    ]
    assert [one["rival"] for group in document for one in group["parts"][0]["judged"]] == [None] * 2


def test_answers_that_are_equal_in_each_episode_are_said_to_be(synthetic):
    same = np.full(EPISODES, 0.4)
    for defense in ("meta-adv", "pgd-at"):
        measure(synthetic, synthetic.cell(defense), arrays={"robust": same})
    assert metatest(synthetic, "few_shot")[0].count("equal in each episode") == 2


def test_what_chance_explains_is_no_win(synthetic):
    steps = np.tile([0.0, 0.5], EPISODES // 2)
    measure(synthetic, synthetic.cell("meta-adv"), arrays={"robust": 0.26 + steps})
    measure(synthetic, synthetic.cell("pgd-at"), arrays={"robust": 0.75 - steps})
    rivals = [one["rival"] for one in judged(synthetic)]
    assert [one["verdict"] for one in rivals] == ["", ""]


def test_a_rival_is_chosen_among_others_which_widens_its_interval(synthetic):
    """By the episodes that it is compared on: the less robust ones were looked at, too."""
    widths = []
    for defense, robust in (("meta-adv", 0.6), ("pgd-at", 0.5), ("trades", 0.4), ("mart", 0.3)):
        values = robust + np.random.default_rng(int(100 * robust)).uniform(-0.1, 0.1, EPISODES)
        measure(synthetic, synthetic.cell(defense), arrays={"robust": values})
        rival = judged(synthetic)[0]["rival"]
        widths += [rival["high"] - rival["low"]] if rival else []
    assert widths == sorted(set(widths))


COSTS = {
    "less": (100.0, None, True),
    "a little more": (1040.0, None, True),
    "more": (1100.0, None, False),
    "more of the same budget": (1100.0, 1200.0, True),
}


@pytest.mark.parametrize(("cost", "budget", "is_rival"), COSTS.values(), ids=COSTS)
def test_a_rival_has_cost_no_more(cost, budget, is_rival):
    mine, rival = (
        SimpleNamespace(values=SimpleNamespace(training_gradient_evaluations=ge, budget_ge=budget))
        for ge in (1000.0, cost)
    )
    ours, other = (wins._Training({0: (row, "ridge", np.zeros(2))}) for row in (mine, rival))
    assert other.costs_no_more(ours) == is_rival


def test_a_read_out_without_a_result_is_shown_with_its_reason(synthetic):
    cell_id = synthetic.cell("pgd-at")
    reason = "the model's own head tells 4 classes apart, not 5"
    measure(synthetic, cell_id, "own", status="not-applicable", reason=reason,
            clean=None, robust=0.0)  # fmt: skip
    text, _ = metatest(synthetic, "few_shot")
    assert "tells 4 classes apart" in text


WEAKLY = [(0.28, True), (0.36, False), (0.4, False), (None, False)]


@pytest.mark.parametrize(("left", "said"), WEAKLY)
def test_a_row_says_where_pgd_was_too_weak_to_judge_by(synthetic, left, said):
    """Of 100 queries, AutoAttack breaks 12 that PGD has left, 4 or none; or it was not run."""
    arrays = {"robust": np.full(EPISODES, 0.4)}
    arrays |= {} if left is None else {"autoattack": np.full(4, left)}
    measure(synthetic, synthetic.cell("pgd-at"), arrays=arrays, autoattack_episodes=4)
    text, _ = metatest(synthetic, "few_shot")
    assert ("<b>PGD too weak</b>" in text) is said


WRONG = {
    "whole numbers": {"arrays": {"robust": np.ones(EPISODES, int)}},
    "too few episodes": {"arrays": {"robust": np.full(EPISODES - 1, 0.5)}},
    "none under attack": {"without": "robust"},
    "none as they are": {"without": "clean"},
}


@pytest.mark.parametrize("given", WRONG.values(), ids=WRONG)
def test_episodes_that_make_no_sense_are_left_out(synthetic, given):
    cell_id = synthetic.cell("pgd-at")
    measure(synthetic, cell_id, **given)
    _, few_shot = metatest(synthetic, "few_shot")
    assert few_shot == []


def test_numbers_of_another_protocol_are_named_and_left_out(synthetic):
    measure(synthetic, synthetic.cell("pgd-at"), protocol_version=PROTOCOL_VERSION + 1)
    _, few_shot = metatest(synthetic, "few_shot")
    assert few_shot == []
    (left,) = reports.load(synthetic.store.path).attrs["left_out"]
    assert left["reason"].startswith(
        f"of protocol version {PROTOCOL_VERSION + 1}, not {PROTOCOL_VERSION}"
    )


@pytest.mark.parametrize(("share", "said"), [(0.025, True), (0.0, False), (None, False)])
def test_what_the_attack_gave_up_is_told_beside_the_numbers(synthetic, share, said):
    measure(synthetic, synthetic.cell("pgd-at"), given_up=share)
    text, (group,) = metatest(synthetic, "few_shot")
    assert group["parts"][0]["rows"][0]["given_up"] == share
    assert ("attack gave up on 2.5 %" in text) is said

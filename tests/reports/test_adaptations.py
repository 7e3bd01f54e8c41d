"""Adaptation in the reports: numbers from stored curves, and what cannot be read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from site_pages import replaced

import reports
from benchmark.metatest.summary import difference, share, shares
from benchmark.results import npz_writer
from benchmark.results.identity import PROTOCOL_VERSION
from benchmark.results.records import FamilyRecord
from reports.statistics import over_episodes

SHOTS, STEPS, EPISODES, QUERIES = [0, 5], [0, 1, 5], 3, 20
TUNED = {
    "rate": 0.03,
    "tuned_steps": 5,
    "shots": SHOTS,
    "steps": STEPS,
    "rates": [0.01, 0.03],
    "episodes": 2,
    "version": FamilyRecord.VERSION,
    "protocol_version": PROTOCOL_VERSION,
}


def adapt(
    synthetic, cell_id, family, role, *, key="1a2b3c4d", gain=0.1, seed=0, lost=0.05, **changes
):
    """Writes a family whose accuracy rises with the steps; returns its arrays."""
    generator = np.random.default_rng(seed)
    start = generator.integers(4, 8, (changes.get("episodes", EPISODES), 1, 1)) / QUERIES
    correct = start + gain * np.array([[0, 0, 0], [0, 1, 2]])  # (episodes, shots, steps)
    seen = 0.5 - lost * np.arange(3) * np.ones((len(correct), 1))
    record = {
        "family": family,
        "description": "an attack",
        "role": role,
        "rate": 0.03,
        "tuned_steps": 5,
        "shots": SHOTS,
        "steps": STEPS,
        "episodes": EPISODES,
        "queries": QUERIES,
        "labels_used": 5,
        "status": "ok",
        "protocol_version": PROTOCOL_VERSION,
        "reason": "",
        **shares(correct, QUERIES),
        "clean_accuracy": [[0.9] * 3] * 2,
        "seen_accuracy": seen.mean(axis=0).tolist(),
        **changes,
    }
    name = f"{family}-{key}"
    files = {f"{name}.npz": npz_writer({"correct": correct, "seen": seen})}
    synthetic.store.write_stage(cell_id, f"adaptations/{name}", record, files)
    return correct


def report(synthetic, name="metatest.html"):
    """A page of the site, and the rows of leaderboard.json by cell."""
    site = reports.publish(synthetic.store.path).parent
    rows = json.loads((site / "leaderboard.json").read_text())["rows"]
    return (site / name).read_text(encoding="utf-8"), {row["cell_id"]: row for row in rows}


def test_the_leaderboard_sums_held_out_families_up(synthetic):
    cell_id = synthetic.cell("pgd-at")
    adapt(synthetic, cell_id, "linf", "seen", gain=0)
    curves = [
        adapt(synthetic, cell_id, name, "held-out", seed=seed, gain=gain)
        for name, seed, gain in (("patch", 1, 0.1), ("spatial", 2, 0.05))
    ]
    _, rows = report(synthetic)
    row, mean = rows[cell_id], np.mean(curves, axis=0)[:, 1]  # (episodes, steps)
    areas = ((mean[:, 0] + mean[:, 1]) / 2 + 4 * (mean[:, 1] + mean[:, 2]) / 2) / 5
    assert row["held_out_before"] == pytest.approx(mean[:, 0].mean())
    assert row["held_out_after"] == pytest.approx(mean[:, 2].mean())
    assert row["held_out_area"] == pytest.approx(areas.mean())
    expected = share(areas, QUERIES)
    assert (row["held_out_area_low"], row["held_out_area_high"]) == pytest.approx(
        (expected.low, expected.high)
    )
    assert row["held_out_forgetting"] == pytest.approx(-0.1)
    assert row["held_out_labels"] == 5
    assert row["held_out_families"] == "patch, spatial; 3 episodes"


def test_forgetting_is_of_families_that_keep_the_same_ones(synthetic):
    cell_id = synthetic.cell("pgd-at")
    for family, seen, lost in (
        ("patch", ["linf", "l2"], 0.05),
        ("spatial", ["linf", "l2"], 0.1),
        ("square", ["linf"], 0.2),
    ):
        adapt(synthetic, cell_id, family, "held-out", lost=lost, seen_families=seen)
    _, rows = report(synthetic)
    assert rows[cell_id]["held_out_forgetting"] == pytest.approx(-0.15)
    assert "square" in rows[cell_id]["held_out_families"]


@pytest.mark.parametrize(
    "values", [[0.4], [0.4, 0.6], [0.0, 0.0, 0.0], [1.0, 0.95, 1.0], [0.2, 0.9, 0.5]]
)
def test_intervals_over_episodes_are_those_that_are_stored(values):
    stored = share(np.array(values), QUERIES)
    assert vars(over_episodes(np.array(values), queries=QUERIES)) == pytest.approx(vars(stored))


def test_one_episode_says_nothing_of_others():
    alone = np.array([0.4])
    assert vars(share(alone, QUERIES)) == {"mean": 0.4, "low": 0.0, "high": 1.0}
    assert vars(difference(alone)) == {"mean": 0.4, "low": -1.0, "high": 1.0}


def test_the_page_shows_before_after_curves_and_seeds(synthetic):
    for seed in (0, 1):
        cell_id = synthetic.cell("pgd-at", seed=seed)
        adapt(synthetic, cell_id, "linf", "seen", gain=0)
        correct = adapt(synthetic, cell_id, "patch", "held-out", seed=seed)
    adapt(synthetic, synthetic.cell("none"), "patch", "held-out", status="failed", reason="<b>no")
    html, _ = report(synthetic)
    before, after = correct[:, 1, 0].mean(), correct[:, 1, 2].mean()
    assert f"{100 * before:.1f} → {100 * after:.1f}" in html
    assert "Held-out area over training seeds" in html
    assert html.count('<svg class="chart"') == 3
    assert "&lt;b&gt;no" in html
    assert "<b>no" not in html


def test_families_that_another_rate_was_chosen_for_are_not_mixed(synthetic):
    """As by a run with other rates: one family each, of the protocol that has more of them."""
    cell_id = synthetic.cell("pgd-at")
    for name in ("patch", "jsma"):
        adapt(synthetic, cell_id, name, "held-out", seed=1)
    for key in ("2b3c4d5e", "3c4d5e6f"):
        adapt(synthetic, cell_id, "patch", "held-out", seed=2, rate=0.1, key=key)
    (cell,) = reports.records.read(synthetic.store.path).cells
    found = [(one.record.family, one.record.rate) for one in cell.adaptations]
    assert found == [("jsma", 0.03), ("patch", 0.03)]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [({}, 1), ({"rates": [0.03]}, 2), ({"episodes": 9}, 2), ({"rate": 0.01}, 2)],
    ids=["alike", "other rates", "more episodes", "by another tuning"],
)
def test_what_was_tuned_otherwise_stands_apart(synthetic, changes, parts):
    """Though the same rate was chosen."""
    for seed, more in enumerate(({}, changes)):
        cell_id, told = synthetic.cell("pgd-at", seed=seed), {**TUNED, **more}
        adapt(synthetic, cell_id, "patch", "held-out", version=FamilyRecord.VERSION)
        told["labels_used"] = told["episodes"] * (SHOTS[-1] + QUERIES)
        synthetic.store.write_stage(cell_id, "adaptations/tuning-1a2b3c4d", told)
        of_fewer_queries = {**told, "labels_used": 300, "episodes": 50}
        synthetic.store.write_stage(cell_id, "adaptations/tuning-2b3c4d5e", of_fewer_queries)
    html, _ = report(synthetic)
    document = json.loads((synthetic.store.path / "report/data/metatest.json").read_text())
    found = document["groups"][0]["parts"]
    assert len(found) == parts
    assert [TUNED["rates"], 2] in [[one["rates"], one["tuning_episodes"]] for one in found]
    assert "rates chosen on 2 validation episodes among 0.01, 0.03" in html


def test_the_largest_counts_of_tunings_that_came_to_the_same_rate(synthetic):
    cell_id = synthetic.cell("pgd-at")
    adapt(synthetic, cell_id, "patch", "held-out", version=FamilyRecord.VERSION)
    for n, (rates, episodes) in enumerate([([0.02, 0.03], 2), ([0.01, 0.03], 9), ([0.03], 9)]):
        told = {**TUNED, "rates": rates, "episodes": episodes}
        told["labels_used"] = episodes * (SHOTS[-1] + QUERIES)
        synthetic.store.write_stage(cell_id, f"adaptations/tuning-{n}a2b3c4d", told)
    (cell,) = reports.records.read(synthetic.store.path).cells
    assert [one.tuned for one in cell.adaptations] == [((0.01, 0.03), 9)]


def test_families_of_another_split_seed_stand_apart(synthetic):
    for number, seed in enumerate((0, 1)):
        cell_id = synthetic.cell("pgd-at", seed=seed)
        adapt(synthetic, cell_id, "patch", "held-out", seed=seed)
        config = synthetic.store.read_cell(cell_id)["config"]
        data = {**config["dataset"], "split_seed": number}
        synthetic.change(cell_id, config={**config, "dataset": data})
    text, _ = report(synthetic)
    assert text.count("split seed 0") == text.count("split seed 1") == 1
    assert "over training seeds" not in text


def test_an_area_over_fewer_families_says_which_and_joins_no_others(synthetic):
    """JSMA failed for one seed: its area is of the patch alone."""
    for seed in (0, 1, 2):
        cell_id = synthetic.cell("pgd-at", seed=seed)
        adapt(synthetic, cell_id, "patch", "held-out", seed=seed)
        state = {"status": "failed", "reason": "no memory"} if seed == 2 else {}
        adapt(synthetic, cell_id, "jsma", "held-out", seed=seed + 5, **state)
    html, _ = report(synthetic)
    document = json.loads((synthetic.store.path / "report/data/metatest.json").read_text())
    (part,) = document["groups"][0]["parts"]
    assert sorted(row["fewer"] for row in part["rows"]) == [False, False, True]
    assert [(o["families"], o["seeds"]) for o in part["over_seeds"]] == [("jsma, patch", 2)]
    assert "of patch" in html


def test_forgetting_of_other_families_than_most_keep_says_which(synthetic):
    """As of a training that has met one besides: the row's number stands for something else."""
    for defense, seen in (("none", ["linf"]), ("pgd-at", ["linf"]), ("meta-gen", ["universal"])):
        cell_id = synthetic.cell(defense)
        adapt(synthetic, cell_id, "spatial", "held-out", seed=1, seen_families=seen)
    html, _ = report(synthetic)
    document = json.loads((synthetic.store.path / "report/data/metatest.json").read_text())
    (part,) = document["groups"][0]["parts"]
    others = {row["defense"]: row["keeps_others"] for row in part["rows"]}
    assert others == {"none": False, "pgd-at": False, "meta-gen": True}
    assert html.count(">of universal<") == 1
    charts = html.split('<svg class="chart"')[1:]
    assert [chart.count("meta-gen") > 0 for chart in charts] == [True, True, False]


def test_numbers_of_a_version_that_was_replaced_say_so(synthetic):
    now, before = FamilyRecord.VERSION, FamilyRecord.VERSION - 1
    adapt(synthetic, synthetic.cell("pgd-at"), "patch", "held-out", version=now)
    adapt(synthetic, synthetic.cell("trades"), "patch", "held-out", version=before)
    html, _ = report(synthetic)
    assert html.count(replaced(before)) == 1


def test_a_family_that_one_was_trained_on_is_not_in_its_mean(synthetic):
    other, trained = synthetic.cell("pgd-at"), synthetic.cell("meta-gen")
    for cell_id, role in ((other, "held-out"), (trained, "seen")):
        adapt(synthetic, cell_id, "patch", role)
        adapt(synthetic, cell_id, "spatial", "held-out", seed=1)
    html, rows = report(synthetic)
    assert rows[other]["held_out_families"] == "patch, spatial; 3 episodes"
    assert rows[trained]["held_out_families"] == "spatial; 3 episodes"
    assert html.count("seen in its training") == 1
    assert html.count(">of spatial<") == 1


def test_without_the_meta_test_the_page_says_so(synthetic):
    synthetic.cell("pgd-at")
    html, rows = report(synthetic)
    assert "No model has been measured under other attack families, on new classes or on" in html
    assert "<code>bench run --protocol</code> and <code>--adapt-to</code> do." in html
    assert [row["held_out_area"] for row in rows.values()] == [None]


def test_the_protocol_with_most_episodes_is_shown(synthetic):
    """Also where another was of more families."""
    cell_id = synthetic.cell("pgd-at")
    for family in ("patch", "jsma"):
        adapt(synthetic, cell_id, family, "held-out", seed=3)
    adapt(synthetic, cell_id, "patch", "held-out", key="more", seed=4, episodes=7)
    _, rows = report(synthetic)
    assert rows[cell_id]["held_out_families"] == "patch; 7 episodes"


DAMAGE = {
    "steps-out-of-order": {"steps": [0, 5, 1]},
    "too-few-rows": {"accuracy": [[0.5] * 3]},
    "too-few-points": {"clean_accuracy": [[0.5], [0.5]]},
    "no-share": {"seen_accuracy": [0.5, 1.5, 0.5]},
    "unknown-role": {"role": "judge"},
    "tuned-elsewhere": {"tuned_steps": 4},
    "other-episodes": {"queries": 0},
}


@pytest.mark.parametrize("changes", DAMAGE.values(), ids=DAMAGE)
def test_what_does_not_follow_the_schema_is_named_and_left_out(synthetic, changes):
    cell_id = synthetic.cell("pgd-at")
    changes = dict(changes)
    adapt(synthetic, cell_id, "patch", changes.pop("role", "held-out"), **changes)
    html, rows = report(synthetic, "index.html")
    assert rows[cell_id]["held_out_area"] is None
    assert f"cells/{cell_id}/adaptations/patch-1a2b3c4d.json" in html


def test_a_damaged_tuning_is_named(synthetic):
    """Without it what the rate was chosen by is unknown, and the cell stands apart."""
    cell_id = synthetic.cell("pgd-at")
    adapt(synthetic, cell_id, "patch", "held-out", version=FamilyRecord.VERSION)
    told = {**TUNED, "labels_used": TUNED["episodes"] * (SHOTS[-1] + QUERIES)}
    synthetic.store.write_stage(cell_id, "adaptations/tuning-1a2b3c4d", {**told, "rates": "all"})
    html, rows = report(synthetic, "index.html")
    assert rows[cell_id]["held_out_area"] is not None
    assert f"cells/{cell_id}/adaptations/tuning-1a2b3c4d.json" in html


def test_damaged_curves_are_named_and_left_out(synthetic):
    cell_id = synthetic.cell("pgd-at")
    adapt(synthetic, cell_id, "patch", "held-out")
    (synthetic.store.cell_folder(cell_id) / "adaptations/patch-1a2b3c4d.npz").write_bytes(b"x")
    html, rows = report(synthetic, "index.html")
    assert rows[cell_id]["held_out_area"] is None
    assert "it or a file that it names is damaged, or its model was trained again" in html


@pytest.mark.parametrize(("share", "said"), [(0.025, True), (0.0, False), (None, False)])
def test_what_the_attack_gave_up_is_told_beside_the_numbers(synthetic, share, said):
    adapt(synthetic, synthetic.cell("pgd-at"), "patch", "held-out", given_up=share)
    text, _ = report(synthetic)
    assert ("attack gave up on 2.5 %" in text) is said

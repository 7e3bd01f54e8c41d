"""Which defense the first page says to pick, why, and the chart beside it."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

import reports
from reports.groups import board
from reports.records import read
from reports.site import picking


def recommended(synthetic: Any) -> dict[str, Any]:
    (group,) = board(read(synthetic.store.path)).document()["groups"]
    found: dict[str, Any] = group["recommendation"]
    return found


def trained(synthetic: Any, defense: str, cost: int, **values: Any) -> None:
    """A cell whose training took so many gradient evaluations."""
    cell_id = synthetic.cell(defense, **values)
    store = synthetic.store
    record = store.read_cell(cell_id)
    store.write_cell(cell_id, {**record, "gradient_evaluations": cost})


CASES = {
    # defense: (worst case, clean, cost) -> the pick, and why
    "the most robust": (
        {"a": (0.8, 0.9, 900), "b": (0.4, 0.9, 100)},
        ("a", "the most robust one, told apart from all others"),
    ),
    "of equally robust ones the accurate": (
        {"a": (0.6, 0.7, 100), "b": (0.6, 0.95, 900)},
        ("b", "of 2 defenses that the data can't tell from the most robust one, the most accurate"),
    ),
    "of equally good ones the cheap": (
        {"a": (0.61, 0.9, 900), "b": (0.6, 0.9, 100), "c": (0.2, 0.9, 10)},
        ("b", "the cheapest to train (100 GE)"),
    ),
    "of equally dear ones the one that keeps most": (
        {"a": (0.6, 0.9, 1000), "b": (0.61, 0.9, 1009), "c": (0.62, 0.9, 1011)},
        ("b", "2 cost the least to train (1.01 k GE each), of which it keeps most"),
    ),
    "of equally good and dear ones the one that keeps most": (
        {"a": (0.6, 0.9, 1000), "b": (0.61, 0.9, 1001)},
        ("b", "all cost the same to train (1.00 k GE each), of which it keeps most"),
    ),
    "alone": ({"a": (0.6, 0.9, 100)}, ("a", "the only defense here")),
    "no better than undefended": (
        {"a": (0.06, 0.9, 100)},
        ("", "can't tell the most robust defense, a, from the undefended model (5.0 %)"),
    ),
    "worse than undefended": (
        {"a": (0.01, 0.9, 100)},
        ("", "the most robust defense, a, keeps less than the undefended model (5.0 %)"),
    ),
    "undefended alone": ({}, ("", "no defense has a rank")),
}


@pytest.mark.parametrize("case", CASES)
def test_robust_comes_before_accurate_before_cheap(synthetic: Any, case: str) -> None:
    defenses, (picked, why) = CASES[case]
    trained(synthetic, "none", 10, robust={"pgd": 0.05}, clean=0.95)
    for name, (robust, clean, cost) in defenses.items():
        trained(synthetic, name, cost, robust={"pgd": robust}, clean=clean)

    found = recommended(synthetic)

    assert found["picked"] == picked
    assert why in found["sentence"]


SEEDS = {
    # seeds of a and b -> what the pick says of them
    "the same": ((0, 1), (0, 1), None),
    "fewer": ((0, 1), (0,), "Of 2 trainings (seeds and frameworks) b has 1: run the rest"),
    "others": ((0, 1), (2,), "Of 3 trainings (seeds and frameworks) a has 2 and b has 1: run"),
}


@pytest.mark.parametrize(("of_a", "of_b", "told"), SEEDS.values(), ids=SEEDS)
def test_a_pick_among_unequal_trainings_says_so(
    synthetic: Any, of_a: tuple[int, ...], of_b: tuple[int, ...], told: str | None
) -> None:
    synthetic.cell("none", robust={"pgd": 0.05})  # of one seed: nothing is compared with its mean
    for name, share, seeds in (("a", 0.8, of_a), ("b", 0.4, of_b)):
        for seed in seeds:
            synthetic.cell(name, robust={"pgd": share}, seed=seed)

    found = recommended(synthetic)

    assert found["picked"] == "a"
    assert (told or "Pick a") in found["sentence"]
    assert ("trainings" in found["sentence"]) == (told is not None)


@pytest.mark.parametrize(("lacking", "told"), [(4, "1 more lacks some"), (5, "2 more lack some")])
def test_of_many_that_lack_trainings_some_are_counted(
    synthetic: Any, lacking: int, told: str
) -> None:
    for seed in (0, 1):
        synthetic.cell("a", robust={"pgd": 0.8}, seed=seed)
    for number in range(lacking):
        synthetic.cell(f"b{number}", robust={"pgd": 0.4})

    assert f"has 1 and {told}: run the rest" in recommended(synthetic)["sentence"]


def test_a_model_that_was_given_lacks_no_training(synthetic: Any) -> None:
    store = synthetic.store
    for name, share, seeds in (("none", 0.05, (0, 1)), ("a", 0.8, (0, 1)), ("given", 0.4, (0,))):
        for seed in seeds:
            cell_id = synthetic.cell(name, robust={"pgd": share}, seed=seed)
    record = store.read_cell(cell_id)
    source = {"architecture": None, "builder": "nets.py:build"}
    store.write_cell(cell_id, record | {"config": record["config"] | {"source": source}})

    found = recommended(synthetic)

    assert {one["name"] for one in found["choices"]} >= {"a", "given"}
    assert "trainings" not in found["sentence"]


def test_what_ties_with_the_undefended_model_too_is_not_told_apart(synthetic: Any) -> None:
    for name, share in (("none", 0.50), ("b", 0.53), ("a", 0.56)):
        synthetic.cell(name, robust={"pgd": share})

    found = recommended(synthetic)

    assert found["picked"] == "a"
    assert (
        "the only one that the data tell from the undefended model; it keeps" in found["sentence"]
    )


def test_frameworks_and_seeds_of_a_defense_are_one_choice(synthetic: Any) -> None:
    for seed in (0, 1):
        synthetic.cell("pgd-at", "torch", seed=seed, robust={"pgd": 0.6 + 0.1 * seed})
        synthetic.cell("pgd-at", "tensorflow", seed=seed, robust={"pgd": 0.5})

    (choice,) = recommended(synthetic)["choices"]

    places = {one["framework"]: one["worst_case"] for one in choice["places"]}
    assert places == pytest.approx({"torch": 0.65, "tensorflow": 0.5})
    assert "keeps 50.0 to 65.0 % under attack" in recommended(synthetic)["sentence"]


SEEDS = {
    # defense: [(worst case, cost) of seed 0, of seed 1, ...] -> the pick
    "other seeds are not compared": ({"a": [(0.8, 9), (0.6, 9)], "b": [(0.6, 1), (0.4, 1)]}, "a"),
    "alike in one seed": ({"a": [(0.8, 9), (0.6, 9)], "b": [(0.6, 1), (0.59, 1)]}, "b"),
    "the cost is that of one training": ({"a": [(0.6, 7), (0.6, 9)], "b": [(0.6, 10)]}, "a"),
}


@pytest.mark.parametrize("case", SEEDS)
def test_seeds_are_compared_one_by_one(synthetic: Any, case: str) -> None:
    defenses, picked = SEEDS[case]
    for name, trainings in defenses.items():
        for seed, (robust, cost) in enumerate(trainings):
            trained(synthetic, name, cost, seed=seed, robust={"pgd": robust})

    assert recommended(synthetic)["picked"] == picked


def test_the_chart_names_every_defense_once_and_marks_it_in_both_frameworks(
    synthetic: Any,
) -> None:
    for number in range(15):
        for framework in ("torch", "tensorflow"):
            synthetic.cell(f"defense-{number}", framework, robust={"pgd": 0.6})

    found = picking.chart(recommended(synthetic))
    assert found is not None
    drawn, legend = found

    heights = [
        float(y) for y in re.findall(r'<text[^>]* x="[\d.]+" y="([\d.]+)" dy="[.\d]+em">d', drawn)
    ]
    assert len(heights) == 15
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 20
    assert drawn.count(" in torch: ") == drawn.count(" in tensorflow: ") == 15
    assert [name for _, name in legend] == ["filled: torch", "hollow: tensorflow"]


def test_what_trust_checks_flag_is_passed_over(synthetic: Any, monkeypatch: Any) -> None:
    synthetic.cell("masked", robust={"pgd": 0.9})
    synthetic.cell("pgd-at", robust={"pgd": 0.6})
    rows = board(read(synthetic.store.path)).groups[0].rows
    object.__setattr__(rows[0].values, "trust_flags", "masked gradients")

    found = reports.recommendation.document(rows)

    assert found["picked"] == "pgd-at"
    assert "but for masked, which trust checks flag" in found["sentence"]

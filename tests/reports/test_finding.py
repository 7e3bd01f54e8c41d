"""The sentence that ends a run: what it names, and what it does not claim."""

from __future__ import annotations

from typing import Any

import pytest

import reports
from benchmark.results import npz_writer


def finding(synthetic: Any, cells: list[str] | None = None) -> str:
    store = synthetic.store
    return reports.finding(store.path, store.cell_ids() if cells is None else cells, "quick")


BOTH = ("torch", "tensorflow")


def test_both_frameworks_stand_beside_their_undefended_twins(synthetic: Any) -> None:
    for framework in BOTH:
        synthetic.cell("pgd-at", framework, robust={"pgd": 0.6})
        synthetic.cell("none", framework, robust={"pgd": 0.1})

    assert finding(synthetic) == (
        "pgd-at keeps 60.0 % (53.1 to 66.5) of digits under L∞ 0.15 in tensorflow and 60.0 % "
        "(53.1 to 66.5) in torch, the undefended twin 10.0 %; "
        "the two frameworks can't be told apart."
    )


def test_threats_of_attacks_own_are_named_beside_the_cells(synthetic: Any) -> None:
    cell_id = synthetic.cell(robust={"pgd": 0.6, "square": 0.5})
    for norm, eps, told in (
        ("l2", 1.0, "under L∞ 0.15 and L2 1 in torch"),
        ("unrestricted", None, "under L∞ 0.15 and attacks without a budget in torch"),
    ):
        write = npz_writer(synthetic.arrays(cell_id, "square"))
        synthetic.rewrite(cell_id, "square", write, norm=norm, eps=eps, own_threat=True)
        assert told in finding(synthetic)


def test_a_threat_that_nothing_attacked_under_is_not_named(synthetic: Any) -> None:
    cell_id = synthetic.cell(robust={"square": 0.5})
    write = npz_writer(synthetic.arrays(cell_id, "square"))
    synthetic.rewrite(cell_id, "square", write, norm="l0", eps=20.0, own_threat=True)

    assert "of digits under L0 20 in torch" in finding(synthetic)


def test_frameworks_that_differ_are_said_to(synthetic: Any) -> None:
    synthetic.cell("pgd-at", "torch", robust={"pgd": 0.7})
    synthetic.cell("pgd-at", "tensorflow", robust={"pgd": 0.4})

    assert finding(synthetic).endswith("in tensorflow; the two frameworks differ.")


def test_frameworks_of_other_attacks_are_not_compared(synthetic: Any) -> None:
    both = {"fgsm": 0.7, "apgd": 0.5}
    synthetic.cell("pgd-at", "torch", robust=both)
    states = {"apgd": ("failed", "no memory")}
    synthetic.cell("pgd-at", "tensorflow", robust=both, states=states)

    told = finding(synthetic)

    assert "in torch and at most 70.0 %" in told
    assert "frameworks" not in told


def test_the_twin_is_told_in_the_seeds_of_its_defense(synthetic: Any) -> None:
    cells = [synthetic.cell("pgd-at", robust={"pgd": 0.6})]
    cells += [synthetic.cell("none", robust={"pgd": 0.1 + 0.2 * n}, seed=n) for n in (0, 1)]

    assert "the undefended twin 10.0 %" in finding(synthetic)
    assert "the undefended twin 10.0 %" in finding(synthetic, cells[:2])
    synthetic.cell("pgd-at", robust={"pgd": 0.6}, seed=1)
    assert "the undefended twin 20.0 %" in finding(synthetic)


def test_the_twin_is_the_one_that_was_trained_alike(synthetic: Any) -> None:
    synthetic.cell("pgd-at", robust={"pgd": 0.6})
    for epochs, share in ((9, 0.3), (None, 0.2), (7, 0.1)):
        cell_id = synthetic.cell("none", robust={"pgd": share}, cell_id=f"twin-{epochs}")
        config = synthetic.store.read_cell(cell_id)["config"]
        told = config.get("epochs") if epochs is None else epochs
        synthetic.change(cell_id, config={**config, "epochs": told})

    assert "the undefended twin 20.0 %" in finding(synthetic)


@pytest.mark.parametrize(
    ("others", "ending"),
    [
        ({"trades": 0.3}, "in torch."),
        ({"trades": 0.69}, "; trades can't be told apart from it."),
        (
            {"trades": 0.69, "none": 0.69},
            "; the undefended twin and trades can't be told apart from it.",
        ),
        (
            dict.fromkeys(("awp", "mart", "trades"), 0.69),
            "; awp, mart and trades can't be told apart from it.",
        ),
        (
            dict.fromkeys(("awp", "mart", "msd", "trades"), 0.69),
            "; 4 other defenses can't be told apart from it.",
        ),
    ],
    ids=["none", "one", "undefended", "three", "many"],
)
def test_ties_are_told(synthetic: Any, others: dict[str, float], ending: str) -> None:
    synthetic.cell("pgd-at", robust={"pgd": 0.7})
    for name, share in others.items():
        synthetic.cell(name, robust={"pgd": share})

    assert finding(synthetic).startswith("pgd-at keeps 70.0 %")
    assert finding(synthetic).endswith(ending)


def test_models_without_a_seed_in_common_are_neither_told_apart_nor_tied(synthetic: Any) -> None:
    for defense, framework, seed, share in (
        ("pgd-at", "torch", 0, 0.6),
        ("pgd-at", "tensorflow", 1, 0.3),
        ("trades", "torch", 2, 0.59),
    ):
        synthetic.cell(defense, framework, seed=seed, robust={"pgd": share})

    text = finding(synthetic)

    assert "differ" not in text
    assert "told apart" not in text


def test_seeds_are_told_together(synthetic: Any) -> None:
    for seed, share in enumerate((0.5, 0.6, 0.7)):
        synthetic.cell("pgd-at", seed=seed, robust={"pgd": share})

    text = finding(synthetic)

    assert text.startswith("pgd-at keeps 60.0 % (")
    assert "over 3 seeds of digits" in text


def test_what_did_not_end_well_is_counted_and_bounds_are_bounds(synthetic: Any) -> None:
    states = {"square": ("failed", "no memory")}
    synthetic.cell("pgd-at", robust={"pgd": 0.6, "square": 0.5}, states=states)
    synthetic.cell("trades", robust={}, status="diverged")

    assert finding(synthetic).startswith("pgd-at keeps at most 60.0 %")
    ending = "; 1 of 2 cells has no rank; 1 of 2 cells has no result."
    assert finding(synthetic).endswith(ending)


def test_what_an_attack_told_nothing_of_is_not_the_best(synthetic: Any) -> None:
    states = {"square": ("failed", "no memory")}
    synthetic.cell("pgd-at", robust={"pgd": 0.9, "square": 0.9}, states=states)
    synthetic.cell("trades", robust={"pgd": 0.5, "square": 0.5})

    assert finding(synthetic).startswith("trades keeps 49.5 %")
    assert finding(synthetic).endswith("; 1 of 2 cells has no rank.")


def test_undefended_models_alone_are_named_so(synthetic: Any) -> None:
    synthetic.cell("none", robust={"pgd": 0.1})

    assert finding(synthetic).startswith("The undefended model keeps 10.0 %")


def test_labels_that_a_defense_used_are_named(synthetic: Any) -> None:
    cell = synthetic.cell("meta-adv", robust={"pgd": 0.6})
    stage = {"seconds": 1.0, "labels_used": 100, "cost": {}, "steps": 5}
    synthetic.store.write_stage(cell, "adaptation", stage)

    assert finding(synthetic).startswith("meta-adv, adapted to 100 labels, keeps 60.0 %")


def test_run_without_results_says_so(synthetic: Any) -> None:
    cell = synthetic.cell("pgd-at", robust={}, status="failed")

    assert finding(synthetic, [cell]) == "Nothing was measured; 1 of 1 cell has no result."


def test_cells_of_other_runs_are_left_out(synthetic: Any) -> None:
    mine = synthetic.cell("pgd-at", robust={"pgd": 0.5})
    synthetic.cell("trades", robust={"pgd": 0.9})

    assert finding(synthetic, [mine]).startswith("pgd-at keeps 50.0 %")


def test_hostile_names_are_shown_as_text(synthetic: Any) -> None:
    synthetic.cell("evil\x1b[2J\nname", cell_id="evil")

    assert finding(synthetic).isprintable()

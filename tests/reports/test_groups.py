"""Only rows of the same group are ranked together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import reports
from benchmark.results import npz_writer

SUITES = Path(__file__).parents[2] / "docs" / "how-to" / "suite.md"
GROUPS: dict[str, dict[str, Any]] = {
    "data set": {"dataset": "mnist"},
    "norm": {"norm": "l2"},
    "budget": {"eps": 8 / 255},
}


@pytest.mark.parametrize("other", GROUPS.values(), ids=GROUPS)
def test_rows_of_another_group_have_ranks_of_their_own(synthetic: Any, other: Any) -> None:
    synthetic.cell("good", robust={"pgd": 0.9}, cell_id="a")
    synthetic.cell("bad", robust={"pgd": 0.1}, cell_id="b")
    synthetic.cell("middle", robust={"pgd": 0.5}, cell_id="c", **other)

    board = reports.leaderboard(synthetic.store.path).set_index("cell_id")
    page = reports.publish(synthetic.store.path).read_text()

    assert dict(board["rank"]) == {"a": 1, "b": 2, "c": 1}
    assert page.count('<tr class="group"') == page.count('<a href="#group-') == 2
    assert "group" in reports.terminal_table(synthetic.store.path).columns


@pytest.mark.parametrize("field", ["model", "examples", "fingerprint", "features"])
def test_another_model_examples_or_data_are_another_group(synthetic: Any, field: str) -> None:
    synthetic.cell("good", robust={"pgd": 0.9}, cell_id="a")
    other = synthetic.cell("bad", robust={"pgd": 0.1}, cell_id="b")
    config = synthetic.store.read_cell(other)["config"]
    changes = {
        "model": {"model": "mlp"},
        "examples": {"examples": 50},
        "fingerprint": {"dataset": {"name": "digits", "fingerprint": "f" * 16}},
        "features": {"threat": {**config["threat"], "features": {"age": 0.0}}},
    }
    synthetic.change(other, config={**config, **changes[field]})

    board = reports.leaderboard(synthetic.store.path).set_index("cell_id")

    assert dict(board["rank"]) == {"a": 1, "b": 1}
    table = reports.terminal_table(synthetic.store.path)
    assert len({row[table.columns.index("group")] for row in table.rows}) == 2


def test_budgets_of_features_are_told_beside_eps_and_make_the_cell_again(synthetic: Any) -> None:
    cell_id = synthetic.cell("good")
    config = synthetic.store.read_cell(cell_id)["config"]
    budgets = {"age": 0.0, "amount": 0.5}
    synthetic.change(
        cell_id, config={**config, "threat": {**config["threat"], "features": budgets}}
    )
    page = reports.publish(synthetic.store.path)
    model = (page.parent / "models" / cell_id / "index.html").read_text()

    for text in (page.read_text(), model):
        assert "L∞ ε = 0.15 (immutable age; amount ×0.5)" in text
    command = "--set=features.budget={&#34;age&#34;: 0.0, &#34;amount&#34;: 0.5}"
    assert command in model


def test_a_cell_has_a_row_in_each_of_its_suites(synthetic: Any) -> None:
    cell_id = synthetic.cell(robust={"fgsm": 0.8, "pgd": 0.5})
    suites = {"quick": ["fgsm-1a2b3c4d"], "full": ["fgsm-1a2b3c4d", "pgd-1a2b3c4d"]}
    synthetic.change(cell_id, suites=suites)

    board = reports.leaderboard(synthetic.store.path).set_index("suite")

    assert list(board.index) == ["full", "quick"]
    assert board.loc["quick", "worst_case"] == 0.8
    assert board.loc["full", "worst_case"] == 0.5  # the second keeps 1 to 100 of 0 to 159
    assert pd.isna(board.loc["quick", "robust_accuracy.pgd"])
    page = reports.publish(synthetic.store.path).read_text()
    assert page.count(f'<a href="models/{cell_id}/index.html">') == 2


def test_several_seeds_and_variants_are_told_apart(synthetic: Any) -> None:
    synthetic.cell("trades", seed=0, parameters={"beta": 6}, cell_id="a")
    synthetic.cell("trades", seed=1, parameters={"beta": 6}, cell_id="b")
    synthetic.cell("trades", seed=0, parameters={"beta": 1}, cell_id="c")

    page = reports.publish(synthetic.store.path).read_text()

    for label in ("seed 0, beta=6", "seed 1, beta=6", "seed 0, beta=1"):
        assert f"</svg>trades (torch), {label}<" in page


def test_a_row_that_stood_fewer_attacks_is_not_ranked_above_those_that_stood_more(
    synthetic: Any,
) -> None:
    synthetic.cell("whole", robust={"fgsm": 0.8, "pgd": 0.5}, cell_id="a")
    synthetic.cell("spared", robust={"fgsm": 0.9}, cell_id="b")

    board = reports.leaderboard(synthetic.store.path).set_index("cell_id")
    page = reports.publish(synthetic.store.path).read_text()

    assert board.loc["a", "rank"] == 1
    assert pd.isna(board.loc["b", "rank"])
    assert dict(board["worst_case_complete"]) == {"a": True, "b": False}
    assert "was run on other rows but not here" in page


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (np.arange(60) < 40, "a (torch) and b (torch) with 66.7 %"),
        ((np.arange(60) >= 5) & (np.arange(60) < 45), "a (torch) and b (torch) with 66.7 %"),
        # 5 discordant examples, all on one side: p = 2 / 2**5 = 0.0625
        (np.arange(60) < 35, "The data can&#39;t tell b (torch) from the best."),
        # and 6: p = 2 / 2**6 = 0.03125
        (np.arange(60) < 34, ""),
    ],
    ids=["the same", "equal", "tied", "told apart"],
)
def test_the_headline_names_who_is_best_and_who_may_be(
    synthetic: Any, second: np.ndarray, told: str
) -> None:
    for name, right in (("a", np.arange(60) < 40), ("b", second)):
        cell_id = synthetic.cell(name, clean=1.0, robust={"pgd": 1.0}, examples=60)
        arrays = {**synthetic.arrays(cell_id, "pgd"), "success": ~right}
        synthetic.rewrite(cell_id, "pgd", npz_writer(arrays))

    page = reports.publish(synthetic.store.path).read_text()

    assert told in page
    assert ("b (torch) with" in page) == (" and " in told)
    assert ("The data can&#39;t tell" in page) == told.startswith("The data")


def test_the_undefended_twin_is_called_so(synthetic: Any) -> None:
    synthetic.cell("none", robust={"pgd": 0.1})
    synthetic.cell("pgd-at", robust={"pgd": 0.8})

    page = reports.publish(synthetic.store.path).read_text()

    assert "</svg>undefended (torch)<" in page
    assert "Undefended: 10.0 %." in page
    assert "none (torch)" not in page


@pytest.mark.parametrize("weaker", ["a", "b"])
def test_rows_that_met_a_weaker_attack_have_no_rank_among_others(
    synthetic: Any, weaker: str
) -> None:
    for name in "ab":
        cell_id = synthetic.cell(
            "pgd-at" if name == "a" else "trades", robust={"pgd": 0.5}, cell_id=name
        )
        arrays = npz_writer(synthetic.arrays(cell_id, "pgd"))
        passes = {"arguments": {"max_iter": 1}, "forwards": 2.0, "backwards": 1.0}
        if name != weaker:
            passes = {"arguments": {"max_iter": 40}, "forwards": 41.0, "backwards": 40.0}
        synthetic.rewrite(cell_id, "pgd", arrays, **passes)

    board = reports.leaderboard(synthetic.store.path).set_index("cell_id")
    compared = reports.compare(synthetic.store.path, "a", "b")

    assert board.loc[weaker, "unranked_reason"] == (
        "pgd ran with other arguments than in rows with a rank"
    )
    assert board["rank"].notna().sum() == 1
    assert board["attacks_digest"].nunique() == 2
    assert compared.set_index("attack")["p_corrected"].isna().to_dict() == {
        **{"clean": False, "pgd": True},
        "worst case": True,
    }


def test_some_row_has_a_rank_whichever_attacks_are_weaker_where(synthetic: Any) -> None:
    for name, steps in (("a", (40, 1)), ("b", (1, 50))):
        both = {"pgd": 0.5, "apgd": 0.5}
        cell_id = synthetic.cell("pgd-at", parameters={"x": name}, robust=both, cell_id=name)
        for attack, count in zip(both, steps, strict=True):
            arrays = npz_writer(synthetic.arrays(cell_id, attack))
            told = {"arguments": {"max_iter": count}, "forwards": float(count)}
            synthetic.rewrite(cell_id, attack, arrays, **told)

    board = reports.leaderboard(synthetic.store.path).set_index("cell_id")

    assert board["rank"].notna().to_dict() == {"a": False, "b": True}


def test_models_that_begin_elsewhere_are_no_seeds_of_one_training(synthetic: Any) -> None:
    for name in "ab":
        synthetic.cell("pgd-at", robust={"pgd": 0.5}, cell_id=name)
    config = synthetic.store.read_cell("b")["config"]
    synthetic.change(
        "b", config={**config, "origin": {"init": "w.safetensors", "init_sha256": "1f"}}
    )

    board = reports.leaderboard(synthetic.store.path).set_index("cell_id")
    page = reports.publish(synthetic.store.path).read_text()

    assert list(board["seeds"]) == [1, 1]
    assert board.loc["b", "origin"].startswith("w.safetensors; ")
    assert "origin=" in page


def test_what_stands_around_a_given_model_makes_it_another_one(synthetic: Any) -> None:
    """A file of weights that was renamed doesn't."""
    given = {"weights": "net.safetensors", "weights_sha256": "1f", "mean": [0.0]}
    for name, change in {"a": {}, "b": {"mean": [0.13]}, "c": {"weights": "copy"}}.items():
        synthetic.cell("net", robust={"pgd": 0.5}, cell_id=name)
        config = synthetic.store.read_cell(name)["config"]
        synthetic.change(name, config={**config, "source": {**given, **change}})

    board = reports.leaderboard(synthetic.store.path).set_index("cell_id")

    assert board.loc["a", "origin"] == board.loc["c", "origin"] != board.loc["b", "origin"]
    assert board.loc["b", "seeds"] == 1


def test_unequal_arguments_are_named(synthetic: Any) -> None:
    synthetic.cell("a", robust={"pgd": 0.8})
    other = synthetic.cell("b", robust={"pgd": 0.7})
    path = synthetic.store.cell_folder(other) / "attacks/pgd-1a2b3c4d.npz"
    content = path.read_bytes()
    synthetic.rewrite(other, "pgd", lambda to: to.write_bytes(content), arguments={"max_iter": 1})

    page = reports.publish(synthetic.store.path).read_text()

    assert "ran with arguments that others did not have: {&#34;max_iter&#34;: 1}" in page


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("budget", "7 of its examples left the perturbation budget; none of them counts"),
        ("box", "7 of its examples left the value range [0, 1]; none of them counts"),
        ("non_finite", "7 of its examples held values that are not finite; none of them counts"),
    ],
)
def test_broken_promises_of_an_attack_are_counted_in_the_notes(
    synthetic: Any, kind: str, told: str
) -> None:
    synthetic.cell(violations={"pgd": {kind: 7}})

    assert told in reports.publish(synthetic.store.path).read_text()


def test_what_an_attack_was_run_on_and_what_it_kept_to_itself_is_told(synthetic: Any) -> None:
    cell_id = synthetic.cell()
    arrays = synthetic.arrays(cell_id, "pgd")
    arrays["attacked"] = np.arange(len(arrays["success"])) < 5
    synthetic.rewrite(
        cell_id, "pgd", npz_writer(arrays), norm="l0", eps=20.0, own_threat=True, silent=3
    )

    page = reports.publish(synthetic.store.path).read_text()

    assert f"was run on 5 of {len(arrays['success'])} examples, its accuracy is of these" in page
    assert "has a threat of its own, l0 with eps 20; the worst case is over all of them" in page
    assert "met 3 successes that it did not return; they count" in page


def test_an_attack_with_a_threat_of_its_own_counts_for_the_worst_case_as_the_page_says(
    synthetic: Any,
) -> None:
    cell_id = synthetic.cell(robust={"pgd": 0.8, "square": 0.5})
    arrays = synthetic.arrays(cell_id, "square")
    synthetic.rewrite(cell_id, "square", npz_writer(arrays), norm="l0", eps=20.0, own_threat=True)
    success = arrays["success"] | synthetic.arrays(cell_id, "pgd")["success"]

    (row,) = reports.leaderboard(synthetic.store.path).to_dict("records")

    held = arrays["clean_correct"] & ~success
    assert row["worst_case"] == held.mean() < 0.5 + 1e-9
    assert "a `threat` of its own counts for the worst case like any other" in SUITES.read_text()

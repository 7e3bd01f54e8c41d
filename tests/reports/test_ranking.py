"""Ranks with ties and intervals over seeds, from stored outcomes to the page and the terminal."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import pkgutil
from typing import Any

import numpy as np
import pytest

import reports
from benchmark.results import npz_writer
from reports.statistics import across_seeds


def worst(share: float) -> dict[str, float]:
    """One attack, so that it is the worst case."""
    return {"pgd": share}


def ranks(board: Any) -> dict[str, Any]:
    return dict(zip(board["cell_id"], board["rank"], strict=True))


def test_rows_that_the_data_cannot_tell_apart_share_a_rank(synthetic: Any) -> None:
    # nested outcomes of 200 examples: 4 discordant ones are no evidence, 20 are
    best = synthetic.cell("a", robust=worst(0.80))
    near = synthetic.cell("b", robust=worst(0.78))
    far = synthetic.cell("c", robust=worst(0.68))

    board = reports.leaderboard(synthetic.store.path)

    assert ranks(board) == {best: 1, near: 1, far: 3}
    assert list(board["cell_id"]) == [best, near, far]


def test_the_first_of_a_group_is_taken_from_the_others(synthetic: Any) -> None:
    best = synthetic.cell("a", robust=worst(0.80))
    far = synthetic.cell("b", robust=worst(0.68))

    board = reports.leaderboard(synthetic.store.path).set_index("cell_id")

    assert board["best_difference"].isna()[best]
    found = board.loc[far, ["best_low", "best_difference", "best_high"]].tolist()
    assert found[1] == pytest.approx(-0.12)
    assert found == sorted(found)
    assert found[2] < 0


def test_rows_without_a_rank_count_in_the_correction_too(synthetic: Any) -> None:
    # 6 discordant examples, all on one side: p = 2/2**6, of a pair alone told apart
    both = [synthetic.cell(name, robust=dict.fromkeys(("pgd", "fgsm"), share))
            for name, share in (("a", 0.53), ("b", 0.50))]  # fmt: skip
    assert list(ranks(reports.leaderboard(synthetic.store.path)).values()) == [1, 2]

    states = {"fgsm": ("failed", "no memory")}
    synthetic.cell("c", robust=dict.fromkeys(("pgd", "fgsm"), 0.2), states=states)

    found = ranks(reports.leaderboard(synthetic.store.path))
    assert [found[cell] for cell in both] == [1, 1]


def test_incomplete_and_failed_rows_have_no_rank(synthetic: Any) -> None:
    whole = synthetic.cell("a", robust=worst(0.5))
    part = synthetic.cell("b", robust=worst(0.9), states={"pgd": ("failed", "why")})
    failed = synthetic.cell("c", status="failed")

    board = reports.leaderboard(synthetic.store.path)

    found = ranks(board)
    assert found.pop(whole) == 1
    assert set(found) == {part, failed}
    assert board.set_index("cell_id")["rank"].loc[[part, failed]].isna().all()
    assert board.set_index("cell_id")["seeds_mean"].loc[[part, failed]].isna().all()


def test_rows_of_other_examples_are_not_ranked_among_these(synthetic: Any) -> None:
    usual = [synthetic.cell(name, robust=worst(0.5)) for name in "ab"]
    other = synthetic.cell("c", robust=worst(0.9))
    stage = "attacks/pgd-1a2b3c4d"
    arrays = synthetic.store.read_arrays(other, stage, "pgd-1a2b3c4d.npz")
    moved = {**arrays, "test_index": arrays["test_index"] + 1}
    record = synthetic.store.read_stage(other, stage)
    synthetic.store.write_stage(other, stage, record, {"pgd-1a2b3c4d.npz": npz_writer(moved)})

    board = reports.leaderboard(synthetic.store.path).set_index("cell_id")

    assert list(board["rank"].loc[usual]) == [1, 1]
    assert board["rank"].isna()[other]


def test_seeds_are_taken_together_where_nothing_else_differs(synthetic: Any) -> None:
    shares = {0: 0.80, 1: 0.78, 2: 0.70}
    cells = [synthetic.cell("a", seed=seed, robust=worst(s)) for seed, s in shares.items()]
    alone = synthetic.cell("a", seed=0, robust=worst(0.6), parameters={"x": 1}, cell_id="other")

    board = reports.leaderboard(synthetic.store.path).set_index("cell_id")

    expected = across_seeds([np.arange(200) < 200 * share for share in shares.values()])
    for cell in cells:
        row = board.loc[cell]
        assert row["seeds"] == 3
        assert row["seeds_mean"] == pytest.approx(np.mean([0.80, 0.78, 0.70]))
        assert (row["seeds_low"], row["seeds_high"]) == (expected.low, expected.high)
        assert row["seeds_variance_between"] == expected.between
        assert row["seeds_variance_within"] == expected.within
    assert board.loc[alone, "seeds"] == 1
    assert board["seeds_variance_between"].isna()[alone]


def test_the_page_and_the_terminal_tell_of_ties_and_seeds(synthetic: Any) -> None:
    synthetic.cell("a<b>", seed=0, robust=worst(0.80))
    synthetic.cell("a<b>", seed=1, robust=worst(0.78))

    page = reports.publish(synthetic.store.path).read_text()
    notes = reports.terminal_table(synthetic.store.path).notes

    assert "The data can&#39;t tell a&lt;b&gt; (torch), seed 1 from the best." in page
    assert "Over training seeds</h2>" in page
    row = page.split("Over training seeds</h2>")[1].split("</tr>")[2]
    assert ">a&lt;b&gt; (torch)<" in row
    assert ">79.0<" in row
    assert [n for n in notes if n.startswith("a<b> (torch): worst case 79.0 % over 2 seeds (95 %")]


def test_one_seed_has_no_table_of_seeds(synthetic: Any) -> None:
    synthetic.cell("a")

    assert "Over training seeds</h2>" not in reports.publish(synthetic.store.path).read_text()
    assert reports.terminal_table(synthetic.store.path).notes == []


def test_the_tidy_frame_holds_the_outcomes_and_explains_every_column(synthetic: Any) -> None:
    cell = synthetic.cell("a", clean=0.9, robust={"pgd": 0.6, "fgsm": 0.7})
    arrays = {
        name: synthetic.store.read_arrays(cell, f"attacks/{name}-1a2b3c4d", f"{name}-1a2b3c4d.npz")
        for name in ("pgd", "fgsm")
    }

    frame = reports.load(synthetic.store.path)

    assert list(frame.attrs["columns"]) == list(frame.columns)
    assert all(frame.attrs["columns"].values())
    stays = {name: a["clean_correct"] & ~a["success"] for name, a in arrays.items()}
    rows = frame.set_index("attack")
    for name, expected in stays.items():
        assert np.array_equal(reports.outcomes(rows.loc[name, "robust_outcomes"]), expected)
    both = stays["pgd"] & stays["fgsm"]
    assert np.array_equal(reports.outcomes(rows.loc["pgd", "worst_case_outcomes"]), both)
    clean = arrays["pgd"]["clean_correct"]
    assert np.array_equal(reports.outcomes(rows.loc["pgd", "clean_outcomes"]), clean)
    digest = hashlib.sha256(np.arange(200).astype("<i8").tobytes()).hexdigest()[:16]
    assert set(frame["examples_digest"]) == {digest}


def test_the_leaderboard_explains_every_column(synthetic: Any) -> None:
    synthetic.cell("a")

    board = reports.leaderboard(synthetic.store.path)

    assert list(board.attrs["columns"]) == list(board.columns)


def test_no_module_hides_a_public_function() -> None:
    for module in pkgutil.iter_modules(reports.__path__, "reports."):
        importlib.import_module(module.name)

    assert all(
        inspect.isfunction(getattr(reports, name)) for name in reports.__all__ if name != "FORMATS"
    )

"""The frame's numbers, recomputed from the stored outcomes example by example."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import reports
from benchmark.attacks.specification import AttackSpec
from benchmark.results import npz_writer
from benchmark.stages.attack import Attack

CELLS: dict[str, dict[str, Any]] = {
    "usual": {},
    "undefended": {"defense": "none"},
    "one attack": {"robust": {"pgd": 0.5}},
    "nothing holds": {"robust": {"fgsm": 0.1, "pgd": 0.0}},
    "nothing breaks": {"clean": 1.0, "robust": {"fgsm": 1.0, "pgd": 1.0}},
    "always wrong": {"clean": 0.0, "robust": {"fgsm": 0.4, "pgd": 0.4}},
    "one example": {"examples": 1, "clean": 1.0, "robust": {"pgd": 1.0}},
    "a failed attack": {"states": {"apgd": ("failed", "no memory")}},
    "an attack that isn't applicable": {"states": {"square": ("not-applicable", "no images")}},
}


def right(synthetic: Any, cell_id: str) -> dict[str, np.ndarray]:
    """Which examples are right: before any attack, and before and after each."""
    found = {}
    for key in synthetic.store.stage_keys(cell_id, "attacks"):
        name = key.partition("-")[0]
        if synthetic.store.read_stage(cell_id, f"attacks/{key}")["status"] == "ok":
            arrays = synthetic.arrays(cell_id, name)
            found["clean"] = arrays["clean_correct"]
            found[name] = [
                before and not success
                for before, success in zip(arrays["clean_correct"], arrays["success"], strict=True)
            ]
    return found


@pytest.mark.parametrize("made", CELLS.values(), ids=CELLS)
def test_every_accuracy_is_that_of_the_stored_outcomes(synthetic: Any, made: Any) -> None:
    cell_id = synthetic.cell(**made)
    expected = right(synthetic, cell_id)
    attacked = len(expected["clean"])

    frame = reports.load(synthetic.store.path).set_index("attack")
    (row,) = reports.leaderboard(synthetic.store.path).to_dict("records")

    assert row["clean_accuracy"] == sum(expected.pop("clean")) / attacked
    assert set(frame.index[frame["attack_status"] == "ok"]) == set(expected)
    for attack, survives in expected.items():
        assert frame.loc[attack, "robust_correct"] == sum(survives)
        assert row[f"robust_accuracy.{attack}"] == sum(survives) / attacked
    worst = sum(all(example) for example in zip(*expected.values(), strict=True))
    assert set(frame["worst_case_correct"]) == {worst}
    assert row["worst_case"] == worst / attacked
    assert row["worst_case"] <= min(sum(survives) for survives in expected.values()) / attacked
    assert 0 <= row["worst_case_low"] <= row["worst_case"] <= row["worst_case_high"] <= 1


@pytest.mark.parametrize(
    ("state", "complete"), [("failed", False), ("not-applicable", True), ("ok", True)]
)
def test_a_worst_case_is_complete_when_every_applicable_attack_ran(
    synthetic: Any, state: str, complete: bool
) -> None:
    synthetic.cell(states={"square": (state, "the reason")})

    frame = reports.load(synthetic.store.path).set_index("attack")
    (row,) = reports.leaderboard(synthetic.store.path).to_dict("records")

    assert set(frame["worst_case_complete"]) == {complete}
    assert frame.loc["square", "attack_status"] == state
    assert frame.loc["square", "attack_reason"] == "the reason"
    assert row["worst_case_complete"] == complete
    assert pd.isna(row["rank"]) != complete
    assert pd.isna(row["robust_accuracy.square"]) == (state != "ok")


def test_without_any_result_nothing_is_claimed(synthetic: Any) -> None:
    synthetic.cell(robust={"pgd": 0.5}, states={"pgd": ("failed", "why")})

    (row,) = reports.leaderboard(synthetic.store.path).to_dict("records")

    for column in ("rank", "clean_accuracy", "worst_case", "worst_case_low", "worst_case_high"):
        assert pd.isna(row[column]), column
    page = reports.publish(synthetic.store.path).read_text()
    assert "No row has a rank." in page
    assert "Accuracy by attack" not in page


def test_an_attack_on_other_examples_is_not_taken_together_with_the_rest(synthetic: Any) -> None:
    cell_id = synthetic.cell(robust={"fgsm": 0.8, "pgd": 0.7})
    arrays = synthetic.arrays(cell_id, "pgd")
    moved = npz_writer({**arrays, "test_index": arrays["test_index"] + 1})
    synthetic.rewrite(cell_id, "pgd", moved)

    frame = reports.load(synthetic.store.path).set_index("attack")

    assert frame.loc["pgd", "attack_status"] == "missing"
    assert frame.loc["pgd", "attack_reason"] == "attacked other examples than the attacks before it"
    assert not frame["worst_case_complete"].any()


def test_an_attack_that_could_not_be_run_tells_why(synthetic: Any) -> None:
    cell_id = synthetic.cell(robust={"fgsm": 0.8, "pgd": 0.7})
    key = "pgd-1a2b3c4d"
    failed = Attack(AttackSpec("pgd", "pgd", {}), key, 5, needs=()).failed("no memory")
    synthetic.store.write_stage(cell_id, f"attacks/{key}", failed.stored())

    frame = reports.load(synthetic.store.path).set_index("attack")

    assert frame.loc["pgd", "attack_status"] == "failed"
    assert frame.loc["pgd", "attack_reason"] == "no memory"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("failed", "killed by SIGKILL"),
        ("diverged", "the loss is NaN in epoch 3"),
    ],
)
def test_a_cell_that_did_not_end_well_has_its_reason_and_no_rank(
    synthetic: Any, status: str, reason: str
) -> None:
    synthetic.cell("good")
    synthetic.cell("bad", status=status, reason=reason, robust={})

    row = reports.leaderboard(synthetic.store.path).set_index("defense").loc["bad"]

    assert (row["status"], row["reason"]) == (status, reason)
    assert pd.isna(row["rank"])
    assert pd.isna(row["worst_case"])


def test_training_time_takes_adaptation_in(synthetic: Any) -> None:
    cell_id = synthetic.cell()
    synthetic.store.write_stage(cell_id, "adaptation", {"seconds": 2.5, "labels_used": 100})

    assert list(reports.leaderboard(synthetic.store.path)["training_seconds"]) == [15.0]


def test_an_empty_results_folder_gives_empty_frames_with_all_columns(synthetic: Any) -> None:
    frame, board = (read(synthetic.store.path) for read in (reports.load, reports.leaderboard))

    assert len(frame) == len(board) == 0
    assert "worst_case" in board.columns
    assert reports.terminal_table(synthetic.store.path).rows == []
    assert (
        "No finished cell has been attacked yet."
        in reports.publish(synthetic.store.path).read_text()
    )


def test_balanced_accuracy_stands_beside_accuracy_where_classes_are_uneven(synthetic: Any) -> None:
    cell_id = synthetic.cell(robust={"pgd": 0.5})
    arrays = synthetic.arrays(cell_id, "pgd")
    label = (np.arange(len(arrays["label"])) % 4 == 0).astype(np.int64)
    synthetic.rewrite(cell_id, "pgd", npz_writer(arrays | {"label": label}))
    holds = arrays["clean_correct"] & ~arrays["success"]
    expected = np.mean([holds[label == one].mean() for one in (0, 1)])

    (row,) = reports.leaderboard(synthetic.store.path).to_dict("records")
    table = reports.terminal_table(synthetic.store.path)

    assert row["worst_case_balanced"] == pytest.approx(expected)
    shown = table.rows[0][table.columns.index("balanced %")]
    assert shown == f"{100 * row['clean_balanced']:.1f} / {100 * expected:.1f}"


def test_nothing_is_said_of_balance_where_classes_are_even(synthetic: Any) -> None:
    synthetic.cell()
    (row,) = reports.leaderboard(synthetic.store.path).to_dict("records")
    assert pd.isna(row["clean_balanced"])
    assert "balanced %" not in reports.terminal_table(synthetic.store.path).columns


def with_shares(synthetic: Any, cell_id: str, **shares: float) -> None:
    """Stores in which share of its draws a random model is right under each attack."""
    for name, share in shares.items():
        arrays = synthetic.arrays(cell_id, name)
        arrays["right_share"] = np.where(np.arange(200) < 100, share, 0.5).astype(np.float32)
        synthetic.rewrite(cell_id, name, npz_writer(arrays), draws=50)


def test_a_single_draw_of_a_random_model_stands_beside_its_mean(synthetic: Any) -> None:
    cell_id = synthetic.cell(robust={"fgsm": 0.8, "pgd": 0.7})
    with_shares(synthetic, cell_id, fgsm=0.75, pgd=0.25)

    frame = reports.load(synthetic.store.path)

    assert frame["worst_case_expected"].tolist() == [0.375, 0.375]
    (page,) = reports.publish(synthetic.store.path).parent.rglob("models/*/index.html")
    assert "A single draw</dt><dd>37.5 %" in page.read_text(encoding="utf-8")


def test_a_model_that_is_not_random_has_no_single_draw(synthetic: Any) -> None:
    synthetic.cell()
    assert reports.load(synthetic.store.path)["worst_case_expected"].isna().all()


@pytest.mark.parametrize("share", [1.5, -0.1, np.nan])
def test_what_is_no_share_is_no_outcome(synthetic: Any, share: float) -> None:
    cell_id = synthetic.cell(robust={"pgd": 0.7})
    with_shares(synthetic, cell_id, pgd=share)
    (row,) = reports.load(synthetic.store.path).to_dict("records")
    assert row["attack_status"] == "missing"

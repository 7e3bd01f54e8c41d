"""Cells of tables whose features have budgets of their own: planned, measured and verified."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))

from real_results import make, restored, rewrite

from benchmark import replay
from benchmark.config import read
from benchmark.plans.run import make_plan
from benchmark.stages.context import load_dataset
from benchmark.stages.training import training_key
from benchmark.verify import sample

IMMUTABLE, BUDGET = [0, 3], {"1": 0.5, "2": 2}
WEIGHTS = np.array([0, 0.5, 2, 0, 1, 1])
EPS = 0.1


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of two classes that every feature tells a little apart."""
    generator = np.random.default_rng(0)
    x = generator.random((300, len(WEIGHTS)), dtype=np.float32)
    y = (x.sum(axis=1) > 3).astype(np.int64)
    path = tmp_path_factory.mktemp("data") / "table.npz"
    np.savez(path, x_train=x[:200], y_train=y[:200], x_test=x[200:], y_test=y[200:])
    return {
        "dataset": f"npz:{path}",
        "model": "mlp",
        "eps": EPS,
        "epochs": 20,
        "features": {"immutable": IMMUTABLE, "budget": BUDGET},
    }


@pytest.fixture
def claims_of(table):
    """All that is claimed of a folder; records name files without their folders."""
    folder = Path(table["dataset"].partition(":")[2]).parent
    return lambda store: sample(store, size=None, data_dir=folder)


@pytest.fixture(scope="module", params=["torch", "tensorflow"])
def store(request, table, tmp_path_factory):
    """A cell that was trained and attacked within these budgets."""
    return make(tmp_path_factory.mktemp("out"), request.param, "pgd-at", **table)


def planned(table, **changed):
    asked = {"defense": "pgd-at", "framework": "torch", **table, **changed}
    plan = make_plan(read({name: one for name, one in asked.items() if one is not None}))
    return plan, [job.cell for job in plan.jobs]


def test_budgets_of_features_are_part_of_what_a_cell_is(table):
    _, ordinary = planned(table, features=None)
    _, ours = planned(table)
    _, others = planned(table, features={"immutable": [0]})
    assert len({cell.cell_id for cell in (*ordinary, *ours, *others)}) == 6
    assert ours[0].config()["threat"] == {
        "norm": "linf",
        "eps": EPS,
        "features": {"0": 0.0, "1": 0.5, "2": 2.0, "3": 0.0},
    }
    assert "features" not in ordinary[0].config()["threat"]


def test_weights_of_1_alone_are_the_ordinary_cell(table):
    _, ordinary = planned(table, features=None)
    _, ours = planned(table, features={"budget": {"0": 1}})
    assert ours == ordinary


@pytest.fixture
def csv_table(tmp_path):
    """Writes one and the same numbers under the names of columns that are given."""

    def write(*columns):
        rows = np.random.default_rng(0).random((60, len(columns) - 1)).round(3)
        lines = [",".join([*map(str, row), "a" if row[0] > 0.5 else "b"]) for row in rows]
        (tmp_path / "table.csv").write_text("\n".join([",".join(columns), *lines]))
        return {"dataset": f"csv:{tmp_path / 'table.csv'}", "label": "y", "model": "mlp"}

    return write


def test_a_budget_is_of_another_cell_where_its_column_has_moved(csv_table):
    held, free = {"features": {"immutable": ["age"]}, "eps": EPS, "baseline": False}, {"eps": EPS}
    table = csv_table("age", "sex", "y")
    (ours,), ordinary = planned(table, **held)[1], planned(table, **free)[1]
    moved = csv_table("sex", "age", "y")
    (other,) = planned(moved, **held)[1]
    assert other.cell_id != ours.cell_id
    assert training_key(other) != training_key(ours)
    assert planned(moved, **free)[1] == ordinary, "without budgets names say nothing"
    with pytest.raises(RuntimeError, match=r"columns of .* changed while the run went on"):
        load_dataset(ours, None, moved["dataset"])
    load_dataset(other, None, moved["dataset"])


def test_an_undefended_twin_is_trained_once_whatever_features_may_change(csv_table):
    table = csv_table("age", "sex", "y")
    held, free = (
        planned(table, eps=EPS, features=given)[1][0] for given in ({"immutable": ["age"]}, None)
    )
    assert held.cell_id != free.cell_id
    assert training_key(held) == training_key(free)


def test_a_cell_from_before_columns_were_told_still_has_its_data(csv_table):
    table = csv_table("age", "sex", "y")
    (cell,) = planned(table, features={"immutable": ["age"]}, eps=EPS, baseline=False)[1]
    earlier = replace(cell, columns=None)
    assert "columns" not in earlier.config()["threat"]
    assert load_dataset(earlier, None, table["dataset"]).fingerprint == cell.dataset_fingerprint


def test_what_knows_no_such_budgets_is_told_beforehand(table):
    plan, _ = planned(table, suite="unseen")
    assert any("universal (knows no budgets of single features)" in line for line in plan.notices)
    told = "budgets of features, as multiples of eps: immutable 0, 3; 1 ×0.5, 2 ×2"
    assert told in plan.notices


def test_every_claim_of_such_a_cell_holds(store, claims_of):
    answers = {one.stage: replay.replay(one, device="cpu") for one in claims_of(store)}
    assert {state for state, _ in answers.values()} == {"holds"}, answers
    kinds = {stage.partition("/")[0] for stage in answers}
    assert {"cell", "worst-case", "attacks", "trust", "runs"} <= kinds


def test_stored_examples_lie_within_the_budget_of_each_feature(store):
    (cell_id,) = store.cell_ids()
    found = 0
    for key in store.stage_keys(cell_id, "attacks"):
        if store.read_stage(cell_id, f"attacks/{key}")["status"] == "ok":
            arrays = store.read_arrays(cell_id, f"attacks/{key}", f"{key}.npz")
            change = np.abs(arrays["sample_adversarial"] - arrays["sample_clean"])
            assert (change <= EPS * WEIGHTS + 1e-6).all()
            assert not change[:, WEIGHTS == 0].any()
            found += len(change)
    assert found


def test_an_example_that_moves_an_immutable_feature_is_told(store, claims_of):
    with restored(store):
        (claim,) = [one for one in claims_of(store) if "/pgd-" in one.stage]
        path = store.cell_folder(claim.cell_id) / f"{claim.stage}.npz"
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
        by = np.where(arrays["sample_clean"][:, 0] > 0.5, -0.05, 0.05)
        arrays["sample_adversarial"][:, 0] += by.astype(np.float32)
        rewrite(path, arrays)
        state, text = replay.replay(claim, device="cpu")
    assert state == "differs"
    assert "adversarial examples leave the budget" in text

"""Adversarial examples that somebody made elsewhere: read, judged, stored, and verified."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from real_results import make, reseal, restored, rewrite, stored

from benchmark import datasets, replay
from benchmark.attacks.claims import Claims, judge, read
from benchmark.attacks.target import Target
from benchmark.cells import cell_of
from benchmark.errors import DataError
from benchmark.job import Job
from benchmark.results.records import ClaimsRecord
from benchmark.verification import loaded
from benchmark.verify import HOLDS, Claim


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


@pytest.fixture
def file(tmp_path, digits):
    """Writes a file of claims, with other arrays where they are given; None leaves one out."""

    def write(**other):
        index = np.array([3, 0, 7])
        arrays = {"x_adv": digits.x_test[index], "index": index, "author": "Jane Doe"} | other
        path = tmp_path / "claims.npz"
        np.savez(path, **{name: one for name, one in arrays.items() if one is not None})
        return path

    return write


def test_claims_are_read_as_they_are(file, digits):
    found = read(file(y=digits.y_test[[3, 0, 7]], text="by hand"), digits)
    assert (found.author, found.text) == ("Jane Doe", "by hand")
    assert found.index.tolist() == [3, 0, 7]
    np.testing.assert_array_equal(found.x_adv, digits.x_test[[3, 0, 7]])
    assert found.among(np.array([0, 3, 4])).index.tolist() == [3, 0]


@pytest.mark.parametrize(
    "change",
    [
        lambda x: np.round(x * 255).astype(np.uint8),
        lambda x: x.astype(np.float64),
        lambda x: x.transpose(0, 3, 1, 2),
    ],
    ids=["bytes", "double", "channels first"],
)
def test_points_are_taken_in_other_forms(file, digits, change):
    x = digits.x_test[np.array([3, 0, 7])]
    found = read(file(x_adv=change(x)), digits).x_adv
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, x, atol=0.5 / 255)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"author": None}, r"has no author; save it with numpy\.savez"),
        ({"x_adv": None}, "has no x_adv"),
        ({"author": " "}, "its author is empty"),
        ({"author": "x" * 61}, "author has to be one text, at most 60"),
        ({"index": np.array([0.0, 1, 2])}, "index has to hold whole numbers"),
        ({"index": np.array([0, 1, 9999])}, "index has to be of the 359 test examples"),
        ({"index": np.array([0, 1, -1])}, "index has to be of the 359 test examples"),
        ({"index": np.array([0, 1, 1])}, "names a test example twice"),
        ({"index": np.array([0, 1])}, r"x_adv is \(3, 8, 8, 1\).*ask for \(2, 8, 8, 1\)"),
        ({"x_adv": np.zeros((3, 64))}, r"x_adv is \(3, 64\)"),
        ({"x_adv": np.zeros((3, 8, 8, 1), int)}, "give floats in"),
        (
            {"x_adv": np.full((3, 8, 8, 1), 254.0)},
            "goes up to 254, .*; divide pixels from 0 to 255 by 255",
        ),
        ({"y": np.array([1, 1, 1])}, "y differs from the labels of digits"),
        ({"y": np.array([1])}, "y differs from the labels of digits"),
        ({"author": np.array([{}], dtype=object)}, "can't be read"),
    ],
    ids=lambda value: "" if isinstance(value, str) else ",".join(value),
)
def test_what_is_no_claim_about_these_data_is_refused_in_a_line(file, digits, other, words):
    with pytest.raises(DataError, match=words) as error:
        read(file(**other), digits)
    assert "\n" not in str(error.value)


def test_a_file_that_is_none_is_refused(tmp_path, digits):
    with pytest.raises(DataError, match=r"--claims .*none\.npz can't be read"):
        read(tmp_path / "none.npz", digits)


class Threshold:
    """Says 1 where the first value is above a half and in the box, else 0."""

    def predict(self, x):
        above = (np.nan_to_num(x[:, 0]) > 0.5) & (x[:, 0] <= 1)
        return np.stack([~above, above], axis=1).astype(float)


# First value of an example, its label and its claim; the budget is 0.3.
CASES = {
    "fools": (0.4, 0, 0.6, True),
    "on the budget": (0.3, 0, 0.6, True),
    "the same answer": (0.1, 0, 0.4, False),
    "beyond the budget": (0.1, 0, 0.6, False),
    "outside the box": (0.9, 1, 1.1, False),
    "no number": (0.9, 1, np.nan, False),
    "wrong before": (0.4, 1, 0.4, False),
    "nothing claimed": (0.4, 0, None, False),
}


def test_each_claim_counts_by_budget_box_and_answer():
    values, labels, points, successes = map(list, zip(*CASES.values(), strict=True))
    x, y = np.array([[value, 0.2] for value in values], np.float32), np.array(labels)
    index, claimed = np.arange(len(y)) * 3, [point is not None for point in points]
    x_adv = np.array([[p, 0.2] for p in points if p is not None], np.float32)
    model = Threshold()
    target = Target(model, x, y, model.predict(x).argmax(axis=1), index)
    order = np.arange(sum(claimed))[::-1]  # claims come in any order
    claims = Claims("Jane", "", index[claimed][order], x_adv[order])

    record, arrays = judge(claims, target, norm="linf", eps=0.3, seed=0)

    assert arrays["success"].tolist() == successes
    assert record["clean_accuracy"] == 7 / 8
    assert record["robust_accuracy"] == 5 / 8
    assert record["violations"] == {"budget": 1, "box": 1, "non_finite": 1}
    assert (record["name"], record["claimed"], record["examples"]) == ("claims by Jane", 7, 8)
    assert arrays["attacked"].all()
    told = ClaimsRecord(**record).judgement
    assert told == "2 of 7 hold (1 beyond the budget, 1 outside of [0, 1], 1 not finite)"


@pytest.mark.parametrize("part", ["author", "text", "index", "x_adv"])
def test_the_key_changes_with_all_that_is_claimed(part):
    claims = Claims("a", "b", np.array([1]), np.zeros((1, 2), np.float32))
    other = {"author": "c", "text": "c", "index": np.array([2]), "x_adv": claims.x_adv + 1}
    assert dataclasses.replace(claims, **{part: other[part]}).key != claims.key
    assert dataclasses.replace(claims).key == claims.key


@pytest.fixture(scope="module")
def judged(tmp_path_factory, digits):
    """A store with claims in its cell, the job, and what was done on it."""
    from serving import serve

    out = tmp_path_factory.mktemp("claims") / "out"
    store = make(out, "torch", "none", model="mlp", epochs=1, examples=30)
    (cell_id,) = store.cell_ids()
    cell = cell_of(store.read_cell(cell_id)["config"])
    (key,) = (one for one in store.stage_keys(cell_id, "attacks") if one.startswith("pgd-"))
    arrays = store.read_arrays(cell_id, f"attacks/{key}", f"{key}.npz")
    claims = Claims("Jane Doe", "", arrays["sample_index"], arrays["sample_adversarial"])
    plain = loaded.load_cell(str(out), cell_id, None, loaded.Machine("cpu", 1)).job("quick")
    job = Job(**{one.name: getattr(plain, one.name) for one in dataclasses.fields(plain)})
    job = dataclasses.replace(job, cell=cell, claims=claims)
    return store, job, serve(job)


def test_it_is_judged_alone_where_the_cell_was_attacked_before(judged):
    store, job, messages = judged
    done = [message[2] for message in messages if message[0] == "progress"]
    assert set(done) == {"data", "claims by Jane Doe"}
    stage = f"claims/{job.claims.key}"
    record = ClaimsRecord.read(store.read_stage(job.cell.cell_id, stage))
    assert record.claimed == len(job.claims.index) > 0
    arrays = store.read_arrays(job.cell.cell_id, stage, f"{job.claims.key}.npz")
    assert arrays["success"].sum() == record.claimed  # an attack of the suite found them
    assert job.pending(store) == []


def state(store, job):
    loaded.load_cell.cache_clear()
    stage = f"claims/{job.claims.key}"
    claim = Claim(str(store.path), job.cell.cell_id, "torch", stage, None)
    return replay.replay(claim, device="cpu")


def test_the_stored_points_hold_when_they_are_judged_again(judged):
    store, job, _ = judged
    found, told = state(store, job)
    assert found == HOLDS, told
    assert f"{len(job.claims.index)} of {len(job.claims.index)} claims hold" in told


def test_the_stored_points_hold_on_another_machine(judged):
    store, job, _ = judged
    path = store.cell_folder(job.cell.cell_id) / "cell.json"
    with restored(store):
        reseal(path, {**stored(path), "processor": "another"})
        found, told = state(store, job)
    assert found == HOLDS, told


@pytest.mark.parametrize(
    "change",
    [
        {"author": "John Doe"},
        {"text": "mine"},
        {"robust_accuracy": 0.0},
        {"claimed": 1},
        {"eps": 0.3},
        {"violations": {"budget": 1, "box": 0, "non_finite": 0}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_record_is_noticed(judged, change):
    store, job, _ = judged
    path = store.cell_folder(job.cell.cell_id) / f"claims/{job.claims.key}.json"
    with restored(store):
        reseal(path, {**stored(path), **change})
        assert state(store, job)[0] != HOLDS


@pytest.mark.parametrize("name", ["success", "x_adv", "adversarial_prediction", "linf", "label"])
def test_a_changed_array_is_noticed(judged, name):
    store, job, _ = judged
    path = store.cell_folder(job.cell.cell_id) / f"claims/{job.claims.key}.npz"
    with np.load(path) as archive:
        arrays = {one: archive[one] for one in archive.files}
    changed = ~arrays[name] if arrays[name].dtype == bool else arrays[name] / 2
    with restored(store):
        rewrite(path, {**arrays, name: changed.astype(arrays[name].dtype)})
        assert state(store, job)[0] != HOLDS

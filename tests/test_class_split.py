"""Splitting classes: what is asked for, what is refused, and that nothing leaks."""

from __future__ import annotations

import json
import re
from dataclasses import astuple, replace

import numpy as np
import pytest

from benchmark import datasets
from benchmark.cells import cell_of
from benchmark.config import read
from benchmark.datasets import ClassSplit, Measured, Source
from benchmark.datasets.class_split import apply, class_split
from benchmark.datasets.splits import split
from benchmark.errors import DataError
from benchmark.plans.run import make_plan

NAMES = tuple(f"{alphabet}/{number}" for alphabet in "abc" for number in range(4))


@pytest.fixture
def coded(tmp_path):
    """A data set whose pixels are a hundredth of their class's number, with a test part."""
    y = np.repeat(np.arange(8), 6)
    x = np.broadcast_to(y[:, None, None, None] / 100, (48, 4, 4, 1)).astype(np.float32)
    names = np.array([f"c{label}" for label in range(8)])
    path = tmp_path / "coded.npz"
    np.savez(path, x_train=x, y_train=y, x_test=x[::2], y_test=y[::2], classes=names)
    return f"npz:{path}"


def codes(x):
    """The classes whose examples these are."""
    return {round(100 * value) for value in np.asarray(x)[:, 0, 0, 0].tolist()}


def test_a_seed_divides_all_classes_into_disjoint_parts():
    found = class_split(3, NAMES)
    assert (len(found.train), len(found.validation), len(found.test)) == (8, 2, 2)
    assert {*found.train, *found.validation, *found.test} == set(NAMES)
    assert class_split("3", NAMES) == found != class_split(4, NAMES)


def test_a_file_names_classes_and_patterns_and_leaves_others_out(tmp_path):
    path = tmp_path / "split.yaml"
    path.write_text("train: [a/*, c/3]\nvalidation: [b/0, b/1]\ntest: ['b/[23]']\n")
    found = class_split(str(path), NAMES)
    assert found.train == ("a/0", "a/1", "a/2", "a/3", "c/3")
    assert (found.validation, found.test) == (("b/0", "b/1"), ("b/2", "b/3"))


REFUSED = {
    "overlap": ({"train": ["a/*"], "validation": ["b/*"], "test": ["a/0", "c/0"]}, "'a/0' is in"),
    "unknown": ({"train": ["d/*"], "validation": ["b/*"], "test": ["c/*"]}, "unknown class 'd/*'"),
    "one class": ({"train": ["a/*"], "validation": ["b/0"], "test": ["c/*"]}, "has 1 class"),
    "a part is missing": ({"train": ["a/*"], "test": ["c/*"]}, "must hold the lists"),
    "no list": ({"train": "a/*", "validation": ["b/*"], "test": ["c/*"]}, "must be a list"),
    "no file": ("nowhere.yaml", "can't be read"),
    "negative": (-1, "no seed"),
    "a truth": (True, "no seed"),
    "a list too many": (
        {"train": ["a/*"], "validation": ["b/*"], "test": ["c/0", "c/1"], "tests": ["c/*"]},
        "it holds train, validation, test, tests",
    ),
}


@pytest.mark.parametrize(("given", "told"), REFUSED.values(), ids=REFUSED)
def test_a_split_that_makes_no_sense_is_refused(given, told):
    with pytest.raises(DataError, match=told.replace("*", r"\*")):
        class_split(given, NAMES)


def test_too_few_classes_can_not_be_divided():
    with pytest.raises(DataError, match="5 classes can't be divided"):
        class_split(0, NAMES[:5])


def test_no_class_is_trained_on_and_tested_on(coded):
    split = ClassSplit(("c5", "c0", "c2"), ("c1", "c7"), ("c3", "c6"))
    data = datasets.load(coded, classes=split)
    for part in ("train", "validation", "test"):
        assert codes(getattr(data, f"x_{part}")) == {5, 0, 2}
        assert set(getattr(data, f"y_{part}")) == {0, 1, 2}
    assert data.class_names == ("c0", "c2", "c5")
    pools = {part: (pool.support, pool.query) for part, pool in data.novel.items()}
    assert {part: {*codes(s), *codes(q)} for part, (s, q) in pools.items()} == {
        "validation": {1, 7},
        "test": {3, 6},
    }
    assert codes(data.x_train[data.y_train == 2]) == {5}


@pytest.mark.parametrize("part", ["test", "val"])
def test_training_classes_that_a_part_of_the_data_lacks_are_refused(coded, tmp_path, part):
    """As where a test part holds the new classes alone: nothing is left to attack."""
    with np.load(coded.removeprefix("npz:")) as file:
        arrays = dict(file)
    y = arrays["y_test"]
    arrays |= {f"x_{part}": arrays["x_test"][y > 1], f"y_{part}": y[y > 1]}
    path = tmp_path / "lacking.npz"
    np.savez(path, **arrays)
    split = ClassSplit(("c0", "c1"), ("c2", "c3"), ("c4", "c5"))
    with pytest.raises(DataError, match=r"none of the training classes \('c0, c1'\) is in the"):
        datasets.load(f"npz:{path}", classes=split)


def test_supports_and_queries_keep_to_the_parts_that_the_data_came_with(coded):
    pool = datasets.load(coded, classes=0).novel["test"]
    assert (pool.shared, len(pool.y_support), len(pool.y_query)) == (False, 12, 6)


def test_six_classes_are_enough_for_a_seed():
    found = class_split(0, NAMES[:6])
    assert [len(one) for one in (found.train, found.validation, found.test)] == [2, 2, 2]


def test_a_name_that_is_a_pattern_stands_for_itself():
    names = ("[ab]", "b", "a", "c", "d", "e", "f")
    given = {"train": ["[ab]", "c"], "validation": ["a", "b"], "test": ["[d-f]"]}
    assert astuple(class_split(given, names)) == (("[ab]", "c"), ("b", "a"), ("d", "e", "f"))


def test_classes_of_tables_are_not_split():
    """All rows would be scaled by what the classes that are held out hold, too."""
    table = Source(np.zeros((12, 2)), np.arange(12) % 6, tuple("abcdef"), scale=lambda x: (x, {}))
    with pytest.raises(DataError, match="columns of tables are scaled"):
        apply(ClassSplit(("a", "b"), ("c", "d"), ("e", "f")), table)


def test_groups_of_the_training_classes_stay_whole_in_what_is_split_off():
    """Classes come by turns, so that what is left out stands between the others."""
    y = np.arange(240) % 6
    groups = np.random.default_rng(0).permutation(np.arange(240) % 20)
    x = np.broadcast_to(groups[:, None, None, None] / 100, (240, 4, 4, 1)).astype(np.float32)
    names = tuple("abcdef")
    given = ClassSplit(names[2:4], names[:2], names[4:])
    source, novel = apply(given, Source(x, y, names, groups=groups))
    found = split(source, "films", seed=0, novel=novel)
    parts = [codes(part[:]) for part in (found.x_train, found.x_validation, found.x_test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 20
    assert np.array_equal(novel["test"].groups, groups[y >= 4])


def test_the_split_is_recorded_and_part_of_the_cell(coded, tmp_path):
    flags = {"defense": "pgd-at", "dataset": coded, "out": tmp_path / "out", "epochs": 1}
    settings = {"ways": "2", "shots": "1", "queries": "1", "protocol": "few-shot"}
    cells = [
        make_plan(read({**flags, **settings, "split": split})).jobs[0].cell for split in (0, 1)
    ]
    config = json.loads(json.dumps(cells[0].config()))
    assert config["dataset"]["classes"] == cells[0].class_split.record()
    assert cell_of(config) == cells[0]
    assert cells[0].cell_id != cells[1].cell_id
    plain = make_plan(read(flags)).jobs[0].cell
    assert "classes" not in plain.config()["dataset"]


FINGERPRINTS = {True: "9b80ef5834e3ea1c", False: "f67af89e77038ffe"}  # which ids of cells hold


@pytest.mark.parametrize("tests", [True, False], ids=["a test part", "none"])
def test_images_of_held_out_classes_that_are_trained_on_are_told(tests):
    y = np.repeat(np.arange(6), 10)
    x = np.random.default_rng(0).random((60, 4), dtype=np.float32)
    split_of = ClassSplit(("0", "1"), ("2", "3"), ("4", "5"))
    lines = {}
    for copied in (0, 3):
        x[50 : 50 + copied] = x[:copied]
        x[20 : 20 + copied] = x[10 : 10 + copied]
        source = Source(x, y, tuple("012345"))
        if tests:
            source = replace(source, x_test=x[::2] / 2, y_test=y[::2])
        left, novel = apply(split_of, source)
        found = split(left, "made-up", seed=0, novel=novel)
        lines[copied] = found.notices()
        assert Measured(*astuple(found.measured)[:4]).known_novel == 0  # of earlier versions
        if not copied:
            assert found.fingerprint == FINGERPRINTS[tests]
    assert lines[0] == []
    if tests:
        told = "6 of 60 examples of the held-out classes of made-up are also in the training or"
        assert lines[3][0].startswith(told)
    else:  # some of the copied ones are test examples of the training classes
        assert re.match("[1-6] of 40 examples of the held-out classes of made-up", lines[3][0])

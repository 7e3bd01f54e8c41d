"""Examples that belong together: no split parts them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_files import RNG, assert_refused, assert_sound, save
from test_named_datasets import image

from benchmark import datasets
from benchmark.datasets.dataset import Source
from benchmark.datasets.splits import split, whole_groups
from benchmark.errors import DataError

CASES = {
    # (label, group) of each example, and how many of each class a part of 40 % should have
    "frames of signs": (
        [(c, f"{c}/{g}") for c in range(3) for g in range(10) for _ in range(6)],
        4,
    ),
    "patients of all classes": ([(c, g) for g in range(30) for c in range(3) for _ in range(2)], 2),
    "each by itself": ([(c, n) for c in range(3) for n in range(c, 60, 3)], 1),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("examples", "step"), CASES.values(), ids=CASES)
def test_groups_stay_whole_and_classes_in_proportion(
    examples: list[tuple[int, object]], step: int, seed: int
) -> None:
    y, groups = (np.array(column) for column in zip(*examples, strict=True))
    size = round(0.4 * len(y))
    taken = whole_groups(y, groups, size, rng=np.random.default_rng(seed))
    assert not set(groups[taken]) & set(groups[~taken])
    found = np.bincount(y[taken], minlength=3)
    assert np.abs(found - size / 3).max() <= step
    again = whole_groups(y, groups, size, rng=np.random.default_rng(seed))
    other = whole_groups(y, groups, size, rng=np.random.default_rng(seed + 5))
    assert (taken == again).all()
    assert (taken != other).any()


def test_a_class_of_few_large_groups_is_in_both_parts() -> None:
    y = np.repeat([0, 1], [100, 60])
    groups = np.concatenate([np.arange(100), np.repeat([100, 101, 102], [20, 15, 25])])
    taken = whole_groups(y, groups, 16, rng=np.random.default_rng(0))
    assert sorted(set(groups[taken & (y == 1)])) == [101], "the smallest, though above its share"


@pytest.mark.parametrize(
    "held",
    [
        [[3, 1], [3, 0], [0, 4]],
        [[2, 2, 3], [4, 4, 0], [0, 3, 2]],
        [[0, 2, 1], [1, 1, 3], [2, 0, 3]],
        [[1, 5], [1, 5], [0, 40]],
        [[3, 1, 2], [0, 4, 4], [2, 4, 0]],
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_the_last_group_of_a_class_stays_outside(held: list[list[int]], seed: int) -> None:
    """What each group holds, by class: classes share groups, and can all be in both parts."""
    y = np.concatenate([np.repeat(np.arange(len(counts)), counts) for counts in held])
    groups = np.repeat(np.arange(len(held)), np.sum(held, axis=1))
    taken = whole_groups(y, groups, round(0.2 * len(y)), rng=np.random.default_rng(seed))
    assert [set(taken[y == label]) for label in set(y)] == [{True, False}] * len(set(y))


def made(groups: np.ndarray, *, with_test: bool = True) -> Source:
    """Six examples of each of two classes."""
    x, y = RNG.random((12, 4), dtype=np.float32), np.repeat([0, 1], 6)
    test = {"x_test": x.copy(), "y_test": y} if with_test else {}
    return Source(x, y, ("a", "b"), groups=groups, **test)


@pytest.mark.parametrize("with_test", [True, False], ids=["test part given", "no test part"])
def test_no_part_that_is_split_off_shares_a_group_with_another(*, with_test: bool) -> None:
    source = made(np.repeat(np.arange(6), 2), with_test=with_test)
    data = split(source, "signs", seed=0)
    group_of = dict(zip(map(bytes, source.x), source.groups, strict=True))
    parts = ("train", "validation") if with_test else ("train", "validation", "test")
    held = [{group_of[bytes(row)] for row in getattr(data, f"x_{part}")[:]} for part in parts]
    assert sum(map(len, held)) == 6 == len(set.union(*held))


def test_a_split_of_groups_is_pinned_so_that_a_changed_one_is_noticed() -> None:
    x, y = np.arange(160, dtype=np.float32).reshape(40, 4) / 160, np.arange(40) % 2
    data = split(Source(x, y, ("a", "b"), groups=np.arange(40) // 4), "films", seed=0)
    assert data.fingerprint == "b4a2dfad6c1c01e4"


def test_a_class_of_one_group_is_refused_by_its_name() -> None:
    groups = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2])
    with pytest.raises(DataError, match="signs: the groups of class 'b' can't be split into two"):
        split(made(groups), "signs", seed=0)


def test_frames_of_a_sign_are_not_trained_and_validated_on(tmp_path: Path) -> None:
    folder = tmp_path / "gtsrb" / "GTSRB"
    for label in range(43):
        for track in range(3):
            for frame in range(4):
                name = f"{track:05d}_{frame:05d}.ppm"
                image(folder / "Training" / f"{label:05d}" / name, (4, 4))
        image(folder / "Final_Test" / "Images" / f"{label:05d}.ppm", (4, 4))
    rows = "".join(f"{label:05d}.ppm;{label}\n" for label in range(43))
    (tmp_path / "gtsrb" / "GT-final_test.csv").write_text("Filename;ClassId\n" + rows)

    data = datasets.load("gtsrb", data_dir=tmp_path)

    assert_sound(data)
    paths = data.x_train.stored.paths
    held = [paths[row].rpartition("_")[0] for row in data.x_validation.rows]
    assert len(held) == 4 * len(set(held)) == 4 * 43
    assert not set(held) & {paths[row].rpartition("_")[0] for row in data.x_train.rows}


def test_npz_files_tell_groups(tmp_path: Path) -> None:
    """Each image holds the number of its group."""
    groups = np.repeat(np.arange(20, dtype=np.uint8), 2)
    x = np.tile(groups[:, np.newaxis, np.newaxis], (1, 3, 3))
    data = datasets.load(save(tmp_path, x_train=x, groups_train=groups))
    assert_sound(data)
    held, trained = (set(part[:][:, 0, 0, 0]) for part in (data.x_validation, data.x_train))
    assert (len(held), held & trained) == (2, set())


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        pytest.param(np.arange(7), r"groups_train is int64 of shape \(7,\)", id="too few"),
        pytest.param(np.ones((40, 1), int), r"of shape \(40, 1\)", id="a column"),
        pytest.param(np.ones(40), "groups_train is float64", id="no whole numbers"),
    ],
)
def test_npz_groups_that_can_not_be_are_refused(
    tmp_path: Path, groups: np.ndarray, says: str
) -> None:
    assert_refused(save(tmp_path, groups_train=groups), says)

"""Data sets: what each loader gives, how it is split, and what bad input is answered."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_files import PARTS, assert_refused, assert_sound, draw_classes, save
from sklearn.datasets import load_digits

from benchmark import datasets
from benchmark.datasets.splits import stratified
from benchmark.errors import DataError, UnknownName


@pytest.fixture(scope="module")
def digits() -> datasets.Dataset:
    return datasets.load("digits")


def test_digits_has_the_documented_sizes_and_all_of_the_digits(digits: datasets.Dataset) -> None:
    assert_sound(digits)
    assert [len(getattr(digits, f"y_{part}")) for part in PARTS] == [1294, 144, 359]
    assert digits.input_shape == (8, 8, 1)
    assert digits.class_names == tuple("0123456789")
    rows = np.concatenate([getattr(digits, f"x_{part}")[:].reshape(-1, 64) for part in PARTS])
    expected = load_digits().data.astype(np.float32) / 16
    assert sorted(map(bytes, rows)) == sorted(map(bytes, expected))


def test_a_split_is_fixed_by_its_seed(digits: datasets.Dataset) -> None:
    again, other = datasets.load("digits"), datasets.load("digits", split_seed=1)
    assert again.fingerprint == digits.fingerprint
    assert other.fingerprint != digits.fingerprint
    assert sorted(other.y_test) == sorted(digits.y_test)


def test_fingerprint_is_pinned_so_that_a_changed_split_is_noticed(
    digits: datasets.Dataset,
) -> None:
    assert digits.fingerprint == "41c72f3ceaf379ca"


@pytest.mark.parametrize(
    ("counts", "size", "expected"),
    [
        pytest.param([50, 30, 20], 10, [5, 3, 2], id="in proportion"),
        pytest.param([55, 25, 20], 10, [6, 2, 2], id="first of equal remainders"),
        pytest.param([1000, 2], 100, [100, 1], id="rare class still drawn"),
        pytest.param([2, 2], 3, [1, 1], id="one always left"),
    ],
)
def test_a_stratified_part_has_these_counts(
    counts: list[int], size: int, expected: list[int]
) -> None:
    y = np.repeat(np.arange(len(counts)), counts)
    part = stratified(y, size, rng=np.random.default_rng(0))
    assert len(set(part)) == len(part)
    assert np.bincount(y[part]).tolist() == expected


@pytest.mark.parametrize(
    ("y", "names", "says"),
    [
        pytest.param(
            [0] * 9 + [1] * 2,
            "ab",
            r"'b' has 2 example\(s\) to split into training, validation and test; at least 3",
            id="one too few for three parts",
        ),
        pytest.param([0] * 9 + [1] * 9, "abc", r"'c' has 0 example\(s\)", id="none of the last"),
    ],
)
def test_a_class_that_some_part_would_lack_is_refused(y: list[int], names: str, says: str) -> None:
    source = datasets.Source(np.zeros((len(y), 4), np.float32), np.array(y), tuple(names))
    with pytest.raises(DataError, match=says):
        datasets.split(source, "rare", seed=0)


def test_a_test_part_may_lack_classes_of_the_training_part(tmp_path: Path) -> None:
    draw_classes(tmp_path / "train", "abc")
    draw_classes(tmp_path / "test", "ac", each=2)
    folder = datasets.load(f"folder:{tmp_path}")
    assert (folder.classes, folder.y_test.tolist()) == (3, [0, 0, 2, 2])

    npz = datasets.load(save(tmp_path, y_test=np.ones(12, int)))
    assert (npz.classes, set(npz.y_test)) == (2, {1})


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        pytest.param("npz", {}, "names no path; write npz:FILE", id="npz without file"),
        pytest.param("folder:", {}, "names no path; write folder:DIR", id="folder without path"),
        pytest.param("digits:x", {}, "takes no path; write digits", id="digits with path"),
        pytest.param(
            "digits", {"image_size": 8}, "only folder:DIR, gtsrb, .* resize", id="digits resized"
        ),
        pytest.param("folder:x", {"image_size": 0}, "is not a size", id="zero image size"),
        pytest.param("digits", {"split_seed": -1}, "seed -1 is negative", id="negative seed"),
    ],
)
def test_bad_request_is_refused(name: str, options: dict[str, int], says: str) -> None:
    assert_refused(name, says, **options)


@pytest.mark.parametrize("call", [datasets.load, datasets.defaults])
def test_unknown_name_is_refused(call: Callable[[str], object]) -> None:
    with pytest.raises(UnknownName, match="unknown dataset 'minst'; did you mean 'mnist'"):
        call("minst")


def test_every_dataset_has_a_description_and_defaults() -> None:
    for entry in datasets.table.TABLE.values():
        assert entry.description
        assert set(entry.defaults.eps) == {"linf", "l2", "l1", "l0"}
        assert entry.defaults.epochs > 0


def test_importing_datasets_loads_no_heavy_library() -> None:
    heavy = ("torch", "torchvision", "tensorflow", "sklearn", "PIL")
    code = f"import sys, benchmark.datasets; print(*sys.modules.keys() & set({heavy!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("write", [save, draw_classes], ids=["npz", "folder"])
def test_a_pass_over_the_data_is_spared_where_no_file_has_changed(
    tmp_path: Path, write: Callable[[Path], str]
) -> None:
    name = write(tmp_path)
    first = datasets.load(name)
    # What is taken over is recognised by a fingerprint that no data have.
    before = dataclasses.replace(first.measured, fingerprint="0" * 16)
    assert datasets.load(name, before=before).fingerprint == "0" * 16
    file = next(path for path in tmp_path.rglob("*") if path.is_file())
    os.utime(file, ns=(0, 0))
    assert datasets.load(name, before=before).fingerprint == first.fingerprint


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_changed_file_of_each_part_is_noticed(tmp_path: Path, part: str) -> None:
    for each in ("train", "test"):
        draw_classes(tmp_path / each)
    first = datasets.load(f"folder:{tmp_path}")
    before = dataclasses.replace(first.measured, fingerprint="0" * 16)
    os.utime(tmp_path / part / "b" / "9.png", ns=(0, 0))
    assert datasets.load(f"folder:{tmp_path}", before=before).fingerprint == first.fingerprint


def test_a_file_that_changed_while_it_was_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, real = save(tmp_path), datasets.split

    def change_first(*given: Any, **options: Any) -> datasets.Dataset:
        time.sleep(0.02)  # a file system's clock has its grain
        save(tmp_path)
        return real(*given, **options)

    monkeypatch.setattr(datasets, "split", change_first)
    first = datasets.load(name).measured
    monkeypatch.undo()
    now = datasets.load(name).fingerprint
    assert first.fingerprint != now
    assert datasets.load(name, before=first).fingerprint == now

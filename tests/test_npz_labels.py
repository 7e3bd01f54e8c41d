"""Labels in npz files: which are taken, and what others are answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_files import arrays, assert_refused, assert_sound, save

from benchmark import datasets
from benchmark.datasets import npz


@pytest.mark.parametrize(
    "dtype", ["int8", "int64", ">i4", "int16 column"], ids=lambda name: name.replace(">", "big ")
)
def test_npz_maps_any_integer_labels_to_classes(tmp_path: Path, dtype: str) -> None:
    values = np.array([7, -3, 40])
    labels = {"y_train": values[np.arange(40) % 3], "y_test": values[np.arange(12) % 3]}
    labels = {key: y.astype(dtype.split()[0]) for key, y in labels.items()}
    if dtype.endswith("column"):
        labels = {key: y[:, np.newaxis] for key, y in labels.items()}
    data = datasets.load(save(tmp_path, **labels))
    assert_sound(data)
    assert data.class_names == ("-3", "7", "40")
    assert data.y_test[:3].tolist() == [1, 0, 2]


@pytest.mark.parametrize("kind", [np.str_, np.bytes_])
def test_labels_may_be_texts(tmp_path: Path, kind: Any) -> None:
    train, test = np.array(["dog", "cat"] * 20, kind), np.array(["cat"] * 12, kind)
    data = datasets.load(save(tmp_path, y_train=train, y_test=test))
    assert data.class_names == ("cat", "dog")
    assert set(data.y_test) == {0}


def test_the_largest_label_is_taken(tmp_path: Path) -> None:
    largest = 2**63 - 1
    labels = {"y_train": np.array([1, largest] * 20), "y_test": np.array([largest] * 12)}
    labels = {key: y.astype(np.uint64) for key, y in labels.items()}
    assert datasets.load(save(tmp_path, **labels)).class_names == ("1", str(largest))


def test_texts_in_utf_8_name_classes(tmp_path: Path) -> None:
    train, test = np.array([b"th\xc3\xa9", b"eau"] * 20), np.array([b"eau"] * 12)
    data = datasets.load(save(tmp_path, y_train=train, y_test=test))
    assert data.class_names == ("eau", "thé")


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        pytest.param(
            [b"caf\xe8", b"caf\xe9"],
            r"y_train holds bytes that are no UTF-8 \(b'caf\\xe8'\); save texts, such as",
            id="texts of another encoding",
        ),
        pytest.param(
            np.array([1, 2**63], np.uint64),
            "y_train holds 9223372036854775808; save whole numbers below",
            id="huge label",
        ),
    ],
)
def test_labels_that_would_become_others_are_refused(
    tmp_path: Path, labels: Any, says: str
) -> None:
    path = save(tmp_path, y_train=np.array(list(labels) * 20), y_test=np.array(list(labels) * 6))
    assert_refused(path, says)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param(["a", "b"], ("a", "b"), id="texts"),
        pytest.param([3, 5], ("3", "5"), id="beyond the names"),
        pytest.param([3, 4], ("3", "4"), id="just beyond"),
        pytest.param([-1, 2], ("-1", "2"), id="below"),
        pytest.param([1, 3], ("one", "three"), id="some of them"),
    ],
)
def test_names_by_place_are_for_whole_numbers_among_them(
    tmp_path: Path, labels: list[Any], expected: tuple[str, ...]
) -> None:
    np.savez(
        tmp_path / "data.npz",
        **arrays(y_train=np.array(labels * 20), y_test=np.array(labels * 6)),
    )
    found = npz.read(tmp_path / "data.npz", "it", names=("zero", "one", "two", "three"))
    assert found.class_names == expected

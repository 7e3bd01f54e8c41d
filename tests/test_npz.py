"""Arrays in npz files: what is read of them, and what bad ones are answered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_files import PARTS, RNG, arrays, assert_refused, assert_sound, save

from benchmark import datasets


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        pytest.param((3, 4), (3, 4, 1), id="grey without channel"),
        pytest.param((3, 4, 1), (3, 4, 1), id="grey"),
        pytest.param((3, 4, 3), (3, 4, 3), id="colour"),
        pytest.param((3, 8), (3, 8, 1), id="low and grey"),
        pytest.param((3, 4, 9), (3, 4, 9), id="low with many channels"),
        pytest.param((4, 9, 3), (4, 9, 3), id="low and wide"),
        pytest.param((7,), (7,), id="tabular"),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64", ">f4"])
def test_npz_keeps_values_in_these_shapes_and_types(
    tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...], dtype: str
) -> None:
    x = RNG.integers(0, 256, (12, *shape)).astype(np.uint8)
    given = x if dtype == "uint8" else (x / 255).astype(dtype)
    data = datasets.load(save(tmp_path, x_train=np.resize(given, (40, *shape)), x_test=given))
    assert_sound(data)
    assert data.input_shape == expected
    np.testing.assert_allclose(
        data.x_test[:].reshape(x.shape), x / 255, atol=1e-3 if dtype == "float16" else 1e-7
    )


def test_npz_keeps_the_test_part_and_holds_out_a_tenth_of_training(tmp_path: Path) -> None:
    given = arrays(y_test=np.array([1] * 6 + [0] * 6))
    np.savez(tmp_path / "data.npz", **given)
    data = datasets.load(f"npz:{tmp_path / 'data.npz'}")
    assert [len(getattr(data, f"y_{part}")) for part in PARTS] == [36, 4, 12]
    np.testing.assert_array_equal(data.y_test, given["y_test"])
    pairs = zip(given["x_train"], given["y_train"], strict=True)
    label_of = {image.tobytes(): label for image, label in pairs}
    for part in PARTS[:2]:
        images = np.rint(getattr(data, f"x_{part}")[:] * 255).astype(np.uint8)
        assert [label_of[image.tobytes()] for image in images] == list(getattr(data, f"y_{part}"))


def broken_npz(name: str) -> Callable[[Path], str]:
    """A data.npz that isn't one: its content by name."""
    contents = {
        "text": b"not an archive",
        "empty": b"",
        "cut": b"PK\x03\x04 cut short",
    }

    def write(path: Path) -> str:
        (path / "data.npz").write_bytes(contents[name])
        return f"npz:{path / 'data.npz'}"

    return write


def single_array(path: Path) -> str:
    np.save(path / "data.npy", np.zeros(3))
    return f"npz:{path / 'data.npy'}"


def nothing(path: Path) -> str:
    np.savez(path / "data.npz")
    return f"npz:{path / 'data.npz'}"


def changed(**changes: Any) -> Callable[[Path], str]:
    return lambda path: save(path, **changes)


def with_value(value: float) -> np.ndarray:
    x = np.zeros((40, 3, 3), np.float64)
    x[7, 1, 2] = value
    return x


PICKLED = np.array([{}] * 40, dtype=object)


BAD_NPZ = [
    pytest.param(lambda path: f"npz:{path}/none.npz", "there is no file", id="missing file"),
    pytest.param(broken_npz("text"), "is no npz file", id="text file"),
    pytest.param(broken_npz("empty"), "can't be read", id="empty file"),
    pytest.param(broken_npz("cut"), "can't be read", id="cut archive"),
    pytest.param(single_array, "is a single array", id="npy instead of npz"),
    pytest.param(
        lambda path: save(path, x_train=None, X_train=np.zeros((40, 3, 3))),
        r"no array 'x_train' .* did you mean 'X_train'\?",
        id="misspelt key",
    ),
    pytest.param(changed(y_test=None), r"no array 'y_test' .*; needed: x_train", id="missing key"),
    pytest.param(nothing, r"no array 'x_train' \(it holds nothing\); needed: x_t", id="no array"),
    pytest.param(
        changed(x_train=None, y_train=None, x_test=None, y_test=None, train_images=np.zeros(3)),
        r"no array 'x_train' \(it holds train_images\)",
        id="a part of other names",
    ),
    pytest.param(changed(x_train=PICKLED), "x_train holds pickled objects", id="pickled images"),
    pytest.param(changed(y_train=PICKLED), "y_train holds pickled objects", id="pickled labels"),
    pytest.param(
        changed(y_train=np.zeros(39, int)),
        r"y_train has shape \(39,\) for 40 images",
        id="too few labels",
    ),
    pytest.param(changed(y_test=np.eye(12, 2)), r"one-hot labels\?", id="one-hot labels"),
    pytest.param(
        changed(y_test=np.arange(12) / 2), "labels must be integers or texts", id="float labels"
    ),
    pytest.param(changed(y_train=np.array(1)), r"y_train has shape \(\)", id="scalar label"),
    pytest.param(
        changed(x_train=np.zeros((40, 3, 3), np.int32)),
        "x_train is int32; save it as uint8",
        id="wrong type",
    ),
    pytest.param(changed(x_train=with_value(np.nan)), "x_train holds NaN", id="NaN"),
    pytest.param(changed(x_train=with_value(np.inf)), "from 0 to inf", id="infinity"),
    pytest.param(
        changed(x_train=np.eye(3, dtype=np.uint8)[np.newaxis].repeat(40, 0)),
        r"x_train is uint8 and holds 0 and 1 alone, .*; save x.astype\('float32'\)",
        id="bytes up to 1",
    ),
    pytest.param(changed(x_train=with_value(-0.5)), "from -0.5 to 0; .*: rescale", id="below 0"),
    pytest.param(changed(x_train=with_value(255)), "from 0 to 255; .*: divide", id="up to 255"),
    pytest.param(changed(x_train=with_value(256)), "from 0 to 256; .*: rescale", id="up to 256"),
    pytest.param(changed(x_train=np.zeros(40)), r"x_train has shape \(40,\)", id="no image axes"),
    pytest.param(
        changed(x_train=np.zeros((0, 3, 3)), y_train=np.zeros(0, int)), "not empty", id="no images"
    ),
    *(
        pytest.param(
            changed(x_train=np.zeros((40, channels, 8, 9))),
            "looks like channels first",
            id=f"{channels} channels first",
        )
        for channels in (1, 2, 3, 4)
    ),
    pytest.param(changed(x_train=with_value(1.0001)), "from 0 to 1.0001", id="above rounding"),
    pytest.param(
        changed(
            **{f"{part}_images": np.zeros((4, 3, 3)) for part in ("train", "test")}, x_train=None
        ),
        "no array 'x_train'",
        id="two schemes of names",
    ),
    pytest.param(
        changed(x_test=np.zeros((12, 3, 4))),
        r"x_train is \(3, 3, 1\) but one of x_test is \(3, 4, 1\)",
        id="parts differ in shape",
    ),
    pytest.param(
        changed(y_test=np.arange(12) % 3), "holds the label 2, which y_train lacks", id="new label"
    ),
    pytest.param(
        changed(y_test=np.array(["0", "1"] * 6)),
        "y_train is int64 but y_test is <U1; save both as",
        id="labels of two kinds",
    ),
    pytest.param(
        changed(y_train=np.array(["cat", "dog"] * 20), y_test=np.array(["cat", "cow"] * 6)),
        "holds the label cow, which y_train lacks",
        id="new text label",
    ),
    pytest.param(
        changed(y_train=np.zeros(40, int), y_test=np.zeros(12, int)),
        "classes found: 0; at least 2",
        id="one class",
    ),
    pytest.param(
        changed(y_train=np.array([1] + [0] * 39)),
        r"class '1' has 1 example\(s\) to split into training and validation; at least 2",
        id="class too rare",
    ),
    pytest.param(
        changed(class_names=np.array(["no"])),
        r"class_names is <U2 of shape \(1,\); save a text for each of the 2 labels",
        id="too few names",
    ),
]


@pytest.mark.parametrize(("write", "says"), BAD_NPZ)
def test_bad_npz_is_refused(tmp_path: Path, write: Callable[[Path], str], says: str) -> None:
    assert_refused(write(tmp_path), says)


def with_validation(**changes: Any) -> dict[str, np.ndarray]:
    """Sound npz content with a part for choosing."""
    x, y = RNG.integers(0, 256, (6, 3, 3), dtype=np.uint8), np.array([1, 0] * 3)
    return arrays(**{"x_val": x, "y_val": y, **changes})


def test_the_validation_part_of_an_npz_is_kept(tmp_path: Path) -> None:
    given = with_validation()
    np.savez(tmp_path / "data.npz", **given)
    data = datasets.load(f"npz:{tmp_path / 'data.npz'}")
    assert [len(getattr(data, f"y_{part}")) for part in PARTS] == [40, 6, 12]
    np.testing.assert_array_equal(np.rint(data.x_validation[:][..., 0] * 255), given["x_val"])
    assert data.y_validation.tolist() == [1, 0] * 3


def renamed(there: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Under the names of MedMNIST, labels as a column."""
    return {
        f"{part}_{long}": there[f"{short}_{part}"].reshape(-1, *shape)
        for part in ("train", "val", "test")
        for short, long, shape in (("x", "images", (3, 3)), ("y", "labels", (1,)))
        if f"{short}_{part}" in there
    }


@pytest.mark.parametrize("there", [with_validation(), arrays()], ids=["whole", "no validation"])
def test_medmnists_names_are_taken(tmp_path: Path, there: dict[str, np.ndarray]) -> None:
    named = datasets.load(save(tmp_path, **there))
    np.savez(tmp_path / "med.npz", **renamed(there))
    assert datasets.load(f"npz:{tmp_path / 'med.npz'}").fingerprint == named.fingerprint


def test_our_names_go_before_those_of_medmnist(tmp_path: Path) -> None:
    there = arrays()
    named = datasets.load(save(tmp_path, **there))
    both = datasets.load(save(tmp_path, **there, **renamed(with_validation())))
    assert both.fingerprint == named.fingerprint


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"y_val": None}, "holds 'x_val' alone; both", id="no labels"),
        pytest.param(
            {"x_val": np.zeros((6, 3, 4), np.uint8)},
            r"one of x_val is \(3, 4, 1\)",
            id="of another size",
        ),
        pytest.param(
            {"y_val": np.array([2] * 6)}, "y_val holds the label 2, which y_train", id="new label"
        ),
    ],
)
def test_a_bad_validation_part_is_refused(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    assert_refused(save(tmp_path, **with_validation(**changes)), says)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"class_names": ["no", "yes"]}, ("no", "yes"), id="class_names"),
        pytest.param({"classes": ["no", "yes"]}, ("no", "yes"), id="classes"),
        pytest.param({"classes": [3, 4]}, ("0", "1"), id="classes of something else"),
        pytest.param({"classes": ["a", "b", "c"]}, ("0", "1"), id="more classes than labels"),
        pytest.param({"classes": [{}, 4]}, ("0", "1"), id="pickled classes"),
        pytest.param({}, ("0", "1"), id="none"),
    ],
)
def test_classes_of_an_npz_are_called(
    tmp_path: Path, given: dict[str, Any], expected: tuple[str, ...]
) -> None:
    names = {key: np.array(value) for key, value in given.items()}
    assert datasets.load(save(tmp_path, **names)).class_names == expected


@pytest.mark.parametrize("value", [-1e-7, 1.0000002], ids=["below", "above"])
def test_floats_outside_by_rounding_are_clipped(tmp_path: Path, value: float) -> None:
    x = np.full((40, 3, 3), 0.5, np.float32)
    x[::2] = value
    data = datasets.load(save(tmp_path, x_train=x))
    assert set(np.unique(data.x_train[:])) == {0.5, round(value)}

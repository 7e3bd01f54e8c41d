"""Data sets: what each loader gives, how it is split, and what bad input is answered."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from benchmark import datasets
from benchmark.datasets.splits import stratified
from benchmark.errors import DataError, UnknownName

PARTS = ("train", "validation", "test")
RNG = np.random.default_rng(0)


def arrays(**changes: Any) -> dict[str, np.ndarray]:
    """Sound npz content: 40 training and 12 test images of 3x3, classes 0 and 1."""
    sound = {
        "x_train": RNG.integers(0, 256, (40, 3, 3), dtype=np.uint8),
        "y_train": np.arange(40) % 2,
        "x_test": RNG.integers(0, 256, (12, 3, 3), dtype=np.uint8),
        "y_test": np.arange(12) % 2,
    }
    return {key: value for key, value in (sound | changes).items() if value is not None}


def save(path: Path, **changes: Any) -> str:
    np.savez(path / "data.npz", **arrays(**changes))
    return f"npz:{path / 'data.npz'}"


def draw(path: Path, *, size: tuple[int, int] = (4, 4), mode: str = "L", value: int = 0) -> None:
    """Write one image of a single level of grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).convert(mode).save(path)


def draw_classes(root: Path, classes: str = "ab", *, each: int = 10, **options: Any) -> str:
    for name in classes:
        for index in range(each):
            draw(root / name / f"{index}.png", value=index, **options)
    return f"folder:{root}"


def write_mnist(root: Path, *, train: int = 120, test: int = 20) -> dict[str, bytes]:
    """MNIST's four files with few examples, labels 0 to 9 in turn."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    content = {}
    for prefix, count in (("train", train), ("t10k", test)):
        images = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        header = np.array([0x803, count, 28, 28], ">i4").tobytes()
        content[f"{prefix}-images-idx3-ubyte"] = header + images.tobytes()
        header = np.array([0x801, count], ">i4").tobytes()
        content[f"{prefix}-labels-idx1-ubyte"] = header + bytes(i % 10 for i in range(count))
    for name, data in content.items():
        (raw / name).write_bytes(data)
    return content


def assert_sound(data: datasets.Dataset) -> None:
    """The promises that every data set keeps."""
    for part in PARTS:
        x, y = getattr(data, f"x_{part}")[:], getattr(data, f"y_{part}")
        assert x.dtype == np.float32
        assert y.dtype == np.int64
        assert x.flags.c_contiguous
        assert x.flags.writeable
        assert x.shape == (len(y), *data.input_shape)
        assert x.min() >= 0
        assert x.max() <= 1
        assert set(y) == set(range(data.classes))


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
    ("shape", "expected"),
    [
        pytest.param((3, 4), (3, 4, 1), id="grey without channel"),
        pytest.param((3, 4, 1), (3, 4, 1), id="grey"),
        pytest.param((3, 4, 3), (3, 4, 3), id="colour"),
        pytest.param((7,), (7,), id="tabular"),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
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
    pytest.param(changed(x_train=with_value(-0.5)), "from -0.5 to 0; .*: rescale", id="below 0"),
    pytest.param(changed(x_train=with_value(255)), "from 0 to 255; .*: divide", id="up to 255"),
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
]


def assert_refused(name: str, says: str, **options: Any) -> None:
    with pytest.raises(DataError, match=says) as caught:
        datasets.load(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("write", "says"), BAD_NPZ)
def test_bad_npz_is_refused(tmp_path: Path, write: Callable[[Path], str], says: str) -> None:
    assert_refused(write(tmp_path), says)


def test_folder_is_split_by_seed(tmp_path: Path) -> None:
    draw_classes(tmp_path)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a" / ".DS_Store").write_bytes(b"")
    (tmp_path / "README.txt").write_text("left out")
    data = datasets.load(f"folder:{tmp_path}")
    assert_sound(data)
    assert data.class_names == ("a", "b")
    assert [len(getattr(data, f"y_{part}")) for part in PARTS] == [14, 2, 4]
    levels = [getattr(data, f"x_{part}")[:][:, 0, 0, 0] * 255 for part in PARTS]
    assert np.sort(np.rint(np.concatenate(levels))).tolist() == [i // 2 for i in range(20)]


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", ".DS_Store", "Desktop.ini"])
def test_what_systems_leave_in_a_folder_is_no_image(tmp_path: Path, name: str) -> None:
    plain = datasets.load(draw_classes(tmp_path)).fingerprint
    (tmp_path / "a" / name).write_bytes(b"no image")
    (tmp_path / "__MACOSX").mkdir()
    assert datasets.load(f"folder:{tmp_path}").fingerprint == plain


def test_a_test_part_may_lack_classes_of_the_training_part(tmp_path: Path) -> None:
    draw_classes(tmp_path / "train", "abc")
    draw_classes(tmp_path / "test", "ac", each=2)
    folder = datasets.load(f"folder:{tmp_path}")
    assert (folder.classes, folder.y_test.tolist()) == (3, [0, 0, 2, 2])

    npz = datasets.load(save(tmp_path, y_test=np.ones(12, int)))
    assert (npz.classes, set(npz.y_test)) == (2, {1})


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


def test_medmnists_names_are_taken(tmp_path: Path) -> None:
    there = with_validation()
    named = datasets.load(save(tmp_path, **there))
    renamed = {
        f"{part}_{long}": there[f"{short}_{part}"].reshape(-1, *shape)
        for part in ("train", "val", "test")
        for short, long, shape in (("x", "images", (3, 3)), ("y", "labels", (1,)))
    }
    np.savez(tmp_path / "med.npz", **renamed)
    assert datasets.load(f"npz:{tmp_path / 'med.npz'}").fingerprint == named.fingerprint


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
        pytest.param({}, ("0", "1"), id="none"),
    ],
)
def test_classes_of_an_npz_are_called(
    tmp_path: Path, given: dict[str, Any], expected: tuple[str, ...]
) -> None:
    names = {key: np.array(value) for key, value in given.items()}
    assert datasets.load(save(tmp_path, **names)).class_names == expected


@pytest.mark.parametrize("kind", [np.str_, np.bytes_])
def test_labels_may_be_texts(tmp_path: Path, kind: Any) -> None:
    train, test = np.array(["dog", "cat"] * 20, kind), np.array(["cat"] * 12, kind)
    data = datasets.load(save(tmp_path, y_train=train, y_test=test))
    assert data.class_names == ("cat", "dog")
    assert set(data.y_test) == {0}


def test_floats_outside_by_rounding_are_clipped(tmp_path: Path) -> None:
    x = np.full((40, 3, 3), 1.0000002, np.float32)
    x[0] = -1e-7
    data = datasets.load(save(tmp_path, x_train=x))
    assert {float(data.x_train[:].max()), float(data.x_validation[:].max())} == {1.0}
    assert float(data.x_train[:].min()) in (0.0, 1.0)


def test_folder_keeps_its_own_test_part(tmp_path: Path) -> None:
    draw_classes(tmp_path / "train", "ba", size=(5, 4))
    draw_classes(tmp_path / "test", "ab", each=3, size=(5, 4))
    data = datasets.load(f"folder:{tmp_path}")
    assert_sound(data)
    assert data.input_shape == (4, 5, 1)
    assert data.y_test.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(data.x_test[:][:, 0, 0, 0] * 255, [0, 1, 2, 0, 1, 2], atol=1e-5)


@pytest.mark.parametrize(
    ("mode", "suffix", "channels"),
    [
        pytest.param("L", "png", 1, id="grey"),
        pytest.param("1", "png", 1, id="black and white"),
        pytest.param("LA", "png", 1, id="grey with alpha"),
        pytest.param("RGB", "jpg", 3, id="colour"),
        pytest.param("RGBA", "png", 3, id="colour with alpha"),
        pytest.param("P", "png", 3, id="palette"),
        pytest.param("CMYK", "jpg", 3, id="print colours"),
    ],
)
def test_one_image_of_this_mode_gives_all_these_channels(
    tmp_path: Path, mode: str, suffix: str, channels: int
) -> None:
    name = draw_classes(tmp_path)
    draw(tmp_path / "a" / f"other.{suffix}", mode=mode, value=255)
    data = datasets.load(name)
    assert_sound(data)
    assert data.input_shape == (4, 4, channels)
    whitest = max(getattr(data, f"x_{part}")[:].max() for part in PARTS)
    assert whitest == 1


def test_image_size_resizes_to_a_square(tmp_path: Path) -> None:
    name = draw_classes(tmp_path, size=(9, 4))
    draw(tmp_path / "a" / "larger.png", size=(20, 30))
    data = datasets.load(name, image_size=6)
    assert_sound(data)
    assert data.input_shape == (6, 6, 1)


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    name = draw_classes(tmp_path, size=(4, 6))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    Image.new("L", (6, 4)).save(tmp_path / "a" / "turned.jpg", exif=exif)
    assert datasets.load(name).input_shape == (6, 4, 1)


def build(*steps: Callable[[Path], object]) -> Callable[[Path], None]:
    def run(root: Path) -> None:
        for step in steps:
            step(root)

    return run


SIXTEEN_BIT = np.zeros((4, 4), np.uint16)
BAD_FOLDER = [
    pytest.param(build(), "holds no class folders", id="empty folder"),
    pytest.param(
        build(lambda r: draw(r / "0.png")), "holds no class folders", id="images without classes"
    ),
    pytest.param(
        build(draw_classes, lambda r: (r / "c").mkdir()), "/c is empty", id="empty class folder"
    ),
    pytest.param(
        build(lambda r: draw_classes(r, "a")), "classes found: a; at least 2", id="one class"
    ),
    pytest.param(
        build(draw_classes, lambda r: draw_classes(r, "c", each=2)),
        r"class 'c' has 2 example\(s\) .*; at least 3",
        id="class too rare",
    ),
    pytest.param(
        build(draw_classes, lambda r: (r / "b" / "bad.png").write_text("text")),
        r"/b/bad\.png is no readable image",
        id="not an image",
    ),
    pytest.param(
        build(
            lambda r: draw_classes(r, size=(50, 50)),
            lambda r: (r / "b" / "3.png").write_bytes((r / "b" / "3.png").read_bytes()[:60]),
        ),
        r"/b/3\.png is no readable image",
        id="cut image",
    ),
    pytest.param(
        build(draw_classes, lambda r: Image.fromarray(SIXTEEN_BIT).save(r / "a" / "deep.png")),
        r"/a/deep\.png has pixels of type I;16; save it as 8-bit",
        id="16-bit image",
    ),
    pytest.param(
        build(draw_classes, lambda r: draw(r / "b" / "4.png", size=(9, 8))),
        r"/a/0\.png is 4x4 but .*/b/4\.png is 9x8; give --image-size",
        id="sizes differ",
    ),
    pytest.param(
        build(draw_classes, lambda r: draw_classes(r / "a")),
        "/a/a is a folder inside a class folder",
        id="nested folder",
    ),
    pytest.param(
        build(lambda r: draw_classes(r / "train")), "has train/ but no test/", id="no test folder"
    ),
    pytest.param(
        build(lambda r: draw_classes(r / "test")), "has test/ but no train/", id="no train folder"
    ),
    pytest.param(
        build(lambda r: draw_classes(r / "train"), lambda r: draw_classes(r / "val")),
        r"has train/ \(and val/, which bench doesn't read\) but no test/; .* rename val/ to test/",
        id="val for test",
    ),
    pytest.param(
        build(lambda r: draw_classes(r / "train"), lambda r: draw_classes(r / "test", "abc")),
        "class 'c' is in test/ but not in train/",
        id="class not in train",
    ),
]


@pytest.mark.parametrize(("prepare", "says"), BAD_FOLDER)
def test_bad_folder_is_refused(tmp_path: Path, prepare: Callable[[Path], None], says: str) -> None:
    prepare(tmp_path)
    assert_refused(f"folder:{tmp_path}", says)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    assert_refused(f"folder:{tmp_path}/none", "there is no folder")


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
    assert list(datasets.DESCRIPTIONS) == list(datasets.TABLE)
    for name in ("digits", "mnist", "npz:x.npz", "folder:x"):
        defaults = datasets.defaults(name)
        assert set(defaults.eps) == {"linf", "l2", "l1", "l0"}
        assert defaults.epochs > 0


def test_mnist_files_are_read_and_split(tmp_path: Path) -> None:
    content = write_mnist(tmp_path)
    data = datasets.load("mnist", data_dir=tmp_path)
    assert_sound(data)
    assert [len(getattr(data, f"y_{part}")) for part in PARTS] == [110, 10, 20]
    pixels = np.frombuffer(content["t10k-images-idx3-ubyte"], np.uint8, offset=16)
    np.testing.assert_allclose(data.x_test[:].ravel(), pixels / np.float32(255))
    assert data.y_test.tolist() == list(range(10)) * 2


def test_real_mnist_has_the_documented_sizes() -> None:
    folder = os.environ.get("BENCH_DATA_DIR")
    if not folder:
        pytest.skip("BENCH_DATA_DIR is not set; it names the folder that holds MNIST/raw")
    data = datasets.load("mnist", data_dir=Path(folder))
    assert_sound(data)
    assert data.input_shape == (28, 28, 1)
    assert [len(getattr(data, f"y_{part}")) for part in PARTS] == [55_000, 5_000, 10_000]
    assert data.y_test[:5].tolist() == [7, 2, 1, 0, 4]
    assert data.fingerprint == "b79ab33e9731b826"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        pytest.param("train-images-idx3-ubyte", b"", "can't be read", id="empty"),
        pytest.param("train-labels-idx1-ubyte", b"text, no IDX", "can't be read", id="text"),
        pytest.param(
            "t10k-labels-idx1-ubyte",
            np.array([0x801, 2], ">i4").tobytes() + b"\0\1",
            "20 images but 2 labels",
            id="too few labels",
        ),
        pytest.param(
            "t10k-labels-idx1-ubyte",
            np.array([0x801, 20], ">i4").tobytes() + bytes(range(20)),
            "a label above 9",
            id="label above 9",
        ),
    ],
)
def test_bad_mnist_file_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    write_mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / name).write_bytes(content)
    assert_refused("mnist", says, data_dir=tmp_path)


def test_absent_mnist_says_where_it_looked_and_what_helps(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    says = f"is not in {raw}, and downloading was not allowed; .*--data-dir.*--download"
    assert_refused("mnist", says, data_dir=tmp_path)


def test_mnist_without_a_folder_is_looked_for_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert_refused("mnist", f"is not in {tmp_path / 'meta-adv-bench' / 'MNIST' / 'raw'}")


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder and logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder behind torchvision's only mirror, on this machine, with the four files packed."""
    from torchvision.datasets import MNIST

    folder = tmp_path / "mirror"
    folder.mkdir()
    resources = []
    for name, content in write_mnist(tmp_path / "origin").items():
        packed = gzip.compress(content)
        (folder / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(MNIST, "resources", resources)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        yield folder
        server.shutdown()


def test_the_files_that_are_downloaded_are_those_that_are_read(
    tmp_path: Path, mirror: Path
) -> None:
    from benchmark.datasets import download

    download.fetch("mnist", str(tmp_path / "new"))
    data = datasets.load("mnist", data_dir=tmp_path / "new")
    expected = datasets.load("mnist", data_dir=tmp_path / "origin")
    assert data.fingerprint == expected.fingerprint


def test_failed_download_says_what_was_tried_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:1")
    says = "downloading them there failed .*Tried http.*; check the network .*--data-dir"
    assert_refused("mnist", says, data_dir=tmp_path / "new" / "deep", download=True)
    assert not (tmp_path / "new").exists()


def test_importing_datasets_loads_no_heavy_library() -> None:
    heavy = ("torch", "torchvision", "tensorflow", "sklearn", "PIL")
    code = f"import sys, benchmark.datasets; print(*sys.modules.keys() & set({heavy!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []

"""Named data sets: each is read as torchvision's loaders leave it, and bad files are refused."""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from benchmark import datasets
from benchmark.datasets.image_sets import OBJECTS, SIGNS
from benchmark.errors import DataError, UnknownName

RNG = np.random.default_rng(0)
PARTS = ("train", "validation", "test")


def pickled(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


def as_python_2(images: np.ndarray, labels: list[int]) -> bytes:
    """A batch as CIFAR's authors pickled it: by Python 2, with texts of bytes."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def whole(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    dtype = b"cnumpy\ndtype\n(" + text(b"u1") + b"K\0K\1tR(K\3" + text(b"|") + b"NNN"
    dtype += whole(-1) * 2 + b"K\0tb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0t" + text(b"b") + b"tR"
    shape = b"(" + whole(images.shape[0]) + whole(images.shape[1]) + b"t"
    data = b"T" + struct.pack("<i", images.size) + images.tobytes()
    array = empty + b"(K\1" + shape + dtype + b"\x89" + data + b"tb"
    listed = b"](" + b"".join(map(whole, labels)) + b"e"
    return b"\x80\2}(" + text(b"data") + array + text(b"labels") + listed + b"u."


def cifar10(root: Path) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        images = RNG.integers(0, 256, (20, 3072), dtype=np.uint8)
        (folder / name).write_bytes(as_python_2(images, [i % 10 for i in range(20)]))
    pickled(folder / "batches.meta", {"label_names": [f"class {i}" for i in range(10)]})


def cifar100(root: Path) -> None:
    folder = root / "cifar-100-python"
    for name, count in (("train", 300), ("test", 100)):
        images = RNG.integers(0, 256, (count, 3072), dtype=np.uint8)
        pickled(folder / name, {"data": images, "fine_labels": [i % 100 for i in range(count)]})
    pickled(folder / "meta", {"fine_label_names": [f"class {i}" for i in range(100)]})


def svhn(root: Path) -> None:
    for part, count in (("train", 60), ("test", 20)):
        images = RNG.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        labels = np.arange(count)[:, np.newaxis] % 10 + 1
        savemat(root / f"{part}_32x32.mat", {"X": images, "y": labels.astype(np.uint8)})


def idx(folder: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        raw = root / folder / "raw"
        raw.mkdir(parents=True)
        for prefix, count in (("train", 120), ("t10k", 20)):
            images = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8).tobytes()
            header = struct.pack(">4i", 0x803, count, 28, 28)
            (raw / f"{prefix}-images-idx3-ubyte").write_bytes(header + images)
            labels = struct.pack(">2i", 0x801, count) + bytes(i % 10 for i in range(count))
            (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(labels)

    return write


def image(path: Path, size: tuple[int, int], mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (size[1], size[0]), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def gtsrb(root: Path) -> None:
    folder = root / "gtsrb" / "GTSRB"
    for label in range(43):
        training = folder / "Training" / f"{label:05d}"
        for number in range(2):
            image(training / f"{number:05d}_00000.ppm", (25 + label, 30))
        (training / "GT-x.csv").write_text("Filename;ClassId")
        image(folder / "Final_Test" / "Images" / f"{label:05d}.ppm", (40, 40 + label))
    rows = "".join(f"{label:05d}.ppm;40;{label}\n" for label in range(43))
    (root / "gtsrb" / "GT-final_test.csv").write_text("Filename;Width;ClassId\n" + rows)


def omniglot(root: Path) -> None:
    for alphabet in ("Greek", "Latin"):
        for character in range(2):
            for number in range(10):
                name = f"{alphabet}/character{character:02d}/{number}.png"
                image(root / "omniglot-py" / "images_background" / name, (105, 105), "1")


def imagenette(root: Path) -> None:
    for part, count in (("train", 2), ("val", 1)):
        for wnid in OBJECTS:
            for number in range(count):
                image(root / "imagenette2-160" / part / wnid / f"{number}.JPEG", (160, 200))


def medmnist(root: Path) -> None:
    given: dict[str, Any] = {}
    for part, count in (("train", 40), ("val", 6), ("test", 10)):
        given[f"{part}_images"] = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        given[f"{part}_labels"] = np.arange(count, dtype=np.uint8)[:, np.newaxis] % 2
    np.savez(root / "pneumoniamnist.npz", **given)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MedMNIST's package, as far as it is read."""
    folder = tmp_path / "packages" / "medmnist"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('it would load a framework')")
    sets = {
        "pneumoniamnist": {
            "task": "binary-class",
            "label": {"0": "normal", "1": "pneumonia"},
            "url": "",
        },
        "organamnist": {
            "task": "multi-class",
            "label": {f"{n}": f"organ {n}" for n in range(11)},
            "url": "",
        },
        "organmnist3d": {"task": "multi-class", "label": {}, "url": ""},
        "chestmnist": {"task": "multi-label, binary-class", "label": {}, "url": ""},
    }
    (folder / "info.py").write_text(f"INFO = {sets!r}")
    monkeypatch.syspath_prepend(folder.parent)


SETS = [
    pytest.param(
        "cifar10", cifar10, (90, 10, 20), (32, 32, 3), ("class 0", "class 9"), id="cifar10"
    ),
    pytest.param(
        "cifar100", cifar100, (200, 100, 100), (32, 32, 3), ("class 0", "class 99"), id="cifar100"
    ),
    pytest.param("svhn", svhn, (50, 10, 20), (32, 32, 3), ("0", "9"), id="svhn"),
    pytest.param("mnist", idx("MNIST"), (110, 10, 20), (28, 28, 1), ("0", "9"), id="mnist"),
    pytest.param(
        "fashion-mnist",
        idx("FashionMNIST"),
        (110, 10, 20),
        (28, 28, 1),
        ("T-shirt/top", "ankle boot"),
        id="fashion-mnist",
    ),
    pytest.param("kmnist", idx("KMNIST"), (110, 10, 20), (28, 28, 1), ("o", "wo"), id="kmnist"),
    pytest.param("gtsrb", gtsrb, (43, 43, 43), (32, 32, 3), (SIGNS[0], SIGNS[42]), id="gtsrb"),
    pytest.param(
        "omniglot",
        omniglot,
        (28, 4, 8),
        (28, 28, 1),
        ("Greek/character00", "Latin/character01"),
        id="omniglot",
    ),
    pytest.param(
        "imagenette",
        imagenette,
        (10, 10, 10),
        (128, 128, 3),
        ("tench", "parachute"),
        id="imagenette",
    ),
    pytest.param(
        "medmnist:pneumoniamnist",
        medmnist,
        (40, 6, 10),
        (28, 28, 1),
        ("normal", "pneumonia"),
        id="medmnist",
    ),
]


@pytest.mark.parametrize(("name", "write", "sizes", "shape", "ends"), SETS)
@pytest.mark.usefixtures("package")
def test_a_named_set_has_these_parts(
    tmp_path: Path,
    name: str,
    write: Callable[[Path], None],
    sizes: tuple[int, ...],
    shape: tuple[int, ...],
    ends: tuple[str, str],
) -> None:
    write(tmp_path)
    data = datasets.load(name, data_dir=tmp_path)
    assert tuple(len(getattr(data, f"y_{part}")) for part in PARTS) == sizes
    assert data.input_shape == shape
    assert (data.class_names[0], data.class_names[-1]) == ends
    for part in PARTS:
        x = getattr(data, f"x_{part}")[:]
        assert x.dtype == np.float32
        assert 0 <= x.min() < x.max() <= 1
    again = datasets.load(name, data_dir=tmp_path)
    assert again.fingerprint == data.fingerprint


@pytest.mark.parametrize(("name", "write", "sizes", "shape", "ends"), SETS)
@pytest.mark.usefixtures("package")
def test_an_absent_set_says_what_to_put_where(
    tmp_path: Path, name: str, write: Any, sizes: Any, shape: Any, ends: Any
) -> None:
    says = f"^{name}: .* is not in {tmp_path}.*--data-dir with the folder that holds .*--download"
    with pytest.raises(DataError, match=says):
        datasets.load(name, data_dir=tmp_path)


def test_cifar_is_read_by_colours_and_rows(tmp_path: Path) -> None:
    cifar10(tmp_path)
    images = np.arange(20 * 3072, dtype=np.int64).reshape(20, 3072) % 251
    batch = as_python_2(images.astype(np.uint8), [i % 10 for i in range(20)])
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(batch)
    x = datasets.load("cifar10", data_dir=tmp_path).x_test[:]
    expected = images.reshape(20, 3, 32, 32).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(np.rint(x * 255), expected)


class Harmful:
    def __reduce__(self) -> Any:
        return print, ("this code was run",)


def test_no_code_in_a_pickle_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cifar10(tmp_path)
    pickled(tmp_path / "cifar-10-batches-py" / "data_batch_3", {"data": Harmful()})
    with pytest.raises(DataError, match=r"data_batch_3 can't be read \(it calls .*print"):
        datasets.load("cifar10", data_dir=tmp_path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"", "can't be read", id="empty"),
        pytest.param(b"text", "can't be read", id="text"),
        pytest.param(pickle.dumps({"labels": [0]}, 2), r"can't be read \('data'\)", id="no images"),
        pytest.param(pickle.dumps([1, 2], 2), "can't be read", id="a list"),
        pytest.param(
            as_python_2(np.zeros((2, 3072), np.uint8), [0, 10]), "a label above 9", id="label"
        ),
        pytest.param(
            as_python_2(np.zeros((2, 3000), np.uint8), [0, 1]), "can't be read", id="size"
        ),
        pytest.param(
            as_python_2(np.zeros((2, 3072), np.uint8), [0, -1]), "can't be read", id="below 0"
        ),
        pytest.param(
            pickle.dumps({"data": np.zeros((2, 3072)), "labels": [0, 1]}, 2),
            r"can't be read \(images of float64",
            id="floats",
        ),
    ],
)
@pytest.mark.parametrize("file", ["data_batch_1", "test_batch"])
def test_a_bad_batch_is_refused(tmp_path: Path, file: str, content: bytes, says: str) -> None:
    cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / file).write_bytes(content)
    with pytest.raises(DataError, match=says):
        datasets.load("cifar10", data_dir=tmp_path)


@pytest.mark.parametrize("folder", ["", "omniglot-py"])
def test_the_small_sets_of_omniglot_are_taken_together_once(tmp_path: Path, folder: str) -> None:
    for number, alphabets in ((1, ("Greek", "Latin")), (2, ("Latin", "Tifinagh"))):
        for alphabet in alphabets:
            for drawing in range(5):
                name = f"images_background_small{number}/{alphabet}/character01/{drawing}.png"
                image(tmp_path / folder / name, (105, 105), "1")
    data = datasets.load("omniglot", data_dir=tmp_path)
    assert data.class_names == tuple(
        f"{name}/character01" for name in ("Greek", "Latin", "Tifinagh")
    )
    assert sum(len(getattr(data, f"y_{part}")) for part in PARTS) == 15


@pytest.mark.parametrize(
    ("name", "write", "says"),
    [
        ("gtsrb", gtsrb, "86 training and 43 test images, published are 26,640 and 12,630"),
        ("omniglot", omniglot, "40 of 19,280 images"),
        ("imagenette", imagenette, "20 training and 10 test images, published are 9,469 and 3,925"),
    ],
)
def test_a_set_that_was_unpacked_in_part_is_told(
    tmp_path: Path, name: str, write: Callable[[Path], None], says: str
) -> None:
    write(tmp_path)
    data = datasets.load(name, data_dir=tmp_path)
    assert data.record()["incomplete"] == says
    told = f"{name} is not as published: {says}; where a download was interrupted"
    assert data.notices()[0].startswith(told)


def test_a_whole_set_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.datasets.image_sets._GTSRB", (86, 43))
    gtsrb(tmp_path)
    data = datasets.load("gtsrb", data_dir=tmp_path)
    assert "incomplete" not in data.record()
    assert data.notices() == []


def test_images_of_signs_are_not_squashed_and_it_is_told(tmp_path: Path) -> None:
    gtsrb(tmp_path)
    data = datasets.load("gtsrb", data_dir=tmp_path)
    told = "centre-cropped to a square, resized to 32x32 pixels (bilinear)"
    assert data.about["transform"] == told


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        pytest.param("medmnist", DataError, "names no set; write medmnist:NAME", id="no name"),
        pytest.param(
            "medmnist:pneumonia", UnknownName, "did you mean 'pneumoniamnist'", id="misspelt"
        ),
        pytest.param("medmnist:chestmnist", DataError, "several labels", id="several labels"),
        pytest.param("medmnist:organmnist3d", DataError, "are volumes", id="volumes"),
        pytest.param("medmnist:organamnist_64", UnknownName, "organamnist_64", id="no such size"),
    ],
)
@pytest.mark.usefixtures("package")
def test_a_bad_medmnist_is_refused(name: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        datasets.load(name)


@pytest.mark.usefixtures("package")
def test_classes_of_a_medmnist_are_named_by_their_numbers(tmp_path: Path) -> None:
    parts: dict[str, Any] = {}
    for part in ("train", "val", "test"):
        parts[f"{part}_images"] = RNG.integers(0, 256, (22, 28, 28), dtype=np.uint8)
        parts[f"{part}_labels"] = np.arange(22, dtype=np.uint8)[:, np.newaxis] % 11
    np.savez(tmp_path / "organamnist.npz", **parts)
    data = datasets.load("medmnist:organamnist", data_dir=tmp_path)
    assert data.class_names == tuple(f"organ {n}" for n in range(11))


def test_an_absent_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"not installed; pip install 'meta-adv-bench\[medmnist\]'"):
        datasets.load("medmnist:pneumoniamnist")


def test_reading_a_named_set_loads_no_framework(tmp_path: Path) -> None:
    cifar10(tmp_path)
    code = (
        "import sys; from pathlib import Path; from benchmark import datasets;"
        f"datasets.load('cifar10', data_dir=Path({str(tmp_path)!r}));"
        "print(*sys.modules.keys() & {'torch', 'torchvision', 'tensorflow'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []

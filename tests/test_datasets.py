"""Data sets: what each loader gives, how it is split, and what bad input is answered."""

from __future__ import annotations

import dataclasses
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

import numpy as np
import pytest
from sklearn.datasets import load_digits

sys.path.append(str(Path(__file__).parent))

from datasets_made import PARTS, RNG, assert_refused, assert_sound, draw_classes, save

from benchmark import datasets
from benchmark.datasets.splits import stratified
from benchmark.errors import UnknownName


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

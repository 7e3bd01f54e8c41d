"""MNIST and its like: the files are read, fetched where that is allowed, and refused where bad."""

from __future__ import annotations

import gzip
import hashlib
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from dataset_files import PARTS, RNG, assert_refused, assert_sound

from benchmark import datasets


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
            np.array([0x801, 20], ">i4").tobytes() + bytes([10] * 20),
            "a label above 9",
            id="label above 9",
        ),
        pytest.param(
            "t10k-labels-idx1-ubyte",
            np.array([0x801, 20], ">i4").tobytes() + bytes(21),
            "holds 21 bytes and claims 20",
            id="longer than it says",
        ),
        pytest.param(
            "t10k-labels-idx1-ubyte",
            np.array([0x901, 20], ">i4").tobytes() + bytes(20),
            "no IDX file of bytes",
            id="of another type",
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

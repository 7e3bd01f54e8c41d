"""NPZ files are unpacked only as far as they may be, and what they claim is looked at first."""

from __future__ import annotations

import errno
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmark import datasets
from benchmark.errors import DataError, StoreError
from benchmark.results import Store, npz_writer
from benchmark.results import store as results
from defenses.archives import read_arrays
from defenses.checkpoints import Checkpoint


def npz(**members: bytes) -> io.BytesIO:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream


def npy(shape: str, content: bytes = b"", descr: str = "'|u1'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


def flagged(stream: io.BytesIO) -> io.BytesIO:
    """The archive, with every member marked as encrypted."""
    content = bytearray(stream.getvalue())
    content[6] |= 1
    content[content.find(b"PK\x01\x02") + 8] |= 1
    return io.BytesIO(bytes(content))


REFUSED = {
    "no archive": (io.BytesIO(b"text"), "not a zip file"),
    "encrypted": (flagged(npz(a=npy("(1,)", b"x"))), "encrypted"),
    "80 TB": (npz(a=npy("(80000000000000,)")), "holds 0 bytes and claims 80,000,000,000,000"),
    "more than it holds": (npz(a=npy("(3,)", b"xx")), "holds 2 bytes and claims 3"),
    "less than it holds": (npz(a=npy("(1,)", b"xx")), "holds 2 bytes and claims 1"),
    "values of no size": (npz(a=npy("(10000000000,)", descr="'<U0'")), "holds 0 bytes"),
    "objects": (npz(a=npy("(1,)", b"x" * 8, "'|O'")), "Object arrays cannot be loaded"),
    "brackets": (npz(a=npy("(" * 5000)), "."),
    "another format": (npz(a=b"\x93NUMPY\x07\x00"), r"NumPy's format \(7, 0\)"),
}


@pytest.mark.parametrize(("stream", "problem"), REFUSED.values(), ids=REFUSED)
def test_absurd_archives_are_refused(stream: io.BytesIO, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_arrays(stream)


@pytest.mark.parametrize(
    "array",
    [np.arange(3), np.array(1.5), np.zeros((0, 224, 224, 3)), np.array("text"), np.eye(3).T],
    ids=["numbers", "one number", "empty", "text", "transposed"],
)
def test_arrays_come_back_as_saved(array: np.ndarray) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, a=array, b=np.ones(2))
    (name, found) = next(iter(read_arrays(stream, only=("a",)).items()))
    assert (name, found.dtype, found.shape) == ("a", array.dtype, array.shape)
    np.testing.assert_array_equal(found, array)


ABSURD = {"80 TB": npy("(80000000000000,)"), "brackets": npy("(" * 5000), "text": b"text"}


@pytest.mark.parametrize("content", ABSURD.values(), ids=ABSURD)
@pytest.mark.parametrize("change", [lambda stream: stream, flagged], ids=["plain", "encrypted"])
def test_a_data_set_of_absurd_arrays_is_one_line(
    tmp_path: Path, content: bytes, change: Callable[[io.BytesIO], io.BytesIO]
) -> None:
    stream = npz(**dict.fromkeys(("x_train", "y_train", "x_test", "y_test"), content))
    (tmp_path / "data.npz").write_bytes(change(stream).getvalue())
    with pytest.raises(DataError, match="x_train holds pickled objects or is damaged") as caught:
        datasets.load(f"npz:{tmp_path / 'data.npz'}")
    assert "\n" not in str(caught.value)


@pytest.mark.timeout(20)
def test_an_image_that_is_a_pipe_is_not_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        os.mkfifo(tmp_path / name / "1.png")
    with pytest.raises(DataError, match=r"1\.png is no readable image .it is not a regular file"):
        datasets.load(f"folder:{tmp_path}")


def test_results_that_unpack_to_more_than_allowed_are_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.create(tmp_path)
    arrays = {"a": np.zeros(1 << 20, np.uint8), "b": np.zeros(3, np.uint8)}
    store.write_stage("one", "training", {}, {"a.npz": npz_writer(arrays)})
    monkeypatch.setattr(results, "LARGEST_ARRAYS", 1 << 16)

    with pytest.raises(StoreError, match=r"its arrays take .* bytes, above the 65,536 allowed"):
        store.read_arrays("one", "training", "a.npz")
    assert list(store.read_arrays("one", "training", "a.npz", only=["b"])) == ["b"]


def test_json_of_results_is_read_up_to_a_size(tmp_path: Path) -> None:
    store = Store.create(tmp_path)
    store.write_cell("one", {"text": "x" * (17 << 20)})
    assert store.read_cell("one") is None


def packed(path: Path) -> None:
    np.savez_compressed(path, checkpoint=np.array('{"identity": "a"}'), a=np.zeros(1 << 20))


CHECKPOINTS = {
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "encrypted": lambda path: path.write_bytes(flagged(npz(a=npy("(1,)", b"x"))).getvalue()),
    "packed": packed,
    "no mapping": lambda path: np.savez(path, checkpoint=np.array("[1]")),
    "no identity": lambda path: np.savez(path, checkpoint=np.array("{}")),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_a_checkpoint_that_is_none_of_ours_is_not_taken_up(tmp_path: Path, make) -> None:
    make(tmp_path / "checkpoint.npz")
    assert Checkpoint(tmp_path / "checkpoint.npz", "a").read() is None


def test_a_checkpoint_that_cannot_be_written_keeps_the_one_before_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.npz"
    Checkpoint(path, "a").save({"w": np.ones(3)}, {"epoch": 1})

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        Checkpoint(path, "a").save({"w": np.zeros(3)}, {"epoch": 2})
    assert list(tmp_path.iterdir()) == [path]
    arrays, meta = Checkpoint(path, "a").read()
    assert (arrays["w"].tolist(), meta["epoch"]) == ([1.0, 1.0, 1.0], 1)

"""Files are read and hashed once, and again where anything was done to them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from benchmark.results import Store, unchanged
from benchmark.results.files import write_sealed
from benchmark.results.unchanged import Checksums, Unchanged

CELL = "digits-cnn-torch-none-s0-0123456789"
LARGE = b"a" * (1 << 20)


@pytest.fixture(autouse=True)
def _old_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as old enough when they are written, on file systems of this age."""
    monkeypatch.setattr(unchanged, "_YOUNG", -(10**10))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(LARGE)
    return path


def counted() -> tuple[Unchanged[bytes], list[Path]]:
    read: list[Path] = []
    return Unchanged(lambda path: (read.append(path), path.read_bytes())[1], most=2), read


def test_a_file_is_read_once(file: Path) -> None:
    files, read = counted()
    assert files.of(file) == files.of(file) == LARGE
    assert read == [file]


def edit(path: Path) -> None:
    path.write_bytes(b"b" * len(LARGE))


def edit_and_put_the_time_back(path: Path) -> None:
    before = path.stat()
    time.sleep(0.02)
    edit(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path) -> None:
    edit(path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


@pytest.mark.parametrize("change", [edit, edit_and_put_the_time_back, replace])
def test_a_changed_file_is_read_again(file: Path, change) -> None:
    files, _ = counted()
    files.of(file)
    time.sleep(0.02)
    change(file)
    assert files.of(file) == b"b" * len(LARGE)


def test_a_file_that_just_changed_is_not_relied_on(file: Path, monkeypatch) -> None:
    monkeypatch.setattr(unchanged, "_YOUNG", 10**10)
    files, read = counted()
    assert files.of(file) == files.of(file)
    assert len(read) == 2


def test_no_more_than_the_last_are_kept(tmp_path: Path) -> None:
    files, read = counted()
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_bytes(b"")
    for path in (*paths, paths[2], paths[0]):
        files.of(path)
    assert read == [*paths, paths[0]]


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Checksums().of(tmp_path / "none")


def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What is hashed from here on."""
    found: list[Path] = []
    real = unchanged._sha256
    monkeypatch.setattr(unchanged, "_sha256", lambda path: (found.append(path), real(path))[1])
    return found


def finished(tmp_path: Path) -> Store:
    """A cell with weights, in a folder that a command wrote and then left."""
    store = Store.create(tmp_path / "out")
    store.write_stage(CELL, "training", {}, {"weights.bin": lambda path: path.write_bytes(LARGE)})
    with store.lock():
        assert store.read_stage(CELL, "training") is not None
    return store


def next_command(store: Store) -> Store:

    unchanged.checksums_in.cache_clear()
    return Store.open(store.path)


def test_the_next_command_hashes_no_large_file_again(tmp_path: Path, monkeypatch) -> None:
    store = finished(tmp_path)
    found = hashed(monkeypatch)
    assert next_command(store).read_stage(CELL, "training") is not None
    assert found == []


def test_verifying_hashes_everything(tmp_path: Path, monkeypatch) -> None:
    store = finished(tmp_path)
    found = hashed(monkeypatch)
    assert Store.open(store.path, anew=True).read_stage(CELL, "training") is not None
    assert [path.name for path in found] == ["weights.bin"]


@pytest.mark.parametrize("change", [edit, edit_and_put_the_time_back, replace])
def test_the_next_command_finds_what_was_changed(tmp_path: Path, change) -> None:
    store = finished(tmp_path)
    change(store.cell_folder(CELL) / "weights.bin")
    assert next_command(store).read_stage(CELL, "training") is None


@pytest.mark.parametrize("text", ["", "[]", '{"cells": 1}', '{"a": [1, 2]}', '{"a": [1,1,1,1,1]}'])
def test_what_is_kept_of_checksums_may_be_anything(tmp_path: Path, text: str) -> None:
    store = finished(tmp_path)
    (store.path / ".checksums").write_text(text)
    assert next_command(store).read_stage(CELL, "training") is not None


@pytest.mark.parametrize("name", ["/a", "../a"])
def test_what_is_kept_of_files_elsewhere_is_left_out(tmp_path: Path, name: str) -> None:
    store = finished(tmp_path)
    kept = store.path / ".checksums"
    kept.write_text(json.dumps({name: [1, len(LARGE), 1, 1, "x"]}))
    again = next_command(store)
    with again.lock():
        assert again.read_stage(CELL, "training") is not None
    assert list(json.loads(kept.read_text())) == [f"cells/{CELL}/weights.bin"]


def test_a_copied_folder_is_hashed_anew(tmp_path: Path) -> None:
    store = finished(tmp_path)
    copied = tmp_path / "copy"
    shutil.copytree(store.path, copied)
    edit_and_put_the_time_back(copied / "cells" / CELL / "weights.bin")
    assert Store.open(copied).read_stage(CELL, "training") is None


def test_a_file_that_just_changed_is_not_relied_on_whatever_time_it_tells(
    file: Path, monkeypatch
) -> None:
    monkeypatch.setattr(unchanged, "_YOUNG", 10**10)
    os.utime(file, ns=(0, 0))
    files, read = counted()
    assert files.of(file) == files.of(file)
    assert len(read) == 2


OUTSIDE = {"../weights.bin": hashlib.sha256(LARGE).hexdigest()}


@pytest.mark.parametrize(
    "told", [{}, {"files": None}, {"files": []}, {"files": "x"}, {"files": OUTSIDE}], ids=str
)
def test_a_stage_that_tells_no_files_of_its_own_is_damaged(tmp_path: Path, told) -> None:
    store = Store.create(tmp_path / "out")
    folder = store.make_cell_folder(CELL)
    (folder.parent / "weights.bin").write_bytes(LARGE)
    write_sealed(folder / "training.json", {**told, "seconds": 1}, root=store.path)
    assert store.read_stage(CELL, "training") is None


def test_what_is_done_to_a_record_is_not_in_the_next_one_that_is_read(tmp_path: Path) -> None:
    write_sealed(tmp_path / "a.json", {"seconds": 1}, root=tmp_path)
    for _ in range(2):
        record = unchanged.sealed_record(tmp_path / "a.json")
        assert record == {"seconds": 1}
        record["seconds"] = 2

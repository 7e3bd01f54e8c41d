"""The store: what is written is whole or absent, whoever fails or is killed meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from storing import ATTACK, CELL, tree, write_attack

from benchmark.errors import StoreError
from benchmark.results import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "out")


def test_failing_writer_keeps_the_former_stage(store: Store) -> None:
    write_attack(store)
    before = tree(store.path)

    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="No space left on device"):
        store.write_stage(CELL, ATTACK, {}, {"pgd-1a2b3c4d.npz": write})
    assert tree(store.path) == before


def test_what_was_put_aside_before_a_writer_failed_is_removed(store: Store) -> None:
    before = tree(store.path)

    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="No space left on device"):
        store.write_stage(CELL, "training", {}, {"a.bin": Path.touch, "b.bin": fail})
    assert tree(store.path) == before


def test_files_are_on_the_disk_before_the_record_that_names_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a power failure leaves a record of a file that was never written."""
    store.make_cell_folder(CELL)
    done: list[str] = []
    rename, fsync = os.replace, os.fsync

    def noted_replace(source: Path, target: Path) -> None:
        done.append(target.name)
        rename(source, target)

    def noted_fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        done.append("folder" if path.is_dir() else f"flush {path.name.rpartition('-')[2]}")
        fsync(descriptor)

    monkeypatch.setattr(os, "replace", noted_replace)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    store.write_stage(CELL, "training", {}, {"a.bin": Path.touch, "b.bin": Path.touch})
    written = ["flush a.bin", "flush b.bin", "flush training.json"]
    assert done == [*written, "a.bin", "b.bin", "folder", "training.json", "folder"]
    done.clear()
    store.write_cell(CELL, {})
    assert done == ["flush cell.json", "cell.json", "folder"]


def test_nothing_is_left_of_a_record_that_could_not_be_renamed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_cell(CELL, {"status": "ok"})
    before = tree(store.path)

    def refuse(source: Path, target: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(StoreError, match="Input/output error"):
        store.write_cell(CELL, {"status": "failed"})
    assert tree(store.path) == before


def test_who_hands_over_publishes_nothing(store: Store) -> None:
    given: list[tuple[str, str, dict[str, str]]] = []

    def take(cell_id: str, stage: str, files: Mapping[str, str]) -> None:
        assert store.read_stage(CELL, "training") is None
        given.append((cell_id, stage, dict(files)))

    worker = replace(store, hand_over=take)
    worker.write_stage(CELL, "training", {}, {"a.bin": Path.touch})
    assert store.read_stage(CELL, "training") is None
    ((cell_id, stage, files),) = given
    assert (cell_id, stage, list(files.values())) == (CELL, "training", ["a.bin", "training.json"])


def test_of_a_cell_that_is_removed_the_record_goes_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is killed meanwhile leaves a cell that hasn't ended, and none that lacks stages."""
    write_attack(store)
    store.write_cell(CELL, {"status": "ok"})

    def refuse(path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(StoreError, match="Input/output error"):
        store.discard(CELL)
    assert store.read_cell(CELL) is None
    assert store.read_stage(CELL, ATTACK) is not None
    monkeypatch.undo()
    store.discard(CELL)
    store.discard(CELL)
    assert store.cell_ids() == []


def test_number_that_is_not_finite_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write_stage(CELL, "training", {"loss": float("nan")})
    assert store.read_stage(CELL, "training") is None


KILLED_WHILE_WRITING = """
import os, signal, sys
from benchmark.results import Store

def write(path):
    path.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)

Store.open(sys.argv[1]).write_stage(sys.argv[2], sys.argv[3], {}, {"pgd-1a2b3c4d.npz": write})
"""


def test_kill_in_the_middle_leaves_the_former_stage_and_the_lock_sweeps(store: Store) -> None:
    write_attack(store)
    before = tree(store.path)
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_WRITING, str(store.path), CELL, ATTACK],
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ended.returncode == -signal.SIGKILL
    assert len(tree(store.path)) == len(before) + 1
    assert store.read_stage(CELL, ATTACK) is not None
    assert store.stage_keys(CELL, "attacks") == ["pgd-1a2b3c4d"]
    with store.lock():
        pass
    after = tree(store.path)
    after.pop(str(store.path / ".lock-1"))
    assert after == before

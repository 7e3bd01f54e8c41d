"""A results folder that is moved or removed, or whose disk is full, while a run writes to it."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from progressing import CELL

from benchmark.attacks.suites import AttackSpec
from benchmark.errors import FullError, MovedError, StoreError
from benchmark.events import CellProgress
from benchmark.executors.local import Local
from benchmark.executors.scheduler import run
from benchmark.job import Job
from benchmark.results import Store

HERE = Path(__file__).parent


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "out")


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.write_cell("cell", {}),
        lambda store: store.write_stage("cell", "training", {}),
    ],
    ids=["cell", "stage"],
)
def test_nothing_is_written_where_the_folder_was(store: Store, tmp_path: Path, write: Any) -> None:
    store.path.rename(tmp_path / "moved")

    with pytest.raises(MovedError, match="move it back"):
        write(store)

    assert [path.name for path in tmp_path.iterdir()] == ["moved"]


@pytest.mark.parametrize(
    ("number", "kind", "code", "told"),
    [
        (errno.ENOSPC, FullError, 1, "cell.json: No space left on device; make room, and give the"),
        (errno.EDQUOT, FullError, 1, "cell.json: Disk quota exceeded; make room, and give the"),
        (errno.EROFS, StoreError, 2, "cell.json: Read-only file system"),
    ],
    ids=["full", "quota", "read-only"],
)
def test_a_full_disk_is_no_wrong_input(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int, kind: Any, code: int, told: str
) -> None:
    def refuse(stream: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)

    with pytest.raises(StoreError, match=told) as caught:
        store.write_cell("cell", {})

    assert (type(caught.value), caught.value.exit_code) == (kind, code)


def test_run_ends_with_exit_code_1_and_leaves_what_is_done(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(HERE))

    def move(event: Any) -> None:
        if isinstance(event, CellProgress) and store.path.exists():
            store.path.rename(tmp_path / "moved")

    with pytest.raises(MovedError) as caught:
        run(
            [job(store, seed) for seed in (0, 1)],
            store,
            Local(store, workers=1, device="cpu", serve="fake_worker:serve"),
            on_event=move,
        )

    assert caught.value.exit_code == 1
    assert not store.path.exists()
    assert len(Store.open(tmp_path / "moved").cell_ids()) <= 1


def job(store: Store, seed: int) -> Job:
    cell = replace(CELL, parameters={"behaviour": "slow"}, seed=seed, examples=10)
    return Job(cell, "quick", (AttackSpec("pgd", "pgd", {}),), str(store.path), None)

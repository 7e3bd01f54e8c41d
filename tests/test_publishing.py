"""How a stage becomes known: its files first, while the folder is ours, its JSON last."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.errors import StoreError
from benchmark.results import Store, npz_writer
from benchmark.results.files import read_sealed, write_sealed

CELL = "digits-cnn-torch-none-s0-0123456789"
FILES = ("a.npz", "b.npz")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "out")


def write(store: Store, value: int = 1) -> None:
    files = {name: npz_writer({"x": np.full(3, value)}) for name in FILES}
    store.write_stage(CELL, "training", {"steps": value}, files)


class Renaming:
    """Stands in for `os.replace`; says what was renamed, and what is to happen before which."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, before=lambda number: None) -> None:
        self.names: list[str] = []
        self.before, self.real = before, os.replace
        monkeypatch.setattr(os, "replace", self)

    def __call__(self, source, target) -> None:
        self.before(len(self.names))
        self.real(source, target)
        self.names.append(Path(target).name)


def test_the_json_that_makes_a_stage_known_comes_last(store: Store, monkeypatch) -> None:
    renaming = Renaming(monkeypatch)
    write(store)
    assert renaming.names == [*FILES, "training.json"]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_disk_that_fails_between_two_files_leaves_no_mixed_stage(
    store: Store, monkeypatch, number: int
) -> None:
    write(store)

    def fail(done: int) -> None:
        if done == number:
            raise OSError(5, "Input/output error")

    with monkeypatch.context() as failing:
        Renaming(failing, fail)
        with pytest.raises(StoreError, match="Input/output error"):
            write(store, 2)
    found = store.read_stage(CELL, "training")
    assert found is None if number else found is not None and found["steps"] == 1
    names = sorted(path.name for path in store.cell_folder(CELL).iterdir())
    assert names == [*FILES, "training.json"]


@pytest.mark.parametrize("number", [1, 2])
def test_who_is_followed_between_two_files_publishes_no_more(
    store: Store, monkeypatch, number: int
) -> None:
    class Lease:
        def check(self) -> None:
            if len(renaming.names) >= number:
                raise StoreError("was taken over by another run")

    renaming = Renaming(monkeypatch)
    with pytest.raises(StoreError, match="was taken over"):
        write(replace(store, lease=Lease()))  # type: ignore[arg-type]
    assert renaming.names == list(FILES[:number])
    assert store.read_stage(CELL, "training") is None


def test_arrays_that_are_not_those_of_the_record_are_refused(store: Store) -> None:
    write(store)
    npz_writer({"x": np.full(3, 9)})(store.cell_folder(CELL) / FILES[0])
    with pytest.raises(StoreError, match="its checksum differs"):
        store.read_arrays(CELL, "training", FILES[0])
    assert store.read_arrays(CELL, "training", FILES[1])["x"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("change", "intact"),
    [
        (lambda record: record, True),
        (lambda record: {**record, "steps": 2}, False),
        (lambda record: {k: v for k, v in record.items() if k != "checksum"}, False),
        (lambda record: {**record, "checksum": None}, False),
        (lambda record: {**record, "checksum": "0" * 64}, False),
    ],
    ids=["in other spacing", "another number", "no checksum", "null", "another checksum"],
)
def test_a_record_is_intact_by_what_it_says(tmp_path: Path, change, intact: bool) -> None:
    path = tmp_path / "a.json"
    write_sealed(path, {"steps": 1}, root=tmp_path)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    assert read_sealed(path) == ({"steps": 1} if intact else None)

"""A stage is read beside the files that it was made of, and beside no others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.results import Store

CELL = "digits-cnn-torch-none-s0-0123456789"
ATTACK = "attacks/pgd-1a2b3c4d"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "out")


def writing(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def write_weights(store: Store, content: bytes) -> str:
    """A training with these weights; returns their checksum."""
    store.write_stage(CELL, "training", {}, {"weights.safetensors": writing(content)})
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("change", "is_read"),
    [
        (lambda store: write_weights(store, b"as they were"), True),
        (lambda store: write_weights(store, b"trained again"), False),
        (lambda store: (store.cell_folder(CELL) / "weights.safetensors").unlink(), False),
    ],
    ids=["the same again", "other weights", "no weights"],
)
def test_what_was_made_of_other_weights_reads_as_missing(
    store: Store, change: Callable[[Store], object], is_read: bool
) -> None:
    made_of = {"weights.safetensors": write_weights(store, b"as they were")}
    store.write_stage(CELL, ATTACK, {"made_of": made_of})
    assert store.read_stage(CELL, ATTACK) is not None
    change(store)
    assert (store.read_stage(CELL, ATTACK) is not None) == is_read


OUTSIDE = ["../../bench.json", "/dev/zero", "attacks//x", "./x", "", "a\0b"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_stage_is_made_of_files_of_its_cell_alone(store: Store, name: str) -> None:
    content = (store.path / "bench.json").read_bytes()
    store.write_stage(CELL, ATTACK, {"made_of": {name: hashlib.sha256(content).hexdigest()}})
    assert store.read_stage(CELL, ATTACK) is None


@pytest.mark.parametrize("made_of", [None, [], "weights", {"weights": None}])
def test_a_stage_that_is_made_of_something_odd_reads_as_missing(
    store: Store, made_of: object
) -> None:
    store.write_stage(CELL, ATTACK, {"made_of": made_of})
    assert store.read_stage(CELL, ATTACK) is None

"""Every field that is stored, changed and sealed again, is noticed or documented as trusted.

`docs/verification.md` says so field by field; it and what is noticed here have to agree.
"""

from __future__ import annotations

import copy
import re
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from real_results import make, reseal, restored, rewrite, stored

from benchmark import replay
from benchmark.stages.certification import Certification
from benchmark.stages.corruptions import Corruptions
from benchmark.verification import loaded, stages
from benchmark.verify import CELL, DIFFERS, HOLDS, Claim

DOCUMENT = Path(__file__).parents[1] / "docs" / "verification.md"
TRUSTED = "taken on trust"

SUITE = """
attacks:
  pgd: {attack: pgd, arguments: {max_iter: 2, eps_step: 0.5 eps}}
security_curve: {attack: pgd, budgets: [0.5, 1, 2], examples: 20}
corruptions: true
certification: {sigma: 0.2, n0: 10, n: 50, examples: 10}
"""
PROTOCOL = {
    "families": ["linf"],
    "steps": [0, 1],
    "shots": [0, 10],
    "episodes": 2,
    "queries": 10,
    "rates": [0.01],
    "attack_steps": 2,
    "tuning_episodes": 1,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Cells that have a stage of every kind."""
    folder = tmp_path_factory.mktemp("tampering")
    (folder / "mine.yaml").write_text(SUITE)
    small = {"epochs": 1, "examples": 40}
    make(folder / "out", "tensorflow", "none", **small)
    make(folder / "out", "torch", "none", seed=[1], suite=str(folder / "mine.yaml"), **small)
    return make(
        folder / "out",
        "torch",
        baseline=True,
        protocol="brief",
        adaptation=PROTOCOL,
        **small,
    )


def cell_id(store, beginning):
    (found,) = [name for name in store.cell_ids() if name.startswith(beginning)]
    return found


ADAPTED, UNDEFENDED, CURVED = (
    f"digits-cnn-small-torch-{name}" for name in ("meta-adv-s0", "none-s0", "none-s1")
)

# Kind of stage to the beginnings of the cell's id and of the file's name.
STAGES = {
    "cell": (ADAPTED, "cell"),
    "training": (ADAPTED, "training"),
    "adaptation": (ADAPTED, "adaptation"),
    "attacks": (ADAPTED, "attacks/apgd-"),
    "trust": (ADAPTED, "trust/quick"),
    "curves": (CURVED, "curves/pgd-"),
    "corruptions": (CURVED, "corruptions/common"),
    "certification": (CURVED, "certification/smoothing-"),
    "transfers": (UNDEFENDED, "transfers/tensorflow"),
    "adaptations": (ADAPTED, "adaptations/linf-"),
    "tuning": (ADAPTED, "adaptations/tuning-"),
    "runs": (CURVED, "runs/mine"),
}


def record_of(store, kind):
    beginning, name = STAGES[kind]
    folder = store.cell_folder(cell_id(store, beginning))
    (path,) = folder.glob(f"{name}*.json")
    return path


def verdicts(store, kind):
    """What is said of the stage, and of the cell that holds it."""
    beginning, _ = STAGES[kind]
    cell, path = cell_id(store, beginning), record_of(store, kind)
    stage = path.relative_to(store.cell_folder(cell)).with_suffix("").as_posix()
    for name in [CELL] if kind in ("cell", "training", "adaptation") else [stage, CELL]:
        loaded.load_cell.cache_clear()
        yield replay.replay(Claim(str(store.path), cell, "torch", name, None), device="cpu")


def is_noticed(store, kind):
    return any(state != HOLDS for state, _ in verdicts(store, kind))


VALID = {"passed": "flagged", "flagged": "passed", "not-applicable": "passed", "ok": "failed"}


def other(value):
    """Another value of the same type, where there is one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 7
    if isinstance(value, float):
        return value / 10 + 0.01
    if isinstance(value, str):
        return VALID.get(value, f"x{value}")
    return {"x": 7} if isinstance(value, dict) else [7] if isinstance(value, list) else 7


def changes(value, way=()):
    """Each way into a record, with the record changed there alone."""

    def walk(here, way):
        children = (
            here.items()
            if isinstance(here, dict)
            else enumerate(here)
            if isinstance(here, list)
            else ()
        )
        if not children:
            yield way
        for key, inner in children:
            yield from walk(inner, (*way, key))

    for found in walk(value, way):
        changed = copy.deepcopy(value)
        place = changed
        for key in found[:-1]:
            place = place[key]
        place[found[-1]] = other(place[found[-1]])
        yield ".".join("*" if isinstance(key, int) else str(key) for key in found), changed


def once(function):
    """The function, which gives what it gave the first time."""
    given = []

    def remembered(*arguments):
        given[:] = given or [function(*arguments)]
        return copy.deepcopy(given[0])

    return remembered


def documented():
    """Stage to its fields, as patterns, and what is said of them."""
    rows = re.findall(r"^\| ([\w-]+) \| (.+?) \| (.+?) \|$", DOCUMENT.read_text(), re.MULTILINE)
    return [
        (stage, pattern.strip(), how)
        for stage, patterns, how in rows[1:]
        for pattern in patterns.split(",")
    ]


def said_of(kind, field):
    """What the document says of a field; the first row that fits."""
    stage = "adaptations" if kind == "tuning" else kind
    for row, pattern, how in documented():
        if row in (stage, "all") and fnmatchcase(field, pattern.replace("[", "[[]")):
            return how
    return None


def test_everything_holds_before_anything_is_changed(store):
    for kind in STAGES:
        found = list(verdicts(store, kind))
        assert {state for state, _ in found} == {HOLDS}, (kind, found)


@pytest.mark.parametrize("kind", STAGES)
def test_a_changed_field_is_noticed_or_documented_as_trusted(store, kind, monkeypatch):
    if kind == "trust":  # what is made again depends on nothing that is changed here
        monkeypatch.setattr(stages.checks, "run", once(stages.checks.run))
    if kind == "corruptions":  # neither
        monkeypatch.setattr(Corruptions, "measured", once(Corruptions.measured))
    if kind == "certification":
        monkeypatch.setattr(Certification, "measured", once(Certification.measured))
    path = record_of(store, kind)
    record = stored(path)
    del record["checksum"]
    if kind == "cell":  # an installed package comes from no commit
        record["git"] = record["git"] or {"commit": "abcdef0", "dirty": False}
    unnoticed, unknown, noticed = set(), set(), set()
    for field, changed in changes(record):
        with restored(store):
            reseal(path, changed)
            (noticed if is_noticed(store, kind) else unnoticed).add(field)
        if said_of(kind, field) is None:
            unknown.add(field)

    assert len(noticed) > 2
    assert not unknown, "not in the document"
    assert {field for field in unnoticed if TRUSTED not in said_of(kind, field)} == set()
    assert {field for field in noticed if said_of(kind, field) == TRUSTED} == set()


@pytest.mark.parametrize("kind", ["adaptations", "tuning"])
def test_what_an_earlier_version_of_the_protocol_measured_is_told_as_such(store, kind):
    path = record_of(store, kind)
    record = stored(path)
    del record["checksum"], record["version"]
    with restored(store):
        reseal(path, record)
        state, told = next(iter(verdicts(store, kind)))
    assert (state, told) == (DIFFERS, "version is told as 1, and is 2")


def with_other(array):
    """The array with its last element changed; the first of an empty one added."""
    changed = array.copy()
    if not array.size:
        return np.ones((1, *array.shape[1:]), dtype=array.dtype)
    last = changed.reshape(-1)
    last[-1] = ~last[-1] if array.dtype.kind == "b" else last[-1] / 2 + 1
    return changed


WITH_ARRAYS = (*("attacks", "curves", "corruptions", "certification", "transfers", "adaptations"),)


@pytest.mark.parametrize("kind", WITH_ARRAYS)
def test_changed_arrays_are_noticed(store, kind):
    path = record_of(store, kind).with_suffix(".npz")
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    missed = set()
    for name in arrays:
        assert said_of(kind, f"npz:{name}") is not None, name
        for changed in ({name: with_other(arrays[name])}, {name: arrays[name][:-1]}):
            with restored(store):
                rewrite(path, {**arrays, **changed})
                if not is_noticed(store, kind):
                    missed.add(name)
    assert missed == set()

"""New classes as they are stored: made by a run, shown, verified; what is changed is told."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from real_results import make, reseal, restored, rewrite, stored
from test_tampering import TRUSTED, changes, said_of, with_other

from benchmark import replay
from benchmark.cli.showing import cell_details
from benchmark.results import Store
from benchmark.results.records import FewShotRecord
from benchmark.verification import loaded
from benchmark.verify import sample

SETTINGS = {
    "protocol": "few-shot",
    "adaptation": {
        "ways": 2,
        "shots": 1,
        "queries": "2,stored",
        "episodes": 3,
        "attack_steps": 2,
        "tuning_episodes": 2,
        "autoattack_episodes": 0,
        "readouts": ["centroid", "finetune"],
    },
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make(tmp_path_factory.mktemp("few") / "out", "torch", epochs=1, model="mlp", **SETTINGS)


@pytest.fixture
def store(whole, tmp_path):
    """A copy to change."""
    shutil.copytree(whole.path, tmp_path / "out")
    loaded.load_cell.cache_clear()
    return Store.open(tmp_path / "out")


def claims(store, readout=""):
    return [c for c in sample(store, size=None) if c.stage.startswith(f"few-shot/{readout}")]


def test_each_read_out_is_a_stage_whose_record_follows_the_schema(whole):
    (cell_id,) = whole.cell_ids()
    for key in whole.stage_keys(cell_id, "few-shot"):
        record = FewShotRecord.read(whole.read_stage(cell_id, f"few-shot/{key}"))
        arrays = whole.read_arrays(cell_id, f"few-shot/{key}", f"{key}.npz")
        assert record.robust.mean == arrays["robust"].mean()
        assert set(arrays) == {"clean", "robust", "stored_queries"}
        assert record.labels_used == 2


def test_what_is_stored_is_shown(whole):
    (cell_id,) = whole.cell_ids()
    lines = [line for line in cell_details(whole, cell_id) if line.startswith("few-shot ")]
    assert len(lines) == 2
    assert all("over 3 episodes, 2 labels" in line for line in lines)
    assert all("queries attacked before adaptation" in line for line in lines)


def test_what_is_stored_holds(store):
    for claim in claims(store):
        state, told = replay.replay(claim, device="cpu")
        assert (state, told) == ("holds", "3 of 3 episodes run again")


def test_a_changed_field_is_noticed_or_documented_as_trusted(store):
    (claim,) = claims(store, "centroid")
    path = store.cell_folder(claim.cell_id) / f"{claim.stage}.json"
    record = stored(path)
    del record["checksum"]
    unnoticed = set()
    for field, changed in changes(record):
        assert said_of("few-shot", field) is not None, field
        with restored(store):
            reseal(path, changed)
            if replay.replay(claim, device="cpu")[0] == "holds":
                unnoticed.add(field)
    assert {field for field in unnoticed if said_of("few-shot", field) != TRUSTED} == set()


@pytest.mark.parametrize("name", ["clean", "robust", "stored_queries"])
def test_changed_episodes_are_told(store, name):
    (claim,) = claims(store, "centroid")
    path = store.cell_folder(claim.cell_id) / f"{claim.stage}.npz"
    with np.load(path) as archive:
        arrays = dict(archive)
    for changed in (with_other(arrays[name]), arrays[name][:-1]):
        with restored(store):
            rewrite(path, {**arrays, name: changed})
            assert replay.replay(claim, device="cpu")[0] != "holds"

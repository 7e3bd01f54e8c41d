"""Records that were changed and sealed again are shown, or told to be none, and never raise."""

from __future__ import annotations

import copy
import functools
import random
import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from real_results import make, reseal, restored, stored

import reports
from benchmark.cli.showing import cell_details
from benchmark.results import Store

MUTATIONS = 200
NONSENSE = (None, True, -1, 10**400, 1e308, "", "\x1b[2J\ud800", [], [[]], {}, {"": {"": None}})
PROTOCOL = {"families": ["linf"], "steps": [0, 1], "shots": [0, 10], "episodes": 2, "queries": 10}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make(
        tmp_path_factory.mktemp("hostile") / "out",
        "torch",
        epochs=1,
        examples=20,
        protocol="brief",
        adaptation={**PROTOCOL, "rates": [0.01], "attack_steps": 1, "tuning_episodes": 1},
    )


def mutated(record, draws):
    """The record with one value, somewhere in it, put away or in another's place."""
    changed = copy.deepcopy(record)
    place, key = changed, None
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = draws.choice(list(keys))
        inner = place[key]
        if not isinstance(inner, (dict, list)) or not inner or draws.random() < 0.3:
            break
        place = inner
    action = draws.choice(["put away", "nonsense", "nonsense", "deeper", "swapped"])
    if action == "put away":
        del place[key]
    elif action == "deeper":
        place[key] = functools.reduce(lambda inside, _: {"x": inside}, range(300), place[key])
    elif action == "swapped":
        place[key] = draws.choice(list(record.values()))
    else:
        place[key] = draws.choice(NONSENSE)
    return changed


def records(store):
    return sorted(path for path in store.path.rglob("cells/*/**/*.json"))


def test_hundreds_of_changed_records_are_shown_and_reported_without_an_exception(store):
    draws = random.Random(0)
    (cell_id,) = store.cell_ids()
    with restored(store):
        for _ in range(MUTATIONS):
            path = draws.choice(records(store))
            whole = path.read_bytes()
            record = stored(path)
            del record["checksum"]
            reseal(path, mutated(record, draws))
            lines = list(cell_details(store, cell_id))
            assert lines[0] == cell_id
            reports.terminal_table(store.path)
            path.write_bytes(whole)


def change_cell(folder, **values):
    reseal(folder / "cell.json", stored(folder / "cell.json") | values)


def other_config(folder):
    config = stored(folder / "cell.json")["config"]
    change_cell(folder, config={**config, "epochs": 100})


def another_name(folder):
    change_cell(folder, cell_id="another-name")
    folder.rename(folder.with_name("another-name"))


# What is done to a cell's folder, and the line of `bench show` that tells it.
TOLD = {
    "no checks": (
        lambda folder: shutil.rmtree(folder / "trust"),
        "trust checks under quick: none are stored, so nothing speaks for its numbers",
    ),
    "another configuration": (
        other_config,
        "changed: its configuration is that of another cell",
    ),
    "another type": (
        lambda folder: change_cell(folder, suites=7),
        "status: unknown: cell.json doesn't follow the schema: suites: ",
    ),
    "torn": (
        lambda folder: (folder / "training.json").write_text("{"),
        "training: it, or a file that it names, is damaged or changed",
    ),
}


@pytest.mark.parametrize(("change", "line"), TOLD.values(), ids=TOLD)
def test_show_tells_what_is_wrong_with_a_cell(store, change, line):
    (cell_id,) = store.cell_ids()
    with restored(store):
        change(store.cell_folder(cell_id))
        assert any(told.startswith(line) for told in cell_details(store, cell_id))


@pytest.mark.parametrize("change", [other_config, another_name], ids=["changed", "renamed"])
def test_a_report_leaves_out_a_cell_whose_configuration_is_anothers(store, tmp_path, change):
    (cell_id,) = store.cell_ids()
    shutil.copytree(store.path, tmp_path / "out")
    copied = Store.open(tmp_path / "out")
    change(copied.cell_folder(cell_id))

    frame = reports.load(copied.path)

    assert frame.empty
    reasons = [entry["reason"] for entry in frame.attrs["left_out"]]
    assert reasons == ["its configuration is that of another cell"]

"""Meta-tests as they are stored: made by a run, shown, verified; what is changed is told."""

from __future__ import annotations

import copy
import shutil

import numpy as np
import pytest
from real_results import make, reseal, restored, rewrite, stored
from test_tampering import TRUSTED, changes, said_of, with_other

from benchmark import replay
from benchmark.cli.showing import cell_details
from benchmark.metatest.domain import course as domain
from benchmark.metatest.fewshot import course as fewshot
from benchmark.metatest.sequence import course as sequence
from benchmark.results import Store
from benchmark.results.identity import PROTOCOL_VERSION
from benchmark.results.records import DomainRecord, FewShotRecord, SequenceRecord
from benchmark.verification import loaded
from benchmark.verification.episodes import BY_A_HAIR, ROUNDING
from benchmark.verify import sample

SMALL = {"episodes": 3, "attack_steps": 2}
# A training that leaves its last layer as it was: it is fitted to a support
FITTED = ("meta-adv", {"preset": "aq-ridge", "ways": 2, "tasks": 1, "support": 4, "query": 4})
# Folder: the protocol, what is asked for, the record, its arrays, the stage that is changed, and
# what the model is trained by.
KINDS = {
    "few-shot": (
        "few-shot",
        {
            "ways": 2,
            "shots": 1,
            "queries": "2,stored",
            "tuning_episodes": 2,
            "autoattack_episodes": 1,
            "readouts": ["centroid", "finetune"],
        },
        FewShotRecord,
        {"clean", "robust", "given_up", "stored_queries", "autoattack"},
        "centroid",
        FITTED,
    ),
    "sequences": (
        "sequence",
        {
            "families": ["linf", "l2"],
            "labels": 5,
            "rounds": 1,
            "steps": 1,
            "queries": 5,
            "rates": [0.1, 0.3],
            "tuning_episodes": 1,
            "learners": ["none", "finetune"],
        },
        SequenceRecord,
        {"correct", "worst", "clean", "given_up"},
        "finetune",
        FITTED,
    ),
    "domains": (
        "domain",
        {
            "adapt_to": "digits",
            "shots": 1,
            "queries": 4,
            "support_attack_steps": 2,
            "rates": [0.1],
            "rounds": [1],
            "steps": 1,
            "autoattack_episodes": 1,
            "methods": ["finetune", "centroid"],
        },
        DomainRecord,
        {"clean", "robust", "given_up", "autoattack"},
        "centroid",
        ("pgd-at", {}),
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def whole(kind, tmp_path_factory):
    protocol, settings, *_, (defense, parameters) = KINDS[kind]
    out = tmp_path_factory.mktemp(kind) / "out"
    asked = {"protocol": protocol, "adaptation": {**SMALL, **settings}}
    asked |= {"epochs": 1, "model": "mlp", "parameters": {defense: parameters}}
    return make(out, "torch", defense, **asked)


@pytest.fixture
def store(whole, tmp_path):
    """A copy to change."""
    shutil.copytree(whole.path, tmp_path / "out")
    loaded.load_cell.cache_clear()
    return Store.open(tmp_path / "out")


def once(run):
    """A course's `run`, which gives what it gave the first time under the same protocol."""
    given = {}

    def remembered(course, *what, numbers):
        told = [one for one in what if isinstance(one, str | int)]  # the rest is the model
        key = repr((course.protocol, told, numbers))
        if key not in given:
            given[key] = run(course, *what, numbers=numbers)
        return copy.deepcopy(given[key])

    return remembered


@pytest.fixture
def measured_once(monkeypatch):
    """Where stages are changed, and the model that they were measured on isn't."""
    for module in (domain, fewshot, sequence):
        monkeypatch.setattr(module.Course, "run", once(module.Course.run))


def claims(store, kind, begins=""):
    return [c for c in sample(store, size=None) if c.stage.startswith(f"{kind}/{begins}")]


def test_each_way_to_adapt_is_a_stage_whose_record_follows_the_schema(whole, kind):
    _, _, schema, names, *_ = KINDS[kind]
    (cell_id,) = whole.cell_ids()
    keys = whole.stage_keys(cell_id, kind)
    assert len(keys) == 2
    for key in keys:
        record = schema.read(whole.read_stage(cell_id, f"{kind}/{key}"))
        assert (record.status, record.protocol_version) == ("ok", PROTOCOL_VERSION)
        assert set(whole.read_arrays(cell_id, f"{kind}/{key}", f"{key}.npz")) == names


def test_stored_queries_go_through_a_last_layer_that_was_fitted(whole, kind):
    if kind != "few-shot":
        pytest.skip("only new classes have stored queries")
    (cell_id,) = whole.cell_ids()
    cell = loaded.load_cell(str(whole.path), cell_id, None, loaded.Machine("cpu", 1))
    context = cell.context
    attacked, adapted = (one.kernel.weights() for one in (context.readable, context.adapted))
    assert all(np.array_equal(attacked[name], value) for name, value in adapted.items())
    trained, last = context.fitted.kernel.weights(), list(adapted)[-2:]
    assert not np.array_equal(attacked[last[0]], trained[last[0]])


SHOWN = {
    "few-shot": ("few-shot ", ("over 3 episodes, 2 labels", "queries attacked before adaptation")),
    "sequences": ("sequence ", ("after linf, l2: mean", "over 3 episodes")),
    "domains": ("domain ", ("to digits, over 3 episodes: 10 labels",)),
}


def test_what_is_stored_is_shown(whole, kind):
    (cell_id,) = whole.cell_ids()
    begins, told = SHOWN[kind]
    lines = [line for line in cell_details(whole, cell_id) if line.startswith(begins)]
    assert len(lines) == 2
    assert all(part in line for line in lines for part in told)


@pytest.mark.parametrize("kind", ["sequences"], indirect=True)
def test_a_last_layer_that_is_fitted_is_there_before_the_first_family_arrives(whole):
    """Not what training left in its place."""
    (cell_id,) = whole.cell_ids()
    cell = loaded.load_cell(str(whole.path), cell_id, None, loaded.Machine("cpu", 1))
    x = cell.data.x_test[:50]
    found = cell.adaptable.logits(x)
    assert np.array_equal(found, cell.context.adapted.kernel.predict(x))
    assert not np.array_equal(found, cell.context.fitted.kernel.predict(x))


def test_what_is_stored_holds(store, kind):
    found = claims(store, kind)
    assert len(found) == 2
    for claim in found:
        assert replay.replay(claim, device="cpu") == ("holds", "3 of 3 episodes run again")


@pytest.mark.usefixtures("measured_once")
def test_a_changed_field_is_noticed_or_documented_as_trusted(store, kind):
    *_, stage, _ = KINDS[kind]
    (claim,) = claims(store, kind, stage)
    path = store.cell_folder(claim.cell_id) / f"{claim.stage}.json"
    record = stored(path)
    del record["checksum"]
    unnoticed = set()
    for field, changed in changes(record):
        assert said_of(kind, field) is not None, field
        with restored(store):
            reseal(path, changed)
            if replay.replay(claim, device="cpu")[0] == "holds":
                unnoticed.add(field)
    assert {field for field in unnoticed if said_of(kind, field) != TRUSTED} == set()


@pytest.mark.usefixtures("measured_once")
def test_changed_episodes_are_told(store, kind):
    *_, stage, _ = KINDS[kind]
    (claim,) = claims(store, kind, stage)
    path = store.cell_folder(claim.cell_id) / f"{claim.stage}.npz"
    with np.load(path) as archive:
        arrays = dict(archive)
    for name in KINDS[kind][3]:
        assert said_of(kind, f"npz:{name}") is not None
        for changed in (with_other(arrays[name]), arrays[name][:-1]):
            with restored(store):
                rewrite(path, {**arrays, name: changed})
                assert replay.replay(claim, device="cpu")[0] != "holds", name


@pytest.mark.parametrize("kind", ["sequences"], indirect=True)
def test_where_another_setting_is_best_by_a_hair_elsewhere_nothing_is_said(store, monkeypatch):
    (claim,) = claims(store, "sequences", "finetune")
    folder = store.cell_folder(claim.cell_id)
    reseal(folder / "cell.json", {**stored(folder / "cell.json"), "processor": "another"})
    record = stored(folder / f"{claim.stage}.json")
    tuning = copy.deepcopy(record["tuning"])
    best = max(one["mean"] for one in tuning["tried"])
    (other,) = (one for one in tuning["tried"] if one["rate"] != record["setting"]["rate"])
    told = abs(other["mean"] - best) <= ROUNDING
    other["mean"] = best + 0.001
    chosen = {"rate": other["rate"]}, tuning
    monkeypatch.setattr(sequence.Course, "_tuned", lambda *_: copy.deepcopy(chosen))

    found = replay.replay(claim, device="cpu")

    assert told, "the two are not near enough to each other here"
    assert found == ("not checked", BY_A_HAIR)

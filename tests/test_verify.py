"""Stored claims derived again: they hold as written, and whatever was changed is told."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

sys.path.append(str(Path(__file__).parent))

from real_results import make, reseal, rewrite, stored

from benchmark import replay
from benchmark.results import Store
from benchmark.stages import context
from benchmark.verification import loaded
from benchmark.verify import CELL, sample

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return {name: make(tmp_path_factory.mktemp(name) / "out", name) for name in ("torch",)}


@pytest.fixture
def store(made, tmp_path):
    """A copy to change."""
    shutil.copytree(made["torch"].path, tmp_path / "out")
    loaded.load_cell.cache_clear()
    return Store.open(tmp_path / "out")


def claim_of(store, beginning):
    """The claim of the only stage that begins so."""
    (claim,) = [one for one in sample(store, size=None) if one.stage.startswith(beginning)]
    return claim


def pgd(store):
    """The claim of the attack pgd."""
    return claim_of(store, "attacks/pgd-")


def files(store, claim):
    """The record and the arrays of a claim's stage."""
    path = store.cell_folder(claim.cell_id) / f"{claim.stage}.json"
    return path, path.with_suffix(".npz")


def arrays_of(path):
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def content(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_claim_holds_as_written_and_nothing_changes(store):
    before = content(store.path)
    claims = sample(store, size=None)

    answers = [replay.replay(claim, device="cpu") for claim in claims]

    kinds = [claim.stage.partition("/")[0] for claim in claims]
    assert kinds == ["cell", "worst-case", *["attacks"] * 4, "runs", "trust"]
    assert {state for state, _ in answers} == {"holds"}, answers
    attacks = [text for kind, (_, text) in zip(kinds, answers, strict=True) if kind == "attacks"]
    for text in attacks:
        assert text.startswith("60 clean predictions; ")
        assert "attacked again, all of 60 outcomes are equal" in text
        assert "0 stored examples" not in text
    assert content(store.path) == before


def test_claims_of_tensorflow_hold_too(tmp_path):
    store = make(tmp_path / "out", "tensorflow")
    answers = [replay.replay(claim, device="cpu") for claim in sample(store, size=None)]
    assert {state for state, _ in answers} == {"holds"}, answers


@pytest.mark.parametrize("around", ["thermometer+class-labels", "gaussian-augmentation"])
def test_claims_behind_input_and_output_defenses_hold(tmp_path, around):
    suite = tmp_path / "suite.yaml"
    suite.write_text("attacks: {pgd: {attack: pgd, arguments: {max_iter: 2, eps_step: 1 eps}}}")
    store = make(tmp_path / "out", "torch", f"none+{around}", suite=str(suite), epochs=1)
    for claim in sample(store, size=None):
        state, told = replay.replay(claim, device="cpu")
        assert (state, claim.stage) == ("holds", claim.stage), told

    claim = pgd(store)
    _, path = files(store, claim)
    arrays = arrays_of(path)
    rewrite(path, arrays | {"sample_adversarial": arrays["sample_clean"]})
    state, told = replay.replay(claim, device="cpu")
    assert (state, "don't fool the model" in told) == ("differs", True)


def change(array, value):
    """The array with its first element changed."""
    return np.concatenate([[value], array[1:]]).astype(array.dtype)


CHANGED_ARRAYS = {
    "clean prediction": (
        lambda a: {"clean_prediction": change(a["clean_prediction"], 9 - a["clean_prediction"][0])},
        "1 of 60 clean predictions differ",
    ),
    "label": (
        lambda a: {"label": change(a["label"], 9 - a["label"][0])},
        "the test examples have other labels",
    ),
    "index": (
        lambda a: {"test_index": change(a["test_index"], 10**6)},
        "the configuration draws 60 other test examples",
    ),
    "half of the examples": (
        lambda a: {name: array[: len(array) // 2] for name, array in a.items()},
        "the configuration draws 60 other test examples than the 30 stored",
    ),
    "samples": (
        lambda a: {name: array[:2] for name, array in a.items() if name.startswith("sample")},
        "successes the first 8 have to be stored",
    ),
    "success": (
        lambda a: {"success": np.zeros_like(a["success"])},
        "robust_accuracy is told as",
    ),
    "budget": (
        lambda a: {"sample_adversarial": np.float32(1) - a["sample_clean"]},
        "adversarial examples leave the budget",
    ),
    "range": (
        lambda a: {"sample_adversarial": a["sample_adversarial"] + np.float32(3)},
        "adversarial examples leave the range [0, 1]",
    ),
    "finite": (
        lambda a: {"sample_adversarial": a["sample_adversarial"] * np.float32("nan")},
        "adversarial examples are not finite",
    ),
    "not adversarial": (
        lambda a: {"sample_adversarial": a["sample_clean"]},
        " adversarial examples don't fool the model as told",
    ),
    "clean examples": (
        lambda a: {"sample_clean": a["sample_clean"][::-1]},
        "the stored clean examples are not those of the data",
    ),
}


@pytest.mark.parametrize(("changed", "text"), CHANGED_ARRAYS.values(), ids=CHANGED_ARRAYS)
def test_changed_outcomes_are_told(store, changed, text):
    claim = claim_of(store, "attacks/fgsm-")
    _, path = files(store, claim)
    arrays = arrays_of(path)
    rewrite(path, arrays | changed(arrays))

    state, told = replay.replay(claim, device="cpu")

    assert state == "differs"
    assert text in told


def test_other_weights_are_told(store):
    claim = pgd(store)
    path = store.cell_folder(claim.cell_id) / "adapted.safetensors"
    weights = {name: -value for name, value in safetensors.numpy.load_file(path).items()}
    record = store.read_stage(claim.cell_id, "adaptation")
    save = {path.name: lambda target: safetensors.numpy.save_file(weights, target)}
    store.write_stage(claim.cell_id, "adaptation", record, save)

    state, text = replay.replay(claim, device="cpu")

    assert state == "differs"
    assert "it was made of another adapted.safetensors than the one stored" in text
    assert "clean predictions differ" in text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"eps": 0.1}, "eps is told as 0.1, and is 0.15"),
        ({"clean_accuracy": 0.99}, "clean_accuracy is told as 0.99"),
    ],
    ids=["budget", "accuracy"],
)
def test_a_changed_record_is_told(store, change, text):
    claim = pgd(store)
    path, _ = files(store, claim)
    reseal(path, stored(path) | change)

    assert text in replay.replay(claim, device="cpu")[1]


def test_a_changed_configuration_is_told(store):
    claim = pgd(store)
    record = store.read_cell(claim.cell_id)
    config = {**record["config"], "epochs": 50}
    store.write_cell(claim.cell_id, {**record, "config": config})

    state, text = replay.replay(claim, device="cpu")

    assert state == "differs"
    assert text.startswith("its configuration is that of digits-cnn-small-torch-meta-adv-s0-")


def test_a_record_of_another_schema_is_told_of_its_own_stage_alone(store):
    claim = pgd(store)
    other = claim_of(store, "attacks/fgsm-")
    path, _ = files(store, claim)
    reseal(path, stored(path) | {"robust_accuracy": "all"})

    state, text = replay.replay(claim, device="cpu")
    assert (state, "robust_accuracy" in text) == ("differs", True)
    assert replay.replay(other, device="cpu")[0] == "holds"


def test_a_damaged_attack_differs(store):
    claim = pgd(store)
    files(store, claim)[1].write_bytes(b"torn")

    assert pgd(store) == claim
    assert replay.replay(claim, device="cpu") == (
        "differs",
        "the stored attack is missing or damaged",
    )


def test_without_weights_nothing_can_be_checked(store):
    claim = pgd(store)
    (store.cell_folder(claim.cell_id) / "adapted.safetensors").unlink()

    state, text = replay.replay(claim, device="cpu")

    assert (state, text) == ("not checked", "the stored adaptation is missing or damaged")


def test_without_the_data_nothing_can_be_checked(store, monkeypatch, capsys):
    def gone(*_):
        raise RuntimeError("data set digits changed")

    monkeypatch.setattr(context, "load_dataset", gone)

    state, text = replay.replay(pgd(store), device="cpu")

    assert (state, text) == ("not checked", "RuntimeError: data set digits changed")
    assert "Traceback" in capsys.readouterr().err


def on_another_machine(store, claim):
    """The cell's record as of another processor, whose last bits may differ."""
    path = store.cell_folder(claim.cell_id) / "cell.json"
    reseal(path, stored(path) | {"processor": "another"})


def hide_successes(arrays):
    """The outcomes of an attack that broke nothing."""
    none = np.zeros_like(arrays["success"])
    hidden = {name: array[:0] for name, array in arrays.items() if name.startswith("sample")}
    return arrays | hidden | {"success": none, "first_query": np.full(len(none), -1)}


def reclaim(store, claim):
    """Hides an attack's successes everywhere, as somebody would who seals what he changed."""
    path, npz = files(store, claim)
    arrays = hide_successes(arrays_of(npz))
    rewrite(npz, arrays)
    reseal(path, stored(path) | {"robust_accuracy": float(arrays["clean_correct"].mean())})


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same machine", "another machine"])
def test_an_attack_whose_successes_were_hidden_differs(store, elsewhere):
    claim = claim_of(store, "attacks/fgsm-")
    reclaim(store, claim)
    if elsewhere:
        on_another_machine(store, claim)

    state, text = replay.replay(claim, device="cpu")

    assert state == "differs"
    assert "attacked again" in text


def test_a_hidden_worst_case_is_broken_by_stronger_attacks(store):
    for name in ("fgsm", "pgd", "apgd", "square"):
        reclaim(store, claim_of(store, f"attacks/{name}-"))

    state, text = replay.replay(claim_of(store, "worst-case/quick"), device="cpu")

    assert state == "differs"
    assert text.startswith("stronger attacks break ")


def test_on_another_machine_everything_still_holds(store):
    for claim in sample(store, size=None):
        on_another_machine(store, claim)
    loaded.load_cell.cache_clear()

    answers = [replay.replay(claim, device="cpu") for claim in sample(store, size=None)]

    assert {state for state, _ in answers} == {"holds"}, answers
    assert any("0 outcomes differ" in text for _, text in answers)


def change_cell(change):
    def apply(store, folder):
        record = stored(folder / "cell.json")
        change(record)
        reseal(folder / "cell.json", record)

    return apply


def change_training(store, folder):
    record = stored(folder / "training.json")
    record["cost"] = {name: value / 10 for name, value in record["cost"].items()}
    reseal(folder / "training.json", record)


def strike_out(record):
    record["suites"]["quick"] = record["suites"]["quick"][:1]


def flip_a_bit(store, folder):
    path = folder / "adapted.safetensors"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


CHANGED_CELLS = {
    "an attack struck out": (
        change_cell(strike_out),
        "suite 'quick' names fgsm, pgd, apgd, square",
    ),
    "another cost of training": (change_training, "forwards are told as "),
    "another cost": (
        change_cell(lambda record: record.update(gradient_evaluations=1.0)),
        "gradient_evaluations is told as 1.0",
    ),
    "no trust checks": (
        lambda store, folder: shutil.rmtree(folder / "trust"),
        "no trust checks are stored under suite 'quick'",
    ),
    "no attack": (
        lambda store, folder: [path.unlink() for path in (folder / "attacks").glob("pgd-*.json")],
        "is missing or damaged",
    ),
    "a flipped bit": (flip_a_bit, "the adaptation is missing or damaged"),
    "another status": (
        change_cell(lambda record: record.update(status="failed", reason="so")),
        "it is told as failed, though all is stored",
    ),
}


@pytest.mark.parametrize(("change", "text"), CHANGED_CELLS.values(), ids=CHANGED_CELLS)
def test_a_changed_cell_does_not_hold(store, change, text):
    claim = claim_of(store, CELL)
    change(store, store.cell_folder(claim.cell_id))

    state, told = replay.replay(claim, device="cpu")

    assert state != "holds"
    assert text in told


def test_a_trust_check_that_was_flagged_differs(store):
    claim = claim_of(store, "trust/")
    path = store.cell_folder(claim.cell_id) / "trust" / "quick.json"
    record = stored(path)
    first = record["checks"][0]
    first["status"] = "flagged" if first["status"] == "passed" else "passed"
    reseal(path, record)

    state, told = replay.replay(claim, device="cpu")

    changed = f"check {first['name']!r} is told as {first['status']!r}"
    assert (state, changed in told) == ("differs", True)


def test_a_record_without_identity_is_held_against_the_projects_suite(store):
    """Records of older versions; here the suite's own arguments were set otherwise."""
    verdicts = {}
    for name in ("fgsm", "pgd"):
        claim = claim_of(store, f"attacks/{name}-")
        path, _ = files(store, claim)
        reseal(path, {k: v for k, v in stored(path).items() if k != "identity"})
        verdicts[name] = replay.replay(claim, device="cpu")

    assert verdicts["fgsm"][0] == "holds"
    assert verdicts["pgd"][0] == "not checked"
    assert "doesn't give this key" in verdicts["pgd"][1]

"""Stored claims derived again: they hold as written, and whatever was changed is told."""

from __future__ import annotations

import functools
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

sys.path.append(str(Path(__file__).parent))

from real_results import make, reseal, rewrite, stored

from benchmark import cli, replay
from benchmark.results import Store
from benchmark.verification import loaded
from benchmark.verification.attack import agrees
from benchmark.verify import CELL, Verdict, sample, verify

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return {name: make(tmp_path_factory.mktemp(name) / "out", name) for name in ("torch",)}


@pytest.fixture
def store(made, tmp_path):
    """A copy to change."""
    shutil.copytree(made["torch"].path, tmp_path / "out")
    loaded.load.cache_clear()
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
    assert kinds == ["cell", "worst-case", *["attacks"] * 4, "trust"]
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
        expected = "not checked" if claim.stage == CELL else "holds"  # its suite is a file
        state, told = replay.replay(claim, device="cpu")
        assert (state, claim.stage) == (expected, claim.stage), told

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
    def gone(cell, data_dir):
        raise RuntimeError("data set digits changed")

    monkeypatch.setattr(loaded, "load_dataset", gone)

    state, text = replay.replay(pgd(store), device="cpu")

    assert (state, text) == ("not checked", "RuntimeError: data set digits changed")
    assert "Traceback" in capsys.readouterr().err


def test_a_prediction_may_round_otherwise():
    logits = np.array([[1.0, 1.0005, 0.0], [1.0, 1.1, 0.0]])
    assert agrees(logits, np.array([0, 0])).tolist() == [True, False]


def small(folder, keys=("pgd-1",), framework="torch", names=("one",), **cell):
    """Cells that only a fake worker can replay."""
    store = Store.create(folder)
    for name in names:
        for key in keys:
            store.write_stage(name, f"attacks/{key}", {"status": "ok"})
        config = {"framework": framework}
        store.write_cell(name, {"config": config, "suites": {"quick": list(keys)}, **cell})
    return store


def test_the_sample_is_repeatable_and_holds_only_what_claims_something(tmp_path):
    store = small(tmp_path, [f"a-{i}" for i in range(9)], names=("one", "two"))
    store.write_stage("one", "attacks/a-0", {"status": "failed"})
    small(tmp_path, names=("foreign",), framework="jax")
    small(tmp_path, names=("shapeless",), suites=[1])
    small(tmp_path, names=("unsafe",), suites={"quick": ["../x", 3]})

    every = sample(store, size=None)
    some = sample(store, size=5)

    assert len(every) == 17
    assert {claim.cell_id for claim in every} == {"one", "two"}
    assert len(some) == 5
    assert some == sample(store, size=5)
    assert set(some) < set(every)
    assert some != sample(store, size=5, seed=1)


@pytest.fixture
def _fake(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))


@pytest.mark.usefixtures("_fake")
def test_one_worker_serves_all_claims_of_a_framework(tmp_path):
    small(tmp_path, ["a", "b"])
    store = small(tmp_path, ["a"], names=("two",), framework="tensorflow")

    verdicts = list(verify(sample(store, size=None), serve="fake_replay:serve"))

    assert [verdict.state for verdict in verdicts] == ["holds"] * 3
    texts = [verdict.text.split() for verdict in verdicts]
    assert [text[:2] for text in texts] == [["tensorflow", "cpu"]] + [["torch", "cpu"]] * 2
    assert len({text[2] for text in texts}) == 2
    assert not any(Path(f"/proc/{text[2]}").exists() for text in texts)


@pytest.mark.usefixtures("_fake")
def test_a_claim_that_kills_the_worker_does_not_stop_the_others(tmp_path):
    store = small(tmp_path, ["a", "die", "x"])

    verdicts = list(verify(sample(store, size=None), serve="fake_replay:serve"))

    assert [verdict.state for verdict in verdicts] == ["holds", "not checked", "holds"]
    assert verdicts[1].text == "the worker process ended with exit code 3: memory is gone"


@pytest.mark.usefixtures("_fake")
def test_a_framework_that_does_not_start_is_tried_once(tmp_path):
    store = small(tmp_path, ["a", "b"])

    verdicts = list(verify(sample(store, size=None), serve="fake_replay:fails_to_start"))

    assert [verdict.state for verdict in verdicts] == ["not checked"] * 2
    assert all("ImportError: no such framework" in verdict.text for verdict in verdicts)


@pytest.fixture
def bench(monkeypatch, capsys, _fake):
    """Calls the command line with fake workers; returns exit code, output and error output."""
    fake = functools.partial(verify, serve="fake_replay:serve")
    monkeypatch.setattr("benchmark.verify.verify", fake)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
        return code, *capsys.readouterr()

    return call


def test_the_command_says_what_holds(bench, tmp_path):
    small(tmp_path, ["a", "die"])

    code, out, err = bench("report", tmp_path, "--verify")

    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("holds: one a: torch cpu ")
    assert lines[1].startswith("not checked: one die: the worker process ended")
    assert lines[2] == "1 of 2 claims hold, 1 could not be checked"
    assert not (tmp_path / "report").exists()


def test_the_command_fails_where_nothing_could_be_checked(bench, tmp_path):
    small(tmp_path, ["die"])

    code, _, err = bench("report", tmp_path, "--verify", "--sample", 1)

    assert code == 1
    assert f"0 of 1 claims hold, 1 could not be checked in {tmp_path}" in err


def test_the_command_fails_where_a_claim_differs(bench, tmp_path, monkeypatch):
    small(tmp_path, ["a", "b"])
    monkeypatch.setattr(
        "benchmark.verify.verify",
        lambda claims: [Verdict(claim, "differs", "evil\x1b[2J") for claim in claims],
    )

    code, out, err = bench("report", tmp_path, "--verify")

    assert code == 1
    assert "\x1b" not in out
    assert "0 of 2 claims hold, 2 differ" in err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--verify", "--format", "csv"], "--format and --verify ask for different things"),
        (["--verify", "--to", "x"], "--to and --verify ask for different things"),
        (["--verify"], "holds no attack with a result"),
    ],
    ids=["format", "to", "empty"],
)
def test_wrong_input_is_answered_in_one_line(bench, tmp_path, arguments, line):
    Store.create(tmp_path)

    code, _, err = bench("report", tmp_path, *arguments)

    assert (code, line in err, err.count("\n")) == (2, True, 1)

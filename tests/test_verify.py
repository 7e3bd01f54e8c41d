"""Stored claims replayed: they hold as written, and whatever was changed is told."""

from __future__ import annotations

import functools
import shutil
import sys
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from benchmark import cli, frameworks
from benchmark.config import read
from benchmark.results import Store, npz_writer
from benchmark.verify import Verdict, sample, verify

frameworks.import_torch_first()

from benchmark import replay, worker  # noqa: E402
from benchmark.plan import make_plan  # noqa: E402

HERE = Path(__file__).parent

QUICK = ["attacks.pgd.max_iter=3", "attacks.apgd.max_iter=5", "attacks.square.max_iter=5"]


def make(out, framework, defense="meta-adv", **settings):
    """A small cell, by default of an adapted model, through the real worker in this process."""
    config = read(
        {
            "defense": [defense],
            "framework": [framework],
            "model": "cnn-small",
            "epochs": 2,
            "examples": 60,
            "baseline": False,
            "protocol": "none",
            "out": out,
            **settings,
        },
        assignments=[] if "suite" in settings else QUICK,
    )
    store = Store.create(out)
    ours, theirs = Pipe()
    for job in (*make_plan(config).jobs, None):
        ours.send(job)
    with pytest.MonkeyPatch.context() as patch:
        # TensorFlow's threads can be set only once in a process.
        patch.setattr(worker.frameworks, "prepare", lambda framework, **settings: "cpu")
        worker.serve(theirs, framework, "cpu", 1)
    return store


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return {name: make(tmp_path_factory.mktemp(name) / "out", name) for name in ("torch",)}


@pytest.fixture
def store(made, tmp_path):
    """A copy to change."""
    shutil.copytree(made["torch"].path, tmp_path / "out")
    replay._target.cache_clear()
    return Store.open(tmp_path / "out")


def pgd(store):
    """The claim of the attack pgd."""
    (claim,) = [claim for claim in sample(store, size=None) if claim.key.startswith("pgd-")]
    return claim


def content(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_claim_holds_as_written_and_nothing_changes(store):
    before = content(store.path)
    claims = sample(store, size=None)

    answers = [replay.replay(claim, device="cpu") for claim in claims]

    assert len(claims) == 4
    assert {state for state, _ in answers} == {"holds"}
    assert all(text.startswith("60 clean predictions and ") for _, text in answers)
    assert not any(" 0 adversarial" in text for _, text in answers)
    assert content(store.path) == before


def test_claims_of_tensorflow_hold_too(tmp_path):
    store = make(tmp_path / "out", "tensorflow")
    assert replay.replay(pgd(store), device="cpu")[0] == "holds"


@pytest.mark.parametrize("around", ["thermometer+class-labels", "gaussian-augmentation"])
def test_claims_behind_input_and_output_defenses_hold(tmp_path, around):
    suite = tmp_path / "suite.yaml"
    suite.write_text("attacks: {pgd: {attack: pgd, arguments: {max_iter: 2, eps_step: 1 eps}}}")
    store = make(tmp_path / "out", "torch", f"none+{around}", suite=str(suite), epochs=1)
    claim = pgd(store)
    assert replay.replay(claim, device="cpu")[0] == "holds"

    stage, name = f"attacks/{claim.key}", f"{claim.key}.npz"
    arrays = store.read_arrays(claim.cell_id, stage, name)
    record = store.read_stage(claim.cell_id, stage)
    arrays["sample_adversarial"] = arrays["sample_clean"]
    store.write_stage(claim.cell_id, stage, record, {name: npz_writer(arrays)})
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
        "the test examples have other labels",
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
    claim = pgd(store)
    stage, name = f"attacks/{claim.key}", f"{claim.key}.npz"
    arrays = store.read_arrays(claim.cell_id, stage, name)
    record = store.read_stage(claim.cell_id, stage)
    arrays |= changed(arrays)
    store.write_stage(claim.cell_id, stage, record, {name: npz_writer(arrays)})

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
        ({"eps": 0.1}, "attacked within linf 0.1 instead of linf 0.15"),
        ({"clean_accuracy": 0.99}, "clean_accuracy is told as 0.99"),
    ],
    ids=["budget", "accuracy"],
)
def test_a_changed_record_is_told(store, change, text):
    claim = pgd(store)
    stage, name = f"attacks/{claim.key}", f"{claim.key}.npz"
    arrays = store.read_arrays(claim.cell_id, stage, name)
    record = {**store.read_stage(claim.cell_id, stage), **change}
    store.write_stage(claim.cell_id, stage, record, {name: npz_writer(arrays)})

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
    (store.cell_folder(claim.cell_id) / "attacks" / f"{claim.key}.npz").write_bytes(b"torn")

    assert pgd(store) == claim
    assert replay.replay(claim, device="cpu") == ("differs", "the stored attack is damaged")


def test_without_weights_nothing_can_be_checked(store):
    claim = pgd(store)
    (store.cell_folder(claim.cell_id) / "adapted.safetensors").unlink()

    state, text = replay.replay(claim, device="cpu")

    assert (state, text) == ("not checked", "the stored adaptation is missing or damaged")


def test_without_the_data_nothing_can_be_checked(store, monkeypatch, capsys):
    def gone(cell, data_dir):
        raise RuntimeError("data set digits changed")

    monkeypatch.setattr(replay, "load_dataset", gone)

    state, text = replay.replay(pgd(store), device="cpu")

    assert (state, text) == ("not checked", "RuntimeError: data set digits changed")
    assert "Traceback" in capsys.readouterr().err


def test_a_prediction_may_round_otherwise():
    logits = np.array([[1.0, 1.0005, 0.0], [1.0, 1.1, 0.0]])
    assert replay.agrees(logits, np.array([0, 0])).tolist() == [True, False]


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

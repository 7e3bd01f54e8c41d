"""The real worker: every stage stored, resumed, and the same as of an unbroken run."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmark import datasets, frameworks
from benchmark.cli.showing import cell_details
from benchmark.config import read
from benchmark.results import Store
from benchmark.resume import pending

frameworks.import_torch_first()

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from serving import serve  # noqa: E402

from benchmark import worker  # noqa: E402
from benchmark.plans.run import make_plan  # noqa: E402
from reports import records  # noqa: E402

QUICK = ["attacks.pgd.max_iter=3", "attacks.apgd.max_iter=5", "attacks.square.max_iter=5"]


def jobs(out, *assignments, defense="meta-adv", framework=("torch",), **flags):
    """What `bench run` would do, small."""
    config = read(
        {
            "defense": [defense],
            "framework": list(framework),
            "model": "cnn-small",
            "epochs": 1,
            "examples": 40,
            "baseline": False,
            "protocol": "none",
            "out": out,
            **flags,
        },
        assignments=[*([] if "suite" in flags else QUICK), *assignments],
    )
    return make_plan(config).jobs


def stages(messages):
    """The stages that were worked on, in order, each once."""
    return list(dict.fromkeys(message[2] for message in messages if message[0] == "progress"))


def outcomes(store, job):
    """Per-example arrays of every attack of a job."""
    return {
        name: store.read_arrays(job.cell.cell_id, f"attacks/{key}", f"{key}.npz")
        for name, key in job.attack_keys().items()
    }


def trusted(store, job):
    """What the trust checks found."""
    return store.read_stage(job.cell.cell_id, job.trust_stage)["checks"]


def assert_same(ours, theirs):
    for name in ours:
        for array in ours[name]:
            assert np.array_equal(ours[name][array], theirs[name][array]), (name, array)


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_a_cell_goes_through_every_stage(tmp_path, framework):
    store = Store.create(tmp_path)
    (job,) = jobs(tmp_path, framework=[framework])
    cell_id = job.cell.cell_id

    messages = serve(job, framework=framework)

    assert messages[0] == ("ready",)
    assert messages[-1] == ("finished", cell_id, "ok", "")
    attacks = ["attack fgsm", "attack pgd", "attack apgd", "attack square"]
    assert stages(messages) == ["data", "training", "adaptation", *attacks, "trust checks"]
    record = store.read_cell(cell_id)
    training = store.read_stage(cell_id, "training")
    adaptation = store.read_stage(cell_id, "adaptation")
    assert record["status"] == "ok"
    assert record["suites"] == {"quick": list(job.attack_keys().values())}
    assert record["config"] == job.cell.config()
    assert record["versions"][framework]
    assert record["gradient_evaluations"] == pytest.approx(
        training["cost"]["gradient_evaluations"] + adaptation["cost"]["gradient_evaluations"]
    )
    assert adaptation["labels_used"] == 100
    arrays = outcomes(store, job)
    indices = arrays["pgd"]["test_index"]
    assert len(indices) == 40
    assert all(np.array_equal(values["test_index"], indices) for values in arrays.values())
    data = datasets.load("digits")
    assert np.array_equal(arrays["pgd"]["label"], data.y_test[indices])
    assert not (store.cell_folder(cell_id) / "checkpoint.npz").exists()


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize("lost", ["training", "adaptation", "attacks/pgd", "trust/quick"])
def test_a_lost_stage_is_done_again_with_the_same_result(tmp_path, framework, lost):
    store = Store.create(tmp_path)
    (job,) = jobs(tmp_path, framework=[framework])
    serve(job, framework=framework)
    before, trust = outcomes(store, job), trusted(store, job)
    folder = store.cell_folder(job.cell.cell_id)
    lost = lost.replace("attacks/pgd", f"attacks/{job.attack_keys()['pgd']}")
    (folder / f"{lost}.json").unlink()

    messages = serve(job, framework=framework)

    done = stages(messages)
    expected = {
        "training": ["training"],
        "adaptation": ["adaptation"],
        "trust/quick": ["trust checks"],
    }
    assert done == ["data", *expected.get(lost, ["attack pgd"])]
    assert_same(before, outcomes(store, job))
    assert trusted(store, job) == trust


def test_what_was_measured_on_other_weights_is_neither_read_nor_kept(tmp_path):
    store = Store.create(tmp_path)
    (job,) = jobs(tmp_path, *LITTLE, protocol="brief")
    cell_id = job.cell.cell_id
    serve(job)
    paths = [stage.path for stage in job.stages if stage.required]
    before = {path: store.read_stage(cell_id, path) for path in paths}
    model = {"weights.safetensors", "adapted.safetensors"}
    expected = {"training": set(), "adaptation": {"weights.safetensors"}}
    for path, record in before.items():
        assert set(record.get("made_of", ())) == expected.get(path, model)

    def save(path):
        weights = load_file(store.cell_folder(cell_id) / "weights.safetensors")
        save_file({name: value + 1e-3 for name, value in weights.items()}, path)

    store.write_stage(cell_id, "training", before["training"], {"weights.safetensors": save})

    (cell,) = records.read(tmp_path).cells
    assert {attack.status for attack in cell.attacks.values()} == {"missing"}
    assert cell.adaptation is None
    serve(job)
    for path in before.keys() - {"training"}:
        again = store.read_stage(cell_id, path)
        assert again["made_of"].keys() == before[path]["made_of"].keys()
        assert again["made_of"] != before[path]["made_of"]


LITTLE = [
    "adaptation.families=[linf,patch]",
    "adaptation.shots=[4]",
    "adaptation.steps=[2]",
    "adaptation.episodes=2",
    "adaptation.queries=10",
    "adaptation.attack_steps=2",
]


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_a_lost_family_is_adapted_to_again_from_the_trained_model(tmp_path, framework):
    store = Store.create(tmp_path)
    (job,) = jobs(tmp_path, *LITTLE, framework=[framework], protocol="brief")
    cell_id, keys = job.cell.cell_id, job.adaptation_keys()
    told = stages(serve(job, framework=framework))
    assert told[-3:] == ["adapt tuning", "adapt linf", "adapt patch"]
    assert told[:3] == ["data", "training", "adaptation"]  # meta-adv's own comes before attacks
    stage = f"adaptations/{keys['patch']}"
    before = store.read_stage(cell_id, stage)
    arrays = store.read_arrays(cell_id, stage, f"{keys['patch']}.npz")
    assert arrays["correct"].shape == (2, 2, 2)
    assert before["accuracy"] == arrays["correct"].mean(axis=0).tolist()
    (store.cell_folder(cell_id) / f"{stage}.json").unlink()

    assert stages(serve(job, framework=framework)) == ["data", "adapt patch"]

    after = store.read_stage(cell_id, stage)
    assert {**before, "seconds": 0} == {**after, "seconds": 0}


def test_a_security_curve_is_drawn_once(tmp_path):
    suite = tmp_path / "curve.yaml"
    suite.write_text(
        "attacks: {one: {attack: fast-gradient}}\n"
        "security_curve: {attack: one, budgets: [0.5, 1, 4]}"
    )
    store = Store.create(tmp_path / "out")
    (job,) = jobs(store.path, defense="none", suite=str(suite))

    messages = serve(job)

    assert stages(messages)[-1] == "curve one"
    (key,) = store.stage_keys(job.cell.cell_id, "curves")
    record = store.read_stage(job.cell.cell_id, f"curves/{key}")
    arrays = store.read_arrays(job.cell.cell_id, f"curves/{key}", f"{key}.npz")
    assert record["eps"] == pytest.approx([0, 0.075, 0.15, 0.6])
    assert record["robust_accuracy"] == sorted(record["robust_accuracy"], reverse=True)
    assert arrays["success"].shape == (4, 40)
    assert pending([job], store) == []
    (store.cell_folder(job.cell.cell_id) / "curves" / f"{key}.json").unlink()
    assert pending([job], store) == [job]
    assert stages(serve(job)) == ["data", "curve one"]


def test_an_attack_transfers_from_another_cell_once_that_is_trained(tmp_path, capsys):
    suite = tmp_path / "from.yaml"
    suite.write_text("attacks: {a: {attack: pgd, arguments: {max_iter: 3}, from: none}}")
    store = Store.create(tmp_path / "out")
    twin, job = jobs(store.path, defense="fgsm-at", suite=str(suite), baseline=True)

    def outcome(which):
        (key,) = which.attack_keys().values()
        return store.read_stage(which.cell.cell_id, f"attacks/{key}")

    told = serve(job)
    assert outcome(job)["status"] == "failed"
    assert f"training of {twin.cell.cell_id}" in outcome(job)["reason"]
    failures = [message for message in told if message[0] == "failed"]
    assert failures == [("failed", job.cell.cell_id, "attack a", outcome(job)["reason"])]
    serve(twin)
    assert outcome(twin)["reason"] == "transfers from this very cell"
    assert store.read_stage(twin.cell.cell_id, "training")["threads"] == 1
    serve(job)
    assert outcome(job)["status"] == "ok"
    assert outcome(job)["forwards"] > 0
    assert outcome(job)["made_on"] == twin.cell.cell_id
    assert any(
        f"made on {twin.cell.cell_id}" in line for line in cell_details(store, job.cell.cell_id)
    )
    assert pending([job, twin], store) == []
    # Made on another model it is another result.
    elsewhere = dataclasses.replace(job, sources={"none": "another-cell"})
    assert pending([elsewhere], store) == [elsewhere]


def test_both_frameworks_attack_the_same_examples_from_the_same_starts(tmp_path):
    store = Store.create(tmp_path)
    pair = jobs(tmp_path, framework=["torch", "tensorflow"], defense="none")
    for job in pair:
        serve(job, framework=job.cell.framework)
    ours, theirs = (outcomes(store, job) for job in pair)
    for name in ours:
        assert np.array_equal(ours[name]["test_index"], theirs[name]["test_index"])
        agree = (ours[name]["success"] == theirs[name]["success"]).mean()
        assert agree >= 0.9, name


def test_all_stands_for_every_defense(tmp_path):
    named = [job.cell.defense for job in jobs(tmp_path, defense="all")]
    assert named == worker.defenses.names()


def test_a_diverging_training_is_recorded(tmp_path):
    store = Store.create(tmp_path)
    (job,) = jobs(
        tmp_path,
        "parameters.none.optimizer=sgd",
        "parameters.none.learning_rate=1e18",
        defense="none",
    )
    messages = serve(job)
    assert messages[-1][2] == "diverged"
    record = store.read_cell(job.cell.cell_id)
    assert record["status"] == "diverged"
    assert "the loss became" in record["reason"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 TB"), "out of memory"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
            "out of memory (OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB); "
            "try --set parameters.none.batch_size=64",
        ),
        (ValueError("first line\nsecond line"), "ValueError: first line"),
    ],
)
def test_an_error_fails_the_cell_and_the_next_goes_on(tmp_path, monkeypatch, error, reason, capsys):
    store = Store.create(tmp_path)
    broken, fine = jobs(tmp_path, seed=["0", "1"], defense="none")
    fit = worker.defenses.Defense.fit

    def fit_or_fail(self, *arguments, seed, **options):
        if seed == 0:
            raise error
        return fit(self, *arguments, seed=seed, **options)

    monkeypatch.setattr(worker.defenses.Defense, "fit", fit_or_fail)
    finished = [message for message in serve(broken, fine) if message[0] == "finished"]

    assert [message[2] for message in finished] == ["failed", "ok"]
    assert finished[0][3].startswith(reason)
    assert "\n" not in finished[0][3]
    assert store.read_cell(broken.cell.cell_id)["reason"] == finished[0][3]
    assert "Traceback" in capsys.readouterr().err


def bench(out, *options):
    command = [sys.executable, "-m", "benchmark", "run", "--out", str(out), *options]
    command += [
        "--defense",
        "pgd-at",
        "--framework",
        "torch",
        "--no-baseline",
        "--protocol",
        "none",
        "--epochs",
        "4",
    ]
    # Threads as this process has, so that sums are rounded as in a cell of its own
    command += ["--examples", "30", "--model", "cnn-small", "--threads", "1"]
    for setting in QUICK:
        command += ["--set", setting]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=Path(out).parent
    )


def test_a_run_killed_in_training_ends_as_an_unbroken_one(tmp_path):
    killed = tmp_path / "killed"
    whole = Store.create(tmp_path / "whole")
    (job,) = jobs(whole.path, defense="pgd-at", epochs=4, examples=30)
    serve(job)
    with bench(killed) as process:
        deadline = time.monotonic() + 60
        while not list(killed.glob("cells/*/checkpoint.npz")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    wait_for_workers(killed)
    assert not list(killed.glob("cells/*/training.json"))
    with bench(killed) as process:
        output = process.stdout.read()
        assert process.wait(240) == 0, output

    assert_same(outcomes(whole, job), outcomes(Store.open(killed), job))


def wait_for_workers(out):
    """Until the workers of a killed run, which hold its logs open, are gone."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        held = [link for link in Path("/proc").glob("[0-9]*/fd/1") if str(out) in read_link(link)]
        if not held:
            return
        time.sleep(0.05)
    raise AssertionError("a worker outlived its run")


def read_link(link):
    try:
        return os.readlink(link)
    except OSError:
        return ""


def test_the_second_of_two_frameworks_tries_their_examples_on_each_other(tmp_path):
    store = Store.create(tmp_path)
    todo = jobs(tmp_path, framework=["torch", "tensorflow"])
    first, second = (job.cell for job in todo)

    serve(todo[0])
    serve(todo[1], framework="tensorflow")

    assert store.read_stage(first.cell_id, "transfers/tensorflow") is None
    found = store.read_stage(second.cell_id, "transfers/torch")
    assert found["twin"] == first.cell_id
    fools = store.read_arrays(second.cell_id, "transfers/torch", "torch.npz")["fools"]
    assert fools.shape == (2, 2, found["examples"])
    assert found["success"] == fools.mean(axis=2).tolist()

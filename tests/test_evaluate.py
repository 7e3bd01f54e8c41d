"""`benchmark.evaluate`: the numbers of `bench attack`, for a model of one's own process."""

from __future__ import annotations

import dataclasses
import os
import random

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import torch  # noqa: E402
from serving import serve  # noqa: E402
from torch import nn  # noqa: E402

import benchmark  # noqa: E402
import reports  # noqa: E402
from benchmark.config import read  # noqa: E402
from benchmark.errors import BenchError  # noqa: E402
from benchmark.external import checking  # noqa: E402
from benchmark.external.model import ExternalModel  # noqa: E402
from benchmark.plans import external as plan  # noqa: E402
from benchmark.results import Store  # noqa: E402
from defenses import Threat  # noqa: E402

THREAT = Threat("linf", 0.1)
SUITE = """
attacks:
  fgsm: {attack: pgd, arguments: {max_iter: 1, eps_step: 1 eps, num_random_init: 0}}
  pgd: {attack: pgd, arguments: {max_iter: 5, eps_step: 0.25 eps, num_random_init: 1}}
  square: {attack: square, arguments: {max_iter: 10}}
"""
# What tells of the work, and not of its result.
TIMES = ["attack_seconds", "training_seconds"]


def data(count=40, classes=3, shape=(6, 6, 1)):
    generator = np.random.default_rng(0)
    y = np.arange(count) % classes
    middle = generator.uniform(0.3, 0.7, (classes, *shape))
    x = np.clip(middle[y] + generator.normal(0, 0.1, (count, *shape)), 0, 1)
    return x.astype(np.float32), y


def matcher(framework, outputs=None):
    """Gives minus the squared distance to each class's mean, plus what all classes share."""
    x, y = data()
    means = np.stack([x[y == k].mean(0) for k in range(3)]).reshape(3, -1)
    kernel, bias = 8 * means.T, -4 * (means**2).sum(1)
    if framework == "torch":
        dense = nn.Linear(36, 3)
        with torch.no_grad():
            dense.weight.copy_(torch.from_numpy(kernel.T))
            dense.bias.copy_(torch.from_numpy(bias))
        return nn.Sequential(nn.Flatten(), dense, *([] if outputs is None else [outputs]))
    layers = [keras.Input((6, 6, 1)), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(3, activation=outputs)])
    model.layers[-1].set_weights([kernel, bias])
    return model


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "short.yaml"
    path.write_text(SUITE)
    return str(path)


def attacked_by_the_command(model, suite, folder, monkeypatch):
    """The frame of `bench attack` on the same examples."""
    x, y = data()
    np.savez(folder / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    model.save(folder / "w.keras") if isinstance(model, keras.Model) else None
    if isinstance(model, nn.Module):
        torch.save(model.state_dict(), folder / "w.pt")
        code = "from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), "
        (folder / "code.py").write_text(f"{code}nn.Linear(36, 3))\n")
        given = ExternalModel("model", f"{folder / 'code.py'}:net", str(folder / "w.pt"))
    else:
        given = ExternalModel("model", None, str(folder / "w.keras"))
    monkeypatch.setattr(plan, "check", checking.result_of)
    monkeypatch.setattr(plan, "fitting_inputs", checking.fitting)
    out = Store.create(folder / "out").path
    settings = {"defense": "model", "dataset": f"npz:{folder / 'd.npz'}", "suite": suite}
    config = read({**settings, "examples": len(x), "eps": THREAT.eps, "out": out})
    (job,) = plan.make_plan(config, given).jobs
    serve(job, framework=job.cell.framework)
    return reports.load(out)


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_the_numbers_are_those_of_the_command(framework, suite, tmp_path, monkeypatch):
    x, y = data()
    frame = benchmark.evaluate(matcher(framework), x, y, threat=THREAT, suite=suite)
    theirs = attacked_by_the_command(matcher(framework), suite, tmp_path, monkeypatch)
    assert list(frame["attack"]) == ["fgsm", "pgd", "square"]
    assert frame["robust_correct"].min() < frame["clean_correct"].min() == 40
    same = [name for name in frame if name.startswith(("attack", "robust", "clean", "worst"))]
    same = [name for name in same if name not in TIMES] + ["forwards", "backwards", "trust_flags"]
    assert frame[same].equals(theirs[same])
    assert list(frame) == list(theirs)


@pytest.mark.parametrize(
    ("framework", "softmax"), [("torch", nn.Softmax(1)), ("tensorflow", "softmax")]
)
def test_probabilities_are_attacked_through_their_logarithm(framework, softmax, suite):
    x, y = data()
    frames = [
        benchmark.evaluate(matcher(framework, outputs), x, y, threat=THREAT, suite=suite)
        for outputs in (None, softmax)
    ]
    assert list(frames[0]["robust_correct"]) == list(frames[1]["robust_correct"])


def blas_threads():
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


@pytest.mark.parametrize(("told", "expected"), [(None, 1), ("2", 2)], ids=["", "told"])
def test_numpy_computes_with_one_thread_while_attacks_run_unless_the_environment_tells(
    suite, monkeypatch, told, expected
):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    if told:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", told)
    asked = []

    class Looks(nn.Module):
        def forward(self, logits):
            asked.append(blas_threads())
            return logits

    x, y = data()
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        benchmark.evaluate(matcher("torch", Looks()), x, y, threat=THREAT, suite=suite)
        assert blas_threads() == before
    assert before == {2}
    assert asked[-1] == {expected}


def test_nothing_is_left_behind_and_nothing_is_changed(suite, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    x, y = data()
    before = sorted(os.listdir(tmp_path))
    model = matcher("torch").train().double()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random.seed(3)
    expected = random.random()
    random.seed(3)
    benchmark.evaluate(model, x, y, threat=THREAT, suite=suite)
    assert random.random() == expected
    assert sorted(os.listdir(tmp_path)) == before
    assert model.training
    for name, value in model.state_dict().items():
        assert value.dtype == state[name].dtype
        assert torch.equal(value, state[name])


def test_records_are_kept_where_they_are_wanted(suite, tmp_path):
    x, y = data()
    out = tmp_path / "out"
    for name in ("first", "second"):
        frame = benchmark.evaluate(
            matcher("torch"), x, y, threat=THREAT, suite=suite, name=name, out=out
        )
        assert list(frame["defense"].unique()) == [name]
    assert sorted(reports.load(out)["defense"].unique()) == ["first", "second"]
    assert reports.publish(out).is_file()


def tuple_out():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    return Pair()


FAULTS = {
    "no model": ({"model": object()}, "can't evaluate a builtins.object; allowed: torch.nn"),
    "tuple": ({"model": tuple_out()}, "gives"),
    "one output": (
        {"model": nn.Sequential(nn.Flatten(), nn.Linear(36, 1))},
        "run from 0 to 2, expected 0 to 1",
    ),
    "labels from 1": ({"y": data()[1] + 1}, "run from 1 to 3, expected 0 to 2; subtract 1"),
    "channels first": (
        {"x": np.zeros((40, 1, 6, 6))},
        r"look like \(n, C, H, W\)",
    ),
    "scale": ({"x": data()[0] * 255}, r"must lie in \[0, 1\]"),
    "suite": ({"suite": "quik"}, "did you mean 'quick'"),
    "name": ({"name": "pgd-at"}, "is a defense of this project"),
    "weights of other data": (
        {"threat": Threat("linf", 0.1, (0.0, 1.0))},
        r"weights of 2 features, and x is \(40, 6, 6, 1\)",
    ),
}


@pytest.mark.parametrize(("change", "message"), FAULTS.values(), ids=FAULTS)
def test_what_can_not_be_evaluated_is_told_in_one_line(change, message):
    x, y = data()
    usual = {"model": matcher("torch"), "x": x, "y": y, "threat": THREAT, "suite": "quick"}
    with pytest.raises(BenchError, match=message) as caught:
        benchmark.evaluate(**{**usual, **change})
    assert "\n" not in str(caught.value)


def test_a_threat_is_a_budget_of_the_record(suite):
    x, y = data()
    threat = dataclasses.replace(THREAT, norm="l2", eps=0.5)
    frame = benchmark.evaluate(matcher("torch"), x, y, threat=threat, suite=suite)
    assert set(frame["norm"]) == {"l2"}
    assert set(frame["eps"]) == {0.5}


def test_weights_of_features_are_part_of_the_threat(suite, tmp_path):
    x = np.random.default_rng(0).uniform(0.4, 0.6, (40, 5)).astype(np.float32)
    model = nn.Linear(5, 2)
    model.weight.data = torch.tensor([[1.0] * 5, [-1.0] * 5])
    model.bias.data = torch.tensor([-2.5, 2.5])
    y = model(torch.from_numpy(x)).argmax(dim=1).numpy()
    threat = dataclasses.replace(THREAT, weights=(0, 0.5, 1, 1, 0))
    frame = benchmark.evaluate(model, x, y, threat=threat, suite=suite, out=tmp_path / "out")
    assert set(frame["features"]) == {"immutable 0, 4; 1 ×0.5"}
    store = Store.open(tmp_path / "out")
    (cell_id,) = store.cell_ids()
    (key,) = [key for key in store.stage_keys(cell_id, "attacks") if key.startswith("pgd-")]
    arrays = store.read_arrays(cell_id, f"attacks/{key}", f"{key}.npz")
    change = np.abs(arrays["sample_adversarial"] - arrays["sample_clean"]).max(axis=0)
    assert change[[0, 4]].max() == 0
    assert (change[1:4] <= np.array([0.05, 0.1, 0.1]) + 1e-6).all()

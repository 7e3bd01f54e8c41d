"""The library's edges: threats and data as people write them, saving, and the order of imports."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import torch  # noqa: E402

import defenses  # noqa: E402
from defenses.imports import _FIRST  # noqa: E402

THREAT = defenses.Threat("linf", 0.1)
ROOT = Path(defenses.__file__).parent.parent


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("linf", "8/255"), ("linf", 8 / 255)),
        (("linf", " 8 / 255 "), ("linf", 8 / 255)),
        (("l2", "0.5"), ("l2", 0.5)),
        ((np.inf, np.float32(0.5)), ("linf", 0.5)),
        ((2, 3), ("l2", 3.0)),
        ((1, 10), ("l1", 10.0)),
    ],
)
def test_threats_as_others_write_them(given, expected):
    threat = defenses.Threat(*given)
    assert (threat.norm, threat.eps) == expected
    assert type(threat.eps) is float


@pytest.mark.parametrize(
    ("norm", "eps", "message"),
    [
        ("linf", 8, r"eps 8 is more than every pixel can move: .*; 8/255 is 0\.03137"),
        ("linf", (0.1, 0.2), r"must be a positive number, got \(0.1, 0.2\); .*\"8/255\""),
        ("linf", "eight", "must be a positive number, got 'eight'"),
        ("linf", "1/0", "must be a positive number, got '1/0'"),
        ("linf", True, "must be a positive number, got True"),
        ("linf", None, "must be a positive number, got None"),
        (("linf",), 0.1, r"unknown norm \('linf',\)"),
        (3, 0.1, "unknown norm 3; allowed"),
        ("l0", 0.1, "l0 is a norm of single attacks; give it to those in a suite"),
    ],
)
def test_threats_that_mean_nothing_are_refused(norm, eps, message):
    with pytest.raises(defenses.DefenseError, match=message):
        defenses.Threat(norm, eps)


X, Y = np.zeros((6, 8, 8, 3)), np.arange(6) % 3
DATA = {
    "channels first": (X.transpose(0, 3, 1, 2), Y, r"look like \(n, C, H, W\).*transpose"),
    "a column of labels": (X, Y[:, None], r"of shape \(6, 1\); give y.ravel\(\)"),
    "one-hot labels": (X, np.eye(3)[Y], r"give y.argmax\(axis=1\)"),
    "text labels": (X, Y.astype(str), "labels must be an array of numbers, got ndarray of <U"),
    "labels below zero": (X, Y - 1, "labels run from -1 to 1; the first class is 0"),
    "a ragged list": ([[0.0], [0.0, 1.0]], Y, "inputs must be one array, got list"),
    "no array": ("images", Y, "inputs must be an array of numbers, got str"),
}


@pytest.mark.parametrize(("x", "y", "message"), DATA.values(), ids=DATA)
def test_data_that_can_not_be_trained_on_are_refused(x, y, message):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3))
    with pytest.raises(defenses.DefenseError, match=message):
        defenses.create("none", THREAT).fit(model, x, y, epochs=1)


def build(framework, outputs=3):
    if framework == "torch":
        return torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(36, 4),
            torch.nn.BatchNorm1d(4),
            torch.nn.Linear(4, outputs),
        )
    layers = [keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
    return keras.Sequential([*layers, keras.layers.Dense(outputs)])


@pytest.fixture(params=["torch", "tensorflow"])
def framework(request):
    return request.param


@pytest.fixture(params=["pgd-at", "meta-adv"])
def trained(request, framework):
    parameters = {
        "pgd-at": {"batch_size": 16, "attack_steps": 2},
        "meta-adv": {"tasks": 2, "support": 3, "query": 4, "learn_rates": True},
    }[request.param]
    generator = np.random.default_rng(0)
    x = generator.random((40, 6, 6, 1), dtype=np.float32)
    y = generator.integers(0, 3, 40)
    defense = defenses.create(request.param, THREAT, parameters)
    return defense.fit(build(framework), x, y, epochs=2, validation=(x, y)), x, y


LENGTHS = {
    "half an epoch": ({"epochs": 1.5}, "epochs must be a whole number, got 1.5"),
    "epochs in words": ({"epochs": "2"}, "epochs must be a whole number, got '2'"),
    "a flag": ({"epochs": True}, "epochs must be a whole number, got True"),
    "a budget in words": ({"budget_ge": "100"}, "budget_ge must be a number, got '100'"),
    "an endless budget": ({"budget_ge": math.inf}, "budget_ge must be a number, got inf"),
    "other validation": (
        {"epochs": 1, "validation": (np.zeros((4, 3, 3, 1)), np.zeros(4, int))},
        r"an example is \(3, 3, 1\), and one of the training data \(6, 6, 1\)",
    ),
}


@pytest.mark.parametrize(("given", "message"), LENGTHS.values(), ids=LENGTHS)
def test_a_training_that_can_not_be_is_refused_before_it_starts(given, message):
    x, y = np.random.default_rng(0).random((12, 6, 6, 1), dtype=np.float32), np.arange(12) % 3
    done = []
    with pytest.raises(defenses.DefenseError, match=message):
        defenses.create("none", THREAT).fit(build("torch"), x, y, progress=done.append, **given)
    assert not done


def assert_equal(found, fitted, x, y):
    assert found.defense == fitted.defense
    assert found.outcome == fitted.outcome
    assert found.learned == fitted.learned
    assert np.array_equal(found.predict(x), fitted.predict(x))
    adapted = found.adapt(x[:9], y[:9]), fitted.adapt(x[:9], y[:9])
    assert np.array_equal(*(one.predict(x) for one in adapted))


WRONG = {
    "steps below 0": ({"steps": -1}, "steps must be at least 0|steps must be from 0"),
    "half a step": ({"steps": 1.5}, "steps must be a whole number, got 1.5"),
    "steps in words": ({"steps": "a"}, "steps must be a whole number, got 'a'"),
    "a rate below 0": ({"rate": -1.0}, "rate must be"),
    "a rate in words": ({"rate": "a"}, "rate must be a number, got 'a'"),
    "a seed below 0": ({"seed": -1}, "seed must be a whole number from 0, got -1"),
}


@pytest.fixture(scope="module")
def fitted():
    x, y = np.random.default_rng(0).random((12, 6, 6, 1), dtype=np.float32), np.arange(12) % 3
    return defenses.create("none", THREAT).fit(build("torch"), x, y, epochs=1), x, y


@pytest.mark.parametrize(("given", "message"), WRONG.values(), ids=WRONG)
def test_an_adaptation_that_makes_no_sense_is_refused(fitted, given, message):
    model, x, y = fitted
    with pytest.raises(defenses.DefenseError, match=message):
        model.adapt(x, y, **given)


def test_numbers_of_numpy_are_taken_and_what_can_not_be_is_told(fitted, tmp_path):
    model, x, y = fitted
    adapted = model.adapt(x, y, steps=np.int64(2), rate=np.float32(0.5), seed=np.int32(1))
    same, other = (model.adapt(x, y, steps=2, rate=rate, seed=1) for rate in (0.5, 0.1))
    assert adapted.cost == same.cost
    assert np.array_equal(adapted.predict(x), same.predict(x))
    assert not np.array_equal(adapted.predict(x), other.predict(x))
    with pytest.raises(defenses.DefenseError, match="there are no examples"):
        model.adapt(x[:0], y[:0])
    with pytest.raises(defenses.DefenseError, match="seed must be a whole number from 0, got -3"):
        model.defense.fit(build("torch"), x, y, epochs=1, seed=-3)
    (tmp_path / "taken").write_text("")
    with pytest.raises(defenses.DefenseError, match="is a file; give a folder to save to"):
        model.save(tmp_path / "taken")


def test_what_was_saved_is_loaded(trained, framework, tmp_path):
    fitted, x, y = trained
    fitted.save(tmp_path / "here")
    assert_equal(defenses.load(tmp_path / "here", build(framework)), fitted, x, y)
    files = {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir()}
    weights = {"torch": "model.safetensors", "tensorflow": "model.weights.h5"}[framework]
    assert set(files) == {"fitted.json", weights}


def test_a_pickled_one_is_the_same(trained):
    fitted, x, y = trained
    adapted = fitted.adapt(x[:9], y[:9])
    assert_equal(pickle.loads(pickle.dumps(fitted)), fitted, x, y)
    again = pickle.loads(pickle.dumps(adapted))
    assert np.array_equal(again.predict(x), adapted.predict(x))


def test_another_model_does_not_take_up_the_weights(trained, framework, tmp_path):
    fitted, _, _ = trained
    fitted.save(tmp_path)
    with pytest.raises(defenses.DefenseError, match=r"don't fit the model: .*as it was trained"):
        defenses.load(tmp_path, build(framework, outputs=5))
    other = build("tensorflow" if framework == "torch" else "torch")
    with pytest.raises(defenses.DefenseError, match=f"holds a {framework} model, and a"):
        defenses.load(tmp_path, other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no trained model .*give the folder that fitted.save wrote"),
        ("{", "holds no trained model"),
        ('{"version": 2}', "is not of version 1"),
        ('{"version": 1, "defense": "os:system"}', "no trained model that can be read: KeyError"),
    ],
)
def test_other_folders_are_refused(text, message, tmp_path):
    if text is not None:
        (tmp_path / "fitted.json").write_text(text)
    with pytest.raises(defenses.DefenseError, match=message):
        defenses.load(tmp_path, build("torch"))


ORDER = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy, defenses
x, y = numpy.zeros((8, 2), "float32"), numpy.arange(8) % 2
defense = defenses.create("none", defenses.Threat("linf", 0.1))
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
print(defense.fit(model, x, y, epochs=1).outcome.steps)
import torch
try:
    print(defense.fit(torch.nn.Linear(2, 2), x, y, epochs=1).outcome.steps)
except defenses.DefenseError as error:
    print(error)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="without triton any order works")
@pytest.mark.parametrize(
    ("before", "expected"),
    [
        # What it tells to import is what the library's own order is
        ("", f"start again with `import {', '.join(_FIRST)}` in front of"),
        ("from defenses.imports import import_torch_first; import_torch_first()", "1"),
    ],
    ids=["keras first", "torch first"],
)
def test_keras_then_torch_does_not_crash_the_process(before, expected):
    done = subprocess.run(
        [sys.executable, "-c", before + ORDER],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "1"
    assert expected in second


@pytest.mark.parametrize("package", ["benchmark", "defenses", "attacks_cfg", "reports"])
def test_the_packages_say_that_they_are_typed(package):
    """Also as they are installed, where tests run against a wheel."""
    assert (ROOT / package / "py.typed").is_file()

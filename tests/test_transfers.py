"""Adversarial examples of one framework's model, tried on its twin of the other framework."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from benchmark import models  # noqa: E402
from benchmark.attacks import creating, transfers  # noqa: E402
from benchmark.errors import ModelError  # noqa: E402
from benchmark.frameworks import BUILDERS, WEIGHTS_SUFFIXES  # noqa: E402
from benchmark.models.stored import neutral_weights  # noqa: E402

SPECIFICATION = models.specification("cnn-small", (8, 8, 1), 10)


def saved(framework, folder, seed=3):
    builder = importlib.import_module(BUILDERS[framework])
    model = builder.build(SPECIFICATION, SPECIFICATION.initial_weights(seed))
    path = folder / f"weights{WEIGHTS_SUFFIXES[framework]}"
    builder.save_weights(model, path)
    return path


@pytest.mark.parametrize("framework", BUILDERS)
def test_weights_are_read_without_their_framework(tmp_path, framework):
    read = neutral_weights(saved(framework, tmp_path), SPECIFICATION)

    expected = SPECIFICATION.initial_weights(3)
    assert read.keys() == expected.keys()
    assert all(np.array_equal(read[name], expected[name]) for name in expected)


@pytest.mark.parametrize("framework", BUILDERS)
def test_weights_of_another_model_are_refused(tmp_path, framework):
    other = models.specification("cnn-small", (12, 12, 1), 10)

    with pytest.raises(ModelError, match="don't fit the model"):
        neutral_weights(saved(framework, tmp_path), other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
def test_weights_of_another_width_are_read_as_float32(tmp_path, dtype):
    read = neutral_weights(saved_as(dtype, tmp_path), SPECIFICATION)

    for name, expected in SPECIFICATION.initial_weights(3).items():
        assert read[name].dtype == np.float32
        np.testing.assert_allclose(read[name], expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8], ids=str)
def test_weights_of_a_type_that_is_not_read_are_refused(tmp_path, dtype):
    with pytest.raises(ModelError, match=r"as float32$"):
        neutral_weights(saved_as(dtype, tmp_path), SPECIFICATION)


def saved_as(dtype, folder):
    path = saved("torch", folder)
    weights = {name: value.to(dtype) for name, value in load_file(path).items()}
    save_file(weights, path)
    return path


class _Threshold:
    """Class 1 where the first feature is above its threshold; its gradient points there."""

    def __init__(self, threshold):
        self.threshold = threshold

    def predict(self, x):
        return np.stack([np.zeros(len(x)), x[:, 0] - self.threshold], axis=1)


class _Upwards:
    """An attack that raises every value by what its model needs."""

    def __init__(self, estimator):
        self.estimator = estimator

    def generate(self, x, y):
        return np.where(x > self.estimator.threshold, x, self.estimator.threshold + 0.01)


def test_examples_count_within_the_budget_and_where_both_models_are_right(monkeypatch):
    monkeypatch.setattr(creating, "create", lambda spec, estimator, norm, eps: _Upwards(estimator))
    easy, hard = _Threshold(0.4), _Threshold(0.6)
    x = np.array([[0.1], [0.2], [0.5], [0.9]])  # the third fools the easy one as it is
    y = np.array([0, 0, 0, 1])

    fools = transfers.transfer((easy, hard), x, y, norm="linf", eps=0.45, seed=0)

    # What is made on the easy model stays below the hard one's threshold. What is made on the hard
    # one fools both, but the first of it is 0.51 away, beyond the budget.
    assert fools.shape == (2, 2, 3)
    assert fools.sum(axis=2).tolist() == [[2, 0], [1, 1]]


def test_the_seed_alone_decides_where_both_attacks_start(monkeypatch):
    starts = []

    class Starting(_Upwards):
        def generate(self, x, y):
            starts.append(np.random.random(3).tolist())  # noqa: NPY002
            return x

    monkeypatch.setattr(creating, "create", lambda spec, estimator, norm, eps: Starting(estimator))
    both, x, y = (_Threshold(0.5), _Threshold(0.5)), np.array([[0.1], [0.9]]), np.array([0, 1])
    for seed in (0, 0, 1):
        transfers.transfer(both, x, y, norm="linf", eps=0.1, seed=seed)
    assert starts[:4] == [starts[0]] * 4
    assert starts[4:] == [starts[4]] * 2
    assert starts[4] != starts[0]

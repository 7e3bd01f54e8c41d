"""Inputs that are read on demand train what the same inputs in an array train."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from benchmark import models
from defenses import Threat, create
from defenses.inputs import Inputs

RNG = np.random.default_rng(0)
X = RNG.random((60, 4, 4, 1), np.float32)
Y = np.arange(60) % 3


class Stored(Inputs):
    """An array behind the interface; remembers in which threads it was read, and how much."""

    def __init__(self, x: np.ndarray, *, slow: bool = True) -> None:
        self._x, self.shape, self.slow = x, x.shape, slow
        self.threads: set[str] = set()
        self.most = 0

    def __getitem__(self, index: Any) -> np.ndarray:
        found = np.array(self._x[index])
        self.threads.add(threading.current_thread().name)
        self.most = max(self.most, found.size // self._x[0].size)
        return found


def trained(name: str, parameters: dict[str, Any], x: Any, validation: Any) -> Any:
    specification = models.specification("cnn-small", (4, 4, 1), 3)
    model = models.built("torch", specification, specification.initial_weights(0))
    defense = create(name, Threat("linf", 0.1), {"batch_size": 20, **parameters})
    return defense.fit(model, x, Y, epochs=2, seed=0, validation=(validation, Y[:10]))


DEFENSES = [
    pytest.param("pgd-at", {"attack_steps": 2}, id="batches"),
    pytest.param("none", {}, id="undefended"),
    pytest.param(
        "meta-adv",
        {"tasks": 2, "support": 4, "query": 4, "ways": 2, "distribution": ["few-way"]},
        id="from all",
    ),
]


@pytest.mark.parametrize(("name", "parameters"), DEFENSES)
def test_training_on_demand_gives_the_same_weights(name: str, parameters: dict[str, Any]) -> None:
    expected = trained(name, parameters, X, X[:10])
    stored = Stored(X)
    found = trained(name, parameters, stored, Stored(X[:10]))
    assert found.outcome.history == expected.outcome.history
    weights = expected.kernel.weights()
    for key, value in found.kernel.weights().items():
        np.testing.assert_array_equal(value, weights[key])
    assert stored.most <= 20  # and never all of it at once

"""What every test needs: both frameworks in one process, torch first, and little noise."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# Small tensors: more threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib

import numpy as np
import pytest

ESTIMATORS = {"torch": "pytorch", "tensorflow": "tensorflow"}


def _make_target(framework, *, shape=(8, 8, 1), classes=3, count=24, seed=0):
    """An estimator of an untrained model that is right about every other example."""
    from benchmark import frameworks, models
    from benchmark.attacks.target import Target

    frameworks.import_torch_first()
    architecture = "cnn" if len(shape) == 3 else "mlp"
    specification = models.specification(architecture, shape, classes)
    builder = importlib.import_module(f"benchmark.models.{ESTIMATORS[framework]}")
    estimators = importlib.import_module(f"benchmark.estimators.{ESTIMATORS[framework]}")
    estimator = estimators.wrap(
        builder.build(specification, specification.initial_weights(seed)),
        input_shape=shape,
        classes=classes,
        device="cpu",
    )
    x = np.random.default_rng(seed).random((count, *shape), dtype=np.float32)
    prediction = estimator.predict(x).argmax(axis=1)
    y = np.where(np.arange(count) % 2 == 0, prediction, (prediction + 1) % classes)
    return Target(estimator, x, y, prediction, np.arange(count))


@pytest.fixture
def make_target():
    """A function that makes targets of attacks on small models; see `_make_target`."""
    return _make_target

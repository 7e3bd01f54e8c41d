"""Models that were not trained, the same in both frameworks, as meta-tests adapt them; and data."""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass, field

import numpy as np

from benchmark import frameworks, models
from benchmark.datasets import Dataset
from benchmark.metatest.model import Adaptable
from benchmark.metatest.readouts.model import Adapted
from defenses.cost import Cost

frameworks.import_torch_first()

import defenses  # noqa: E402
from defenses.subject import recognise  # noqa: E402

SHAPE = (6, 6, 1)
THREAT = defenses.Threat("linf", 0.1)
PARTS = {"train": 0.1, "validation": 0.5, "test": 0.9}  # greys of `dataset`, where not random


def dataset(shape=(6, 6, 1), *, examples=20, classes=3, random=True):
    """Three parts of random images; or each flat, of its part's grey in PARTS."""
    generator = np.random.default_rng(7)
    arrays = {}
    for part, grey in PARTS.items():
        x = generator.random((examples, *shape), dtype=np.float32)
        arrays[f"x_{part}"] = x if random else np.full_like(x, grey)
        arrays[f"y_{part}"] = generator.integers(0, classes, examples)
    return Dataset(name="made-up", class_names=("a", "b", "c")[:classes], **arrays)


def model(framework, shape=SHAPE, classes=3, dtype="float64"):
    specification = models.specification("mlp", shape, classes)
    weights = {k: v.astype(dtype) for k, v in specification.initial_weights(3).items()}
    return importlib.import_module(frameworks.BUILDERS[framework]).build(specification, weights)


def wrap(framework, made, classes, shape=SHAPE):
    """An estimator of it."""
    module = importlib.import_module(frameworks.ESTIMATORS[framework])
    return module.wrap(made, input_shape=shape, classes=classes, device="cpu")


def adaptable(framework, dtype="float64", factor=1.0):
    """Whose weights are moved; its logits are `factor` times as large as they were made."""
    kernel = defenses.create("none", THREAT).kernel(recognise(model(framework, dtype=dtype)))
    weights = kernel.weights()
    last = dict(list(weights.items())[-2:])
    kernel.load_weights(weights | {name: factor * value for name, value in last.items()})
    return Adaptable(kernel, functools.partial(wrap, framework, classes=3))


def adapted(framework, shape=SHAPE, classes=3, dtype="float64"):
    """Whose features heads are fitted to."""
    fitted = defenses.create("pgd-at", THREAT).resume(model(framework, shape, classes, dtype))
    return Adapted(fitted, functools.partial(wrap, framework, shape=shape))


@dataclass
class Recorder:
    """Stands in for a model: says 0 to everything, and keeps what it is asked, in order."""

    asked: list = field(default_factory=list)

    def spent(self):
        return Cost()

    def restore(self):
        self.asked.append(("restore", None))

    def descend(self, x, y, *, steps, rate, clean=None, distance_weight=0.0):
        self.asked.append(("descend", x, steps, rate, clean, distance_weight))

    def attack(self, x, y, start, *, eps, ascent, scale):
        self.asked.append(("attack", x, ascent.norm))
        return x

    def input_gradient(self, x, y, *, scale):
        return np.zeros_like(x)

    def logits(self, x):
        self.asked.append(("logits", x))
        return np.zeros((len(x), 3))

    def predict(self, x):
        self.asked.append(("predict", x))
        return np.zeros(len(x), dtype=int)

    def of(self, kind):
        """What calls of this kind were given."""
        return [call[1:] for call in self.asked if call[0] == kind]

"""Small smooth networks in float64 that generators are learned beside, and gradients of reference.

Finite differences; a first-order result fails them.
"""

from __future__ import annotations

import numpy as np

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import torch  # noqa: E402

import defenses  # noqa: E402
from defenses.subject import recognise  # noqa: E402

FRAMEWORKS = ("torch", "tensorflow")
INPUTS, HIDDEN, CLASSES, EPS = 12, 10, 4, 0.1

# Weights of a generator, and entries of each.
PLACES = {0: (0, 7, 50), 1: (1,), 2: (3, 20), 3: (0, 5)}


def build(framework, normalised=False):
    """Dense, batch normalisation where asked for, tanh, dense."""
    generator = np.random.default_rng(5)
    shapes = [(INPUTS, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,)]
    dense = [generator.normal(0, 0.7, shape) for shape in shapes]
    # scale, shift, running mean and running variance
    statistics = list(generator.uniform(0.5, 2, (4, HIDDEN))) if normalised else []
    arrays = [*dense[:2], *statistics, *dense[2:]]
    if framework == "torch":
        between = [torch.nn.BatchNorm1d(HIDDEN, eps=1e-3)] if normalised else []
        model = torch.nn.Sequential(
            torch.nn.Linear(INPUTS, HIDDEN),
            *between,
            torch.nn.Tanh(),
            torch.nn.Linear(HIDDEN, CLASSES),
        ).double()
        held = [value for value in model.state_dict().values() if value.ndim]
        for value, array in zip(held, arrays, strict=True):
            value.copy_(torch.tensor(array.T))
        return model
    between = [keras.layers.BatchNormalization(dtype="float64")] if normalised else []
    model = keras.Sequential(
        [
            keras.Input((INPUTS,), dtype="float64"),
            keras.layers.Dense(HIDDEN, dtype="float64"),
            *between,
            keras.layers.Activation("tanh", dtype="float64"),
            keras.layers.Dense(CLASSES, dtype="float64"),
        ]
    )
    model.set_weights(arrays)
    return model


def made(name, framework, *, normalised=False, **parameters):
    defense = defenses.create(name, defenses.Threat("linf", EPS), parameters)
    return defense, defense.kernel(recognise(build(framework, normalised)))


def batch(count=6, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.uniform(0.2, 0.8, (count, INPUTS))
    return x, generator.integers(0, CLASSES, count), generator.standard_normal(x.shape)


def array(value):
    return value.detach().numpy().copy() if isinstance(value, torch.Tensor) else np.array(value)


def assign(weight, value):
    if isinstance(weight, torch.Tensor):
        with torch.no_grad():
            weight.copy_(torch.from_numpy(value))
    else:
        weight.assign(value)


def finite_differences(weights, loss, places, *, step=1e-5):
    """The slope of `loss()` along single entries, {weight: entries}, by central differences."""
    slopes = {}
    for index, entries in places.items():
        before = array(weights[index])
        for entry in entries:
            values = []
            for move in (step, -step):
                moved = before.copy()
                moved.flat[entry] += move
                assign(weights[index], moved)
                values.append(loss())
            assign(weights[index], before)
            slopes[index, entry] = (values[0] - values[1]) / (2 * step)
    return slopes

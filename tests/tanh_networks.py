"""Small smooth networks in float64, equal in both frameworks, for gradients held to references."""

from __future__ import annotations

import numpy as np

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import torch  # noqa: E402

INPUTS, HIDDEN, CLASSES = 12, 10, 4


def initial_weights(inputs=INPUTS, hidden=HIDDEN, classes=CLASSES, *, scale=0.5):
    """Of dense, tanh, dense; weights (inputs, outputs) and biases in turn."""
    generator = np.random.default_rng(5)
    shapes = [(inputs, hidden), (hidden,), (hidden, classes), (classes,)]
    return [generator.normal(0, scale, shape) for shape in shapes]


def build(framework, arrays=None):
    """The network in a framework, with its initial weights or others."""
    arrays = initial_weights() if arrays is None else arrays
    inputs, hidden, classes = (*arrays[0].shape, len(arrays[3]))
    if framework == "torch":
        layers = [torch.nn.Linear(inputs, hidden), torch.nn.Tanh()]
        model = torch.nn.Sequential(*layers, torch.nn.Linear(hidden, classes)).double()
        with torch.no_grad():
            for parameter, array in zip(model.parameters(), arrays, strict=True):
                parameter.copy_(torch.tensor(array.T))
        return model
    model = keras.Sequential(
        [
            keras.Input((inputs,), dtype="float64"),
            keras.layers.Dense(hidden, activation="tanh", dtype="float64"),
            keras.layers.Dense(classes, dtype="float64"),
        ]
    )
    model.set_weights(arrays)
    return model


def weights_of(model):
    """As `initial_weights` has them."""
    if isinstance(model, torch.nn.Module):
        return [value.detach().numpy().T.copy() for value in model.parameters()]
    return [value.copy() for value in model.get_weights()]

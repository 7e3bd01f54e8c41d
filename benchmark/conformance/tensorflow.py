"""A small smooth model in Keras, with the same weights as that in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np


def smooth(arrays: Sequence[np.ndarray], *, shape: tuple[int, ...]) -> keras.Model:
    """A hidden layer of tanh with these weights and biases, (in, out) and (out,), in float64."""
    (first, _, second, _) = arrays
    model = keras.Sequential(
        [
            keras.Input(shape, dtype="float64"),
            keras.layers.Flatten(dtype="float64"),
            keras.layers.Dense(first.shape[1], activation="tanh", dtype="float64"),
            keras.layers.Dense(second.shape[1], dtype="float64"),
        ]
    )
    model.set_weights(list(arrays))
    return model


def weights(model: keras.Model) -> list[np.ndarray]:
    """As `smooth` takes them."""
    return [np.array(value) for value in model.get_weights()]

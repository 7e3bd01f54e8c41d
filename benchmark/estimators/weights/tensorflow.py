"""The weights of a Keras model, kept."""

from __future__ import annotations

import keras
import numpy as np

# What the variables of normalisation are called that are not trained.
_STATISTICS = ("moving_mean", "moving_variance")


class Kept:
    """The weights of a model as they are now, to be compared and put back later.

    Weights are what is trained, also where it is frozen, and the statistics of normalisation. Other
    variables may be what a model remembers of its queries, and are left alone.
    """

    def __init__(self, model: keras.Model) -> None:
        self._values = [(one, one.numpy()) for one in _weights(model)]

    def changed(self) -> bool:
        """Whether one is another now."""
        return any(not _same(one, value) for one, value in self._values)

    def put_back(self) -> None:
        """Those that are others."""
        for one, value in self._values:
            if not _same(one, value):
                one.assign(value)


def _weights(model: keras.Model) -> list[keras.Variable]:
    trained = {id(one) for layer in model._flatten_layers() for one in layer._trainable_variables}
    return [one for one in model.variables if id(one) in trained or one.name.endswith(_STATISTICS)]


def _same(one: keras.Variable, value: np.ndarray) -> bool:
    return np.array_equal(one.numpy(), value, equal_nan=True)

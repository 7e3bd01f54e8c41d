"""The weights of a Keras model, kept."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

# What the variables of normalisation are called that are not trained.
_STATISTICS = ("moving_mean", "moving_variance")


def kept(model: keras.Model) -> Callable[[], bool]:
    """What puts the weights back as they are now, and tells whether one was another by then.

    Weights are what is trained and the statistics of normalisation. Other variables may be what a
    model remembers of its queries, and are left alone.
    """
    values = [(one, one.numpy()) for one in _weights(model)]

    def put_back() -> bool:
        changed = [
            (one, value) for one, value in values if not np.array_equal(one.numpy(), value, True)
        ]
        for one, value in changed:
            one.assign(value)
        return bool(changed)

    return put_back


def _weights(model: keras.Model) -> list[keras.Variable]:
    still = [one for one in model.non_trainable_variables if one.name.endswith(_STATISTICS)]
    return [*model.trainable_variables, *still]

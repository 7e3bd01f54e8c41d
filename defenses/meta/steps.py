"""What the inner steps of `meta-adv` are weighted and told apart by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# What a step but the last keeps of the outer loss, times K (the value of MAML++'s authors' code).
LEAST_STEP_WEIGHT = 0.03
# The name of s among what a training learned.
LOG_RATES = "log_rates"


def step_weights(steps: int, share: float, done: float) -> np.ndarray:
    """v_1 .. v_K when `done` of the training is over, all moved after its first `share`; sums to 1.

    With a share of 0 they are those of the last step alone.
    """
    if share == 0:
        return np.eye(steps)[-1]
    least = LEAST_STEP_WEIGHT / steps
    others = max(least, (1 - done / share) / steps)
    return np.array([others] * (steps - 1) + [1 - (steps - 1) * others])


def layer_numbers(names: Sequence[str], separator: str) -> list[int]:
    """The layer of each parameter, from 0: its name up to the last separator."""
    layers = [name.rpartition(separator)[0] for name in names]
    numbers = {layer: number for number, layer in enumerate(dict.fromkeys(layers))}
    return [numbers[layer] for layer in layers]


def adapted_names(names: Sequence[str], separator: str, *, head: bool) -> list[str]:
    """Of a model's parameters, in its order, all; or those of the last layer (`head`)."""
    layers = layer_numbers(names, separator)
    first = layers[-1] if head else 0
    return [name for name, layer in zip(names, layers, strict=True) if layer >= first]

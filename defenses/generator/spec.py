"""A small network that makes perturbations: of an example and of something of its shape.

    images    u = conv3x3(tanh(conv3x3(tanh(conv3x3([x, other])))))    channels 2 C, w, w, C
    (n, d)    u = dense(tanh(dense([x, other])))                       sizes 2 d, w, d

Smooth, so that it can be differentiated twice, and the same in both frameworks: weights are drawn
here. Each of its passes counts as one through the model that is trained, which it is smaller than.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from defenses.states import Arrays, Parts, divided

# Generators of every training begin alike: the seed of a training is for its data and attacks.
_SEED = 0x6E01


def initial_weights(input_shape: tuple[int, ...], width: int) -> list[np.ndarray]:
    """Kernels (height, width, in, out) or (in, out), each with its biases; float64.

    Args:
        input_shape: (H, W, C) or (d,).
        width: of hidden layers.
    """
    channels = input_shape[-1]
    images = len(input_shape) == 3
    sizes = [2 * channels, width, width, channels] if images else [2 * channels, width, channels]
    window = (3, 3) if images else ()
    generator = np.random.default_rng(_SEED)
    weights = []
    for before, after in itertools.pairwise(sizes):
        spread = 1 / math.sqrt(math.prod(window) * before)
        weights += [generator.normal(0, spread, (*window, before, after)), np.zeros(after)]
    return weights


class GeneratorState(ABC):
    """Weights and their Adam, made once the shape of the inputs is known: by them, or by a state.

    Args:
        width: of hidden layers.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self.weights: list[Any] = []
        self.parts = Parts()  # the weights and their optimiser

    @abstractmethod
    def make(self, arrays: Sequence[np.ndarray]) -> None:
        """Set `weights` and `parts`."""

    def fit_to(self, input_shape: tuple[int, ...]) -> None:
        """Make the weights for inputs (H, W, C) or (d,), where there are none yet."""
        if not self.weights:
            self.make(initial_weights(input_shape, self._width))

    def state(self) -> dict[str, np.ndarray]:
        """Weights and Adam's, by name."""
        return self.parts.state()

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        if not self.weights and (saved := divided(state).get("weight")):
            self.make([saved[str(index)] for index in range(len(saved))])
        self.parts.load_state(state)

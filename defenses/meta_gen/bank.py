"""The bank of patterns, in NumPy: kernels make gradients, and here is where they lead."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from defenses.states import Arrays
from defenses.threat import Threat

# Of the entries' step sizes, log-uniform: as shares of the ball's radius, or of a pixel's range.
STEP_SIZES = {"perturbation": (1e-2, 1.0), "patch": (1e-4, 1e-1)}

# Side of a patch as a share of the image's shorter side.
PATCH_SHARE = 0.3

# Banks of every training begin alike: the seed of a training is for its data and attacks.
_SEED = 0xBA2C


class Bank:
    """Patterns and their step sizes.

    Args:
        size: entries, drawn once the shape of the inputs is known.
        pattern: "perturbation", in the unit ball of the threat, or "patch", in [0, 1].
        threat: whose ball it is.
        rate: Reptile's.
    """

    def __init__(self, size: int, *, pattern: str, threat: Threat, rate: float) -> None:
        self._size, self._pattern, self._rate = size, pattern, rate
        self._ball = dataclasses.replace(threat, eps=1.0)
        self.values = self.step_sizes = np.empty(0)

    def fit_to(self, input_shape: tuple[int, ...]) -> None:
        """Draw the entries for inputs of this shape, where there are none yet."""
        if len(self.values):
            return
        side = patch_side(input_shape[:2])
        patch = self._pattern == "patch"
        self._draw((side, side, *input_shape[2:]) if patch else input_shape)

    def _draw(self, shape: tuple[int, ...]) -> None:
        """Entries of this shape: the input's, or (side, side, C) of a patch."""
        generator, size = np.random.default_rng(_SEED), (self._size, *shape)
        if self._pattern == "patch":
            self.values = generator.random(size)
        else:
            starts = self._ball.random_starts(generator, size)
            self.values = starts.astype(np.float64)
        low, high = np.log(STEP_SIZES[self._pattern])
        self.step_sizes = np.exp(generator.uniform(low, high, self._size))

    def move(self, entries: np.ndarray, adapted: np.ndarray) -> None:
        """Reptile: each entry goes towards the mean of what was adapted from it.

        Args:
            entries: where each began, (n,).
            adapted: what became of it, (n, ...).
        """
        for entry in np.unique(entries):
            target = adapted[entries == entry].mean(axis=0)
            self.values[entry] += self._rate * (target - self.values[entry])

    def state(self) -> dict[str, np.ndarray]:
        """The patterns; their step sizes are those of every bank of this shape."""
        return {"bank": self.values.copy()}

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        if len(state["bank"]):  # none where no example is made with them
            self._draw(state["bank"].shape[1:])
        self.values = state["bank"].copy()


def patch_side(sides: Sequence[int]) -> int:
    """Pixels of a patch's side in images of these sides."""
    return max(1, round(PATCH_SHARE * min(sides)))


def places(
    generator: np.random.Generator, count: int, sides: Sequence[int], side: int
) -> dict[str, np.ndarray]:
    """Random places of patches: one-hot "rows" (n, H, side) and "columns" (n, W, side).

    A patch p is at its place in the image as rows p columns^T.
    """
    found = {}
    for name, size in zip(("rows", "columns"), sides, strict=True):
        first = generator.integers(size - side + 1, size=count)
        index = first[:, None] + np.arange(side)  # (n, side)
        found[name] = np.eye(size, dtype=np.float32)[index].transpose(0, 2, 1)
    return found

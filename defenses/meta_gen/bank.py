"""The bank of patterns, in NumPy: kernels make gradients, and here is where they lead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
        size: entries.
        shape: of an entry: the input's, or (side, side, C) of a patch.
        pattern: "perturbation", in the unit ball of `norm`, or "patch", in [0, 1].
        norm: of the threat.
        rate: Reptile's.
    """

    def __init__(
        self, size: int, shape: tuple[int, ...], *, pattern: str, norm: str, rate: float
    ) -> None:
        generator = np.random.default_rng(_SEED)
        if pattern == "patch":
            self.values = generator.random((size, *shape))
        else:
            starts = Threat(norm, 1.0).random_starts(generator, (size, *shape))
            self.values = starts.astype(np.float64)
        low, high = np.log(STEP_SIZES[pattern])
        self.step_sizes = np.exp(generator.uniform(low, high, size))
        self._rate = rate

    def move(self, entries: np.ndarray, adapted: np.ndarray) -> None:
        """Reptile: each entry goes towards the mean of what was adapted from it.

        Args:
            entries: where each began, (n,).
            adapted: what became of it, (n, ...).
        """
        for entry in np.unique(entries):
            target = adapted[entries == entry].mean(axis=0)
            self.values[entry] += self._rate * (target - self.values[entry])


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

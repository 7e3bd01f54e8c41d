"""The threat model: a norm and a budget in pixel scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from defenses.errors import DefenseError, did_you_mean

NORMS = ("linf", "l2", "l1")


@dataclass(frozen=True)
class Threat:
    """Perturbations of norm at most `eps`, on inputs in [0, 1].

    Args:
        norm: "linf", "l2" or "l1".
        eps: the budget in pixel scale, greater than 0.

    Raises:
        DefenseError: an unknown norm, or a budget that is not a positive number.
    """

    norm: str
    eps: float

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise DefenseError(f"unknown norm {self.norm!r}{did_you_mean(self.norm, NORMS)}")
        if not (math.isfinite(self.eps) and self.eps > 0):
            raise DefenseError(
                f"eps must be a positive number, got {self.eps}; it is in pixel scale, such as 0.15"
            )

    def random_starts(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Points drawn uniformly from the unit ball of the norm, float32, one for each row.

        An attack starts at `x + eps * start`, clipped to [0, 1].
        """
        if self.norm == "linf":
            return generator.uniform(-1.0, 1.0, shape).astype(np.float32)
        size = math.prod(shape[1:])
        if self.norm == "l1":
            # Shares of d + 1 exponentials fill the simplex evenly; the last one is the distance
            # to the sphere.
            shares = generator.standard_exponential((shape[0], size + 1))
            shares /= shares.sum(axis=1, keepdims=True)
            signs = generator.integers(0, 2, (shape[0], size)) * 2 - 1
            return (shares[:, :-1] * signs).reshape(shape).astype(np.float32)
        directions = generator.standard_normal((shape[0], size))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        radii = generator.random((shape[0], 1)) ** (1 / directions.shape[1])
        return (directions * radii).reshape(shape).astype(np.float32)

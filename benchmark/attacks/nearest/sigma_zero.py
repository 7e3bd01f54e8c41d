"""sigma-zero: the fewest changed values, by descent on a smooth count (Cina et al. 2025).

"sigma-zero: Gradient-based Optimization of l0-norm Adversarial Examples", arXiv 2402.01879.
"""

from __future__ import annotations

import numpy as np

from benchmark.attacks.autoattack.attack import Best
from benchmark.attacks.autoattack.losses import Margin
from benchmark.attacks.geometry import TINY
from benchmark.attacks.nearest.search import NearestAttack, annealed

# Of the paper: what the learning rate falls to, and how fast the threshold moves, as its shares.
LAST_RATE = 0.1
THRESHOLD_RATE = 0.01


class SigmaZero(NearestAttack):
    """Descent on max(0, margin) + mean(change^2 / (change^2 + sigma)), with small changes undone.

    Args:
        estimator: with class gradients.
        max_iter: steps.
        learning_rate: of Adam on gradients whose largest entry is 1; falls to a tenth.
        sigma: how smooth the count of changed values is.
        threshold: changes below it are undone; grows where a point is adversarial, else shrinks.
    """

    norms = ("l0",)
    norm = 0
    max_iter: int = 1000
    learning_rate: float = 1.0
    sigma: float = 1e-3
    threshold: float = 0.3

    def _search(
        self, x: np.ndarray, y: np.ndarray, logits: np.ndarray, generator: np.random.Generator
    ) -> Best:
        flat, shape, loss = x.reshape(len(x), -1), x.shape[1:], Margin(y)
        found, points, adam = Best.nothing(flat), flat.copy(), _Adam(flat)
        threshold = np.full((len(flat), 1), self.threshold, dtype=np.float32)
        rate = self.learning_rate
        for step in range(self.max_iter):
            value, gradient, across = self._ask(found, flat, points, loss, shape)
            gradient[across | (value >= 0)] = 0  # the margin's part is a hinge
            slope = self._count_slope(points - flat) - gradient
            slope /= np.maximum(np.abs(slope).max(axis=1, keepdims=True), TINY)
            points = self._moved(flat, points - flat - rate * adam.direction(slope))
            rate = self.learning_rate * (
                LAST_RATE + (1 - LAST_RATE) * annealed(step + 1, self.max_iter)
            )
            threshold += np.where(across, 1, -1)[:, np.newaxis] * np.float32(THRESHOLD_RATE * rate)
            np.clip(threshold, 0, 1, out=threshold)
            undone = np.abs(points - flat) < threshold
            points[undone] = flat[undone]
        return found

    def _count_slope(self, change: np.ndarray) -> np.ndarray:
        """The gradient of mean(change^2 / (change^2 + sigma)) over the values, (n, d)."""
        sigma = np.float32(self.sigma)
        return np.asarray(2 * sigma * change / (change**2 + sigma) ** 2 / change.shape[1])


class _Adam:
    """Adam's means of the gradients (Kingma & Ba 2015), with its usual rates."""

    def __init__(self, like: np.ndarray) -> None:
        self._mean, self._square = np.zeros_like(like), np.zeros_like(like)
        self._steps = 0

    def direction(self, slope: np.ndarray) -> np.ndarray:
        """Where the step goes up, (n, d), to be scaled by the rate."""
        self._steps += 1
        self._mean += np.float32(0.1) * (slope - self._mean)
        self._square += np.float32(0.001) * (slope**2 - self._square)
        mean = self._mean / np.float32(1 - 0.9**self._steps)
        square = self._square / np.float32(1 - 0.999**self._steps)
        return np.asarray(mean / (np.sqrt(square) + np.float32(1e-8)))

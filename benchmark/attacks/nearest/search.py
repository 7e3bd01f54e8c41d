"""What attacks share that look for the nearest adversarial example: asking, and keeping it."""

from __future__ import annotations

import math

import numpy as np
from art.estimators.classification.classifier import ClassGradientsMixin, ClassifierMixin
from art.estimators.estimator import BaseEstimator

from benchmark.attacks.autoattack.attack import Best, RegionAttack
from benchmark.attacks.autoattack.losses import Loss, fooled, query
from benchmark.attacks.geometry import TINY, lengths


class NearestAttack(RegionAttack):
    """An attack that no budget bounds: `eps` is taken for ART's sake.

    A score of what it found is minus the distance of the nearest adversarial point.
    """

    _estimator_requirements = (BaseEstimator, ClassGradientsMixin, ClassifierMixin)

    def _ask(
        self, found: Best, x: np.ndarray, points: np.ndarray, loss: Loss, shape: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each point's loss, (n,), its gradient, (n, d), and whether it is adversarial, (n,).

        Args:
            found: takes what is adversarial and nearer than before.
            x: examples, (n, d).
            points: to ask about, (n, d), in the box.
            loss: of these examples.
            shape: of one example, as the estimator takes it.
        """
        logits, value, gradient = query(self.estimator, points.reshape(-1, *shape), loss)
        across = fooled(self.estimator, logits, loss.y)
        rows = np.flatnonzero(across)
        distance = lengths(points[rows] - x[rows], self.region.norm)
        found.add(rows, Best(across[rows], points[rows], -distance))
        return value, gradient, across

    def _moved(self, x: np.ndarray, change: np.ndarray) -> np.ndarray:
        """The examples with a change, within the box, (n, d) float32."""
        return np.clip(x + change, *self.box).astype(np.float32)

    def _stuck(self, points: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Which values a step up the gradient would move out of the box, (n, d)."""
        low, high = self.box
        return np.asarray((gradient > 0) & (points >= high) | (gradient < 0) & (points <= low))

    def _farthest(self, x: np.ndarray) -> np.ndarray:
        """The distance of the farthest point in the box, (n,)."""
        low, high = self.box
        return lengths(np.maximum(x - low, high - x), self.region.norm)


def annealed(step: int, steps: int) -> float:
    """From 1 in the first step down to 0, along a cosine."""
    return (1 + math.cos(math.pi * step / steps)) / 2


def unit(rows: np.ndarray) -> np.ndarray:
    """Each row divided by its l2 length, where it has one."""
    return np.asarray(rows / np.maximum(lengths(rows, "l2"), TINY)[:, np.newaxis])

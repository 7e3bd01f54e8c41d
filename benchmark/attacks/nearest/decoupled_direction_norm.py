"""DDN: steps up the cross-entropy on a sphere that shrinks and grows (Rony et al. 2019).

"Decoupling Direction and Norm for Efficient Gradient-Based L2 Adversarial Attacks and Defenses",
arXiv 1811.09600; the points are not rounded to 8 bits.
"""

from __future__ import annotations

import numpy as np
from art.estimators.classification.classifier import ClassifierMixin
from art.estimators.estimator import BaseEstimator, LossGradientsMixin

from benchmark.attacks.autoattack.attack import Best
from benchmark.attacks.autoattack.losses import CrossEntropy
from benchmark.attacks.geometry import TINY, lengths
from benchmark.attacks.nearest.search import NearestAttack, annealed, unit

# What the step falls to, from 1.
LAST_STEP = 0.01


class DecoupledDirectionNorm(NearestAttack):
    """The gradient gives the direction; the length shrinks at a success, else grows.

    Args:
        estimator: with loss gradients.
        max_iter: steps.
        gamma: share by which the length changes.
        init_norm: the first length.
    """

    _estimator_requirements = (BaseEstimator, LossGradientsMixin, ClassifierMixin)
    norms = ("l2",)
    norm = 2
    max_iter: int = 1000
    gamma: float = 0.05
    init_norm: float = 1.0

    def _search(
        self, x: np.ndarray, y: np.ndarray, logits: np.ndarray, generator: np.random.Generator
    ) -> Best:
        flat, shape, loss = x.reshape(len(x), -1), x.shape[1:], CrossEntropy(y)
        farthest, found, points = self._farthest(flat), Best.nothing(flat), flat.copy()
        radius = np.full(len(flat), self.init_norm, dtype=np.float32)
        for step in range(self.max_iter):
            _, gradient, across = self._ask(found, flat, points, loss, shape)
            lost = ~gradient.any(axis=1)
            gradient[lost] = generator.standard_normal((int(lost.sum()), flat.shape[1]))
            rate = LAST_STEP + (1 - LAST_STEP) * annealed(step, self.max_iter)
            change = points - flat + rate * unit(gradient)
            radius *= np.where(across, 1 - self.gamma, 1 + self.gamma).astype(np.float32)
            radius = np.minimum(radius, farthest)
            scale = radius / np.maximum(lengths(change, "l2"), TINY)
            points = self._moved(flat, change * scale[:, np.newaxis])
        return found

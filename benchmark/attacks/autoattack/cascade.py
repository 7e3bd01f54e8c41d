"""The standard AutoAttack: four attacks in a row, each on what those before it left."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from art.estimators.classification.classifier import ClassGradientsMixin, ClassifierMixin
from art.estimators.estimator import BaseEstimator, LossGradientsMixin

from benchmark.attacks.autoattack.apgd import APGDCrossEntropy, APGDTargeted
from benchmark.attacks.autoattack.attack import Best, RegionAttack
from benchmark.attacks.autoattack.fab import FABTargeted
from benchmark.attacks.autoattack.losses import closeness, fooled
from benchmark.attacks.autoattack.square import Square

# In the reference's order.
STAGES: dict[str, Callable[..., RegionAttack]] = {
    "apgd-ce": APGDCrossEntropy,
    "apgd-targeted": APGDTargeted,
    "fab-targeted": FABTargeted,
    "square": Square,
}


class StandardAutoAttack(RegionAttack):
    """APGD-CE, targeted APGD-DLR, targeted FAB and Square, with the reference's parameters.

    After `generate`, `found` says how many examples each of them broke that those before it had
    not; Square is left out where the inputs are no images.

    Args:
        estimator: with loss and class gradients.
        max_iter: steps of each gradient attack's run.
        queries: of Square.
    """

    _estimator_requirements = (
        BaseEstimator,
        LossGradientsMixin,
        ClassGradientsMixin,
        ClassifierMixin,
    )
    max_iter: int = 100
    queries: int = 5000

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: object) -> np.ndarray:
        """Adversarial examples where some were found, else the best points of the last attack.

        Args:
            x: examples in the box, (n, ...).
            y: labels as indices or one-hot; None for what the estimator predicts.
        """
        self.found = dict.fromkeys(STAGES, 0)
        return super().generate(x, y, **kwargs)

    def _search(
        self, x: np.ndarray, y: np.ndarray, logits: np.ndarray, generator: np.random.Generator
    ) -> Best:
        points, score = x.copy(), np.full(len(x), -np.inf)
        left, success = np.arange(len(x)), np.zeros(len(x), dtype=bool)
        for name, kind in STAGES.items():
            if not len(left) or (kind is Square and x.ndim != 4):
                continue
            seed = int(generator.integers(2**31))
            steps = self.queries if kind is Square else self.max_iter
            attack = kind(
                self.estimator, norm=self.norm, eps=self.eps,
                batch_size=self.batch_size, seed=seed, max_iter=steps,
            )  # fmt: skip
            made = attack.generate(x[left], y[left])
            answers = np.asarray(self.estimator.predict(made))
            broken = fooled(self.estimator, answers, y[left])
            near = closeness(answers, y[left])
            # A random model's example is attacked by all, and keeps the point that is worst for it
            moved = (made != x[left]).reshape(len(left), -1).any(axis=1)
            better = (moved & (near > score[left])) | (not self.is_random)
            points[left[better]], score[left[better]] = made[better], near[better]
            self.found[name] += int((broken & ~success[left]).sum())
            success[left] |= broken
            left = left if self.is_random else left[~broken]
        return Best(success, points, score)

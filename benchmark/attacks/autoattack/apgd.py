"""Auto-PGD on the cross-entropy, and on the targeted DLR loss (Croce & Hein 2020 and 2021)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from art.estimators.classification.classifier import ClassGradientsMixin, ClassifierMixin
from art.estimators.estimator import BaseEstimator, LossGradientsMixin

from benchmark.attacks.arrays import Array, beside
from benchmark.attacks.autoattack.attack import Best, RegionAttack
from benchmark.attacks.autoattack.climbing import climb
from benchmark.attacks.autoattack.losses import (
    DLR,
    CrossEntropy,
    Loss,
    Margin,
    ProbabilityMargin,
    TargetedDLR,
    other_classes,
)

# Under l1 the search begins in greater balls: (multiple of eps, share of the iterations).
WIDE_STARTS = ((3.0, 0.3), (2.0, 0.3))


# Of `APGDCrossEntropy`, by name; "probability-margin" is what makes it PMA's.
LOSSES: dict[str, Callable[[np.ndarray], Loss]] = {
    "cross-entropy": CrossEntropy,
    "dlr": DLR,
    "margin": Margin,
    "probability-margin": ProbabilityMargin,
}


class APGDCrossEntropy(RegionAttack):
    """Auto-PGD on the cross-entropy, or on another loss without a target.

    Args:
        estimator: with loss gradients.
        max_iter: steps of each run.
        eps_step: the first step's length; None for the papers' 2 eps (linf, l2) or eps (l1).
        nb_random_init: random starts; None for the papers' 1 (linf, l2) or 5 (l1).
        loss: one of `LOSSES`.
    """

    _estimator_requirements = (BaseEstimator, LossGradientsMixin, ClassifierMixin)
    max_iter: int = 100
    eps_step: float | None = None
    nb_random_init: int | None = None
    loss: str = "cross-entropy"
    takes_tensors = True

    def _search(
        self, x: Array, y: np.ndarray, logits: np.ndarray, generator: np.random.Generator
    ) -> Best:
        starts = self.nb_random_init or (5 if self.region.norm == "l1" else 1)
        flat = x.reshape(len(x), -1)
        found = Best.nothing(flat)
        for _ in range(starts):
            _climb_open(self, found, flat, LOSSES[self.loss](y), x.shape[1:], generator)
        return found

    def _check_params(self) -> None:
        super()._check_params()
        if self.loss not in LOSSES:
            raise ValueError(f"loss is {self.loss!r}; allowed: {', '.join(LOSSES)}")


class APGDTargeted(RegionAttack):
    """Auto-PGD on the DLR loss towards one class after another, the most likely first.

    Args:
        estimator: with class gradients.
        max_iter: steps of each run.
        nb_random_init: random starts for each class.
        targets: classes to try, at most; None for the papers' 9 (linf, l2) or 5 (l1).
    """

    _estimator_requirements = (BaseEstimator, ClassGradientsMixin, ClassifierMixin)
    max_iter: int = 100
    nb_random_init: int = 1
    targets: int | None = None
    takes_tensors = True

    def _search(
        self, x: Array, y: np.ndarray, logits: np.ndarray, generator: np.random.Generator
    ) -> Best:
        flat = x.reshape(len(x), -1)
        found = Best.nothing(flat)
        targets = self.targets or (5 if self.region.norm == "l1" else 9)
        for target in other_classes(logits, y)[:, :targets].T:
            for _ in range(self.nb_random_init):
                _climb_open(self, found, flat, TargetedDLR(y, target), x.shape[1:], generator)
        return found


def _climb_open(
    attack: APGDCrossEntropy | APGDTargeted,
    found: Best,
    x: Array,
    loss: Loss,
    shape: tuple[int, ...],
    generator: np.random.Generator,
) -> None:
    """One run from random starts over what is not found yet, its points added to `found`.

    Of a random model nothing counts as found: each run goes to its end, and the highest point stays
    (in place of the last misclassified one of the reference's version for such models).
    """
    rows = np.flatnonzero(~found.success)
    if not len(rows):
        return
    x, loss, region = x[rows], loss.take(rows), attack.region
    step = getattr(attack, "eps_step", None)
    stops = not attack.is_random
    run = partial(climb, attack.estimator, shape=shape, first_step=step, stops=stops)
    if region.norm != "l1":
        start = region.random_points(x, generator)
        found.add(rows, run(region, loss, x, start, iterations=attack.max_iter))
        return
    left = attack.max_iter
    start = x + beside(generator.standard_normal(tuple(x.shape), dtype=np.float32), x)
    for multiple, share in WIDE_STARTS:
        wide = replace(region, eps=multiple * region.eps)
        steps = min(math.ceil(share * attack.max_iter), left)
        start = wide.project(x, start)
        start = run(wide, loss, x, start, iterations=steps, fresh=False, stops=False).points
        left -= steps
    found.add(rows, run(region, loss, x, region.project(x, start), iterations=left, fresh=False))

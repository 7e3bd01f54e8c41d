"""FMN: steps up the margin within a ball that shrinks and grows (Pintor et al. 2021).

"Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints", arXiv 2102.12827, with
two changes, without which it ends short of the boundary on some models: the first radius goes a
little beyond the linearised boundary, and steps pass over values that would leave the box, since
moves that the box undoes use the ball's radius up.
"""

from __future__ import annotations

import numpy as np

from benchmark.attacks.autoattack.attack import Best
from benchmark.attacks.autoattack.losses import Margin
from benchmark.attacks.geometry import TINY, lengths, onto_ball
from benchmark.attacks.nearest.search import NearestAttack, annealed, unit

DUAL = {"linf": "l1", "l2": "l2", "l1": "linf"}
# Of the paper: what step and change of the radius fall to.
LAST_STEP = 0.01  # of the first
LAST_GAMMA = 0.001


class FastMinimumNorm(NearestAttack):
    """Steps of falling length up the margin, projected onto a ball with a radius of its own.

    Args:
        estimator: with class gradients.
        max_iter: steps.
        alpha: l2 length of the first step.
        gamma: share by which a radius shrinks or grows at first.
    """

    norms = ("linf", "l2", "l1", "l0")
    max_iter: int = 1000
    alpha: float = 1.0
    gamma: float = 0.05

    def _search(
        self, x: np.ndarray, y: np.ndarray, logits: np.ndarray, generator: np.random.Generator
    ) -> Best:
        flat, shape, loss = x.reshape(len(x), -1), x.shape[1:], Margin(y)
        norm, farthest = self.region.norm, self._farthest(flat)
        found, points = Best.nothing(flat), flat.copy()
        radius = np.full(len(flat), 1.0 if norm == "l0" else np.inf)
        for step in range(self.max_iter):
            value, gradient, across = self._ask(found, flat, points, loss, shape)
            gradient[self._stuck(points, gradient)] = 0
            share = annealed(step, self.max_iter)
            gamma = LAST_GAMMA + (self.gamma - LAST_GAMMA) * share
            if norm == "l0":
                radius = _count(radius, gamma, across, -found.score)
            else:
                gap = np.abs(value) / np.maximum(lengths(gradient, DUAL[norm]), TINY)
                beyond = lengths(points - flat, norm) + (1 + gamma) * gap
                radius = _radius(radius, gamma, across, -found.score, beyond)
            radius = np.minimum(radius, farthest)
            rate = self.alpha * (LAST_STEP + (1 - LAST_STEP) * share)
            change = points - flat + rate * unit(gradient)
            points = self._moved(flat, onto_ball(change, norm, radius[:, np.newaxis]))
        return found


def _radius(
    radius: np.ndarray, gamma: float, across: np.ndarray, best: np.ndarray, beyond: np.ndarray
) -> np.ndarray:
    """The next radius, (n,): beyond the linearised boundary until one is crossed.

    Args:
        radius: the last.
        gamma: share by which it changes.
        across: where the point is adversarial.
        best: distance of the nearest adversarial point; infinite where there is none.
        beyond: distance beyond the boundary as the gradient has it.
    """
    wider = np.where(np.isfinite(best), radius * (1 + gamma), beyond)
    return np.where(across, np.minimum(radius * (1 - gamma), best), wider)


def _count(radius: np.ndarray, gamma: float, across: np.ndarray, best: np.ndarray) -> np.ndarray:
    """The same of l0, where it counts values, and changes by at least one."""
    fewer = np.minimum(np.minimum(radius - 1, np.floor(radius * (1 - gamma))), best)
    more = np.maximum(radius + 1, np.floor(radius * (1 + gamma)))
    return np.maximum(np.where(across, fewer, more), 0)

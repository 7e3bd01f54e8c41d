"""Targeted Fast Adaptive Boundary attack (Croce & Hein 2020, "Minimally distorted ...")."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from art.estimators.classification.classifier import ClassGradientsMixin, ClassifierMixin
from art.estimators.estimator import BaseEstimator

from benchmark.attacks.arrays import Array, beside, dot, host, namespace
from benchmark.attacks.autoattack.attack import Best, Open, RegionAttack
from benchmark.attacks.autoattack.losses import Difference, fooled, other_classes, query
from benchmark.attacks.autoattack.planes import towards_plane
from benchmark.attacks.geometry import TINY, Region, lengths
from benchmark.estimators.passes import outputs_of

# Of the paper: overshooting, the way back from a success, and how much of a step may start anew
# from the example.
OVERSHOOT = 1.05
WAY_BACK = 0.9
LARGEST_BIAS = 0.1


class FABTargeted(RegionAttack):
    """Steps onto the linearised boundary to one class after another, ever nearer to the example.

    Where a point on the boundary may be judged to be right, it looks for the nearest one in any
    case, and goes on along the same way to the edge of the budget.

    Args:
        estimator: with class gradients.
        max_iter: steps of each run.
        nb_restarts: runs for each class; the second and later ones begin at random.
        targets: classes to try, at most, the most likely first.
        minimal: whether to go on within the budget, and to return what lies beyond it too.
    """

    _estimator_requirements = (BaseEstimator, ClassGradientsMixin, ClassifierMixin)
    max_iter: int = 100
    nb_restarts: int = 1
    targets: int = 9
    minimal: bool = False
    takes_tensors = True

    def _search(
        self, x: Array, y: np.ndarray, logits: np.ndarray, generator: np.random.Generator
    ) -> Best:
        flat = x.reshape(len(x), -1)
        found = Best.nothing(flat)
        for target in other_classes(logits, y)[:, : self.targets].T:
            for restart in range(self.nb_restarts):
                rows = np.arange(len(x)) if self._to_the_end else np.flatnonzero(~found.success)
                if not len(rows):
                    return found
                start = flat[rows]
                if restart:
                    half = self.region.random_points(start, generator)
                    start += (half - start) / 2
                loss = Difference(y[rows], target[rows])
                found.add(rows, self._run(flat[rows], start, loss, x.shape[1:]))
        if self.goes_beyond and not self.minimal:
            found.points = self._at_the_edge(flat, found.points)
        return found

    @property
    def _to_the_end(self) -> bool:
        """Whether to go on where a point is within the budget."""
        return self.minimal or self.goes_beyond

    def _at_the_edge(self, x: Array, points: Array) -> Array:
        """The points of the region farthest along the ways to `points`, (n, d)."""
        change, region = points - x, self.region
        scale = region.eps / namespace(x).clip(lengths(change, region.norm), TINY, None)
        return region.project(x, x + change * scale[:, None])

    def _run(self, x: Array, start: Array, loss: Difference, shape: tuple[int, ...]) -> Best:
        """One run from `start`, (n, d); a score is minus the distance of a success."""
        found, region = Best.nothing(x), self.region
        search = _Walk(np.arange(len(x)), x, start)
        for _ in range(self.max_iter):
            _, value, gradient = query(self.estimator, search.point.reshape(-1, *shape), loss)
            search.point = _step(search, value, gradient, region)
            logits = outputs_of(self.estimator, search.point.reshape(-1, *shape))
            across = fooled(None, logits, loss.y) | fooled(self.estimator, logits, loss.y)
            distance = host(lengths(search.point - search.x, region.norm))
            inside = across & (distance <= region.eps)
            taken = across if self._to_the_end else inside
            rows = search.rows[taken]
            found.add(rows, Best(inside[taken], search.point[taken], -distance[taken]))
            search.point[across] = (
                search.x[across] + (search.point[across] - search.x[across]) * WAY_BACK
            )
            if not self._to_the_end and inside.any():
                search.keep(~inside)
                loss = loss.take(~inside)
                if not len(search.rows):
                    break
        return found


@dataclass
class _Walk(Open):
    """Examples still open: where they stand among all, the examples, and where the search is."""

    rows: np.ndarray
    x: Array
    point: Array


def _step(walk: _Walk, value: np.ndarray, gradient: Array, region: Region) -> Array:
    """Onto the linearised boundary, from the point and from the example, and a mean of the two."""
    x, point, box, xp = walk.x, walk.point, (region.low, region.high), namespace(walk.x)
    at_point = beside(value, x)
    at_example = at_point + dot(gradient, x - point)
    move = towards_plane(point, gradient, at_point, region.norm, box)
    jump = towards_plane(x, gradient, at_example, region.norm, box)
    near, far = (xp.clip(lengths(each, region.norm), 1e-8, None) for each in (move, jump))
    bias = xp.clip(near / (near + far), None, LARGEST_BIAS)[:, None]
    mean = (point + OVERSHOOT * move) * (1 - bias) + (x + OVERSHOOT * jump) * bias
    return xp.clip(mean, region.low, region.high)

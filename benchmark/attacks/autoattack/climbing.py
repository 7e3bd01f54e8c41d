"""The search of Auto-PGD: gradient ascent that chooses its own steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.attacks.arrays import Array, ascending, beside, copied, host, namespace
from benchmark.attacks.autoattack.attack import Best, Open
from benchmark.attacks.autoattack.losses import Loss, fooled, query
from benchmark.attacks.geometry import TINY, Region, lengths
from benchmark.estimators.estimator import Classifier

# Weight of the new step against the last one, its momentum (2020, eq. 5).
MOMENTUM_WEIGHT = 0.75
# Share of steps that have to rise for a step size to be kept.
RISING_SHARE = 0.75


@dataclass
class Climb(Open):
    """Examples still open; each array has a row for each of them.

    Args:
        rows: where they stand among all.
        x: the examples.
        point, previous: where the search is, and was one step before.
        gradient, value: at `point`.
        last_value: at `previous`.
        best, best_gradient, best_value: of the highest point so far.
    """

    rows: np.ndarray
    x: Array
    point: Array
    previous: Array
    gradient: Array
    value: np.ndarray
    last_value: np.ndarray
    best: Array
    best_gradient: Array
    best_value: np.ndarray

    @classmethod
    def begin(cls, x: Array, start: Array, value: np.ndarray, gradient: Array) -> Climb:
        """At `start`, which is the highest point so far."""
        here = (start, start, gradient, value, value)
        best = (copied(start), copied(gradient), value.copy())
        return cls(np.arange(len(x)), x, *here, *best)

    def back_to_best(self, which: np.ndarray) -> None:
        """Let these go on from their highest point."""
        self.point[which] = self.best[which]
        self.gradient[which] = self.best_gradient[which]

    def arrive(self, point: Array, value: np.ndarray, gradient: Array) -> None:
        """Take a step's end, and keep it where it is the highest."""
        self.previous, self.point = self.point, point
        self.last_value, self.value, self.gradient = self.value, value, gradient
        higher = np.flatnonzero(value > self.best_value)
        self.best[higher] = point[higher]
        self.best_gradient[higher] = gradient[higher]
        self.best_value[higher] = value[higher]


class Halving(Open):
    """Steps for linf and l2: halved at checkpoints where too few of them rose (2020, algorithm 1).

    Args:
        climb: the examples.
        region: where they may go.
        iterations: in all.
        first_step: its length; None for 2 eps.
    """

    def __init__(
        self, climb: Climb, region: Region, iterations: int, *, first_step: float | None = None
    ) -> None:
        first_step = 2 * region.eps if first_step is None else first_step
        self.step = _column(first_step, climb.x)
        self.rises = np.zeros(len(climb.rows), dtype=int)
        self.checked = climb.best_value.copy()
        self.halved = np.ones(len(climb.rows), dtype=bool)
        self._region = region
        self._iterations = iterations
        self._window = self._left = max(int(0.22 * iterations), 1)
        self._moved = False

    def move(self, climb: Climb) -> Array:
        """The next points."""
        region = self._region
        if region.norm == "linf":
            direction = namespace(climb.x).sign(climb.gradient)
        else:
            length = lengths(climb.gradient, "l2")[:, None]
            direction = climb.gradient / (length + TINY)
        direction *= self.step
        direction += climb.point
        point = region.project(climb.x, direction)
        if not self._moved:
            self._moved = True
            return point
        point -= climb.point
        point *= MOMENTUM_WEIGHT
        point += climb.point
        momentum = climb.point - climb.previous
        momentum *= 1 - MOMENTUM_WEIGHT
        point += momentum
        return region.project(climb.x, point)

    def review(self, climb: Climb) -> None:
        """Count the rises; at a checkpoint, halve and go back to the best."""
        self.rises += climb.value > climb.last_value
        self._left -= 1
        if self._left:
            return
        stuck = ~self.halved & (self.checked >= climb.best_value)
        self.halved = (self.rises <= RISING_SHARE * self._window) | stuck
        self.checked = climb.best_value.copy()
        self.step[self.halved] /= 2
        climb.back_to_best(self.halved)
        self.rises[:] = 0
        shortest = max(int(0.06 * self._iterations), 1)
        self._window = max(self._window - max(int(0.03 * self._iterations), 1), shortest)
        self._left = self._window


class Sparse(Open):
    """Steps for l1: along the largest entries of the gradient, ever fewer (2021, algorithm 1).

    Args:
        climb: the examples.
        region: where they may go.
        iterations: in all.
        fresh: whether the search starts at random, or where another ended.
        first_step: the length of the longest; None for eps.
    """

    def __init__(
        self,
        climb: Climb,
        region: Region,
        iterations: int,
        *,
        fresh: bool,
        first_step: float | None = None,
    ) -> None:
        n, self._size = tuple(climb.x.shape)
        self._longest = min(region.eps if first_step is None else first_step, region.eps)
        self.step = _column(self._longest, climb.x)
        changed = host((climb.point != climb.x).sum(axis=1))
        self.changed = np.full(n, self._size) if fresh else changed
        self.share = np.full(n, 0.2) if fresh else changed / self._size / 1.5
        self._region = region
        self._window = self._left = max(int(0.04 * iterations), 1)

    def move(self, climb: Climb) -> Array:
        """The next points."""
        xp = namespace(climb.x)
        size = xp.abs(climb.gradient)
        index = np.clip(((1 - self.share) * self._size).astype(int), 0, self._size - 1)
        thresholds = ascending(size)[np.arange(len(size)), index]
        direction = xp.sign(climb.gradient) * (size >= thresholds[:, None])
        direction /= xp.abs(direction).sum(axis=1, keepdims=True) + 1e-10
        return self._region.project(climb.x, climb.point + self.step * direction)

    def review(self, climb: Climb) -> None:
        """At a checkpoint, start anew from the best where it got sparser; else smaller steps."""
        self._left -= 1
        if self._left:
            return
        self._left = self._window
        changed = host((climb.best != climb.x).sum(axis=1))
        sparser = changed < 0.95 * self.changed
        self.share = changed / self._size / 1.5
        self.changed = changed
        self.step[sparser] = self._longest
        shorter = self.step[~sparser] / 1.5
        self.step[~sparser] = namespace(shorter).clip(shorter, self._longest / 10, None)
        climb.back_to_best(sparser)


def _column(value: float, like: Array) -> Array:
    """The same value for each row, (n, 1), where these are."""
    return beside(np.full((len(like), 1), value, dtype=np.float32), like)


def _rule(
    search: Climb, region: Region, iterations: int, *, fresh: bool, first_step: float | None
) -> Halving | Sparse:
    if region.norm == "l1":
        return Sparse(search, region, iterations, fresh=fresh, first_step=first_step)
    return Halving(search, region, iterations, first_step=first_step)


def climb(
    estimator: Classifier,
    region: Region,
    loss: Loss,
    x: Array,
    start: Array,
    *,
    iterations: int,
    shape: tuple[int, ...],
    fresh: bool = True,
    stops: bool = True,
    first_step: float | None = None,
) -> Best:
    """Climb `loss` from `start`; an example is left alone once it is misclassified.

    Args:
        estimator: an ART classifier.
        region: where the points may lie.
        loss: of these examples.
        x: examples, (n, d).
        start: where to begin, (n, d), within the region.
        iterations: steps.
        shape: of one example, as the estimator takes it.
        fresh: whether `start` is random, or where another search ended.
        stops: whether misclassified examples are left alone.
        first_step: the longest; None for the papers'.
    """
    found = Best.nothing(x)
    logits, value, gradient = query(estimator, start.reshape(-1, *shape), loss)
    search = Climb.begin(x, start, value, gradient)
    rule = _rule(search, region, iterations, fresh=fresh, first_step=first_step)
    for step in range(iterations + 1):
        if step:
            point = rule.move(search)
            logits, value, gradient = query(estimator, point.reshape(-1, *shape), loss)
            search.arrive(point, value, gradient)
        done = fooled(estimator, logits, loss.y) & stops
        if done.any():
            rows = search.rows[done]
            found.success[rows], found.points[rows] = True, search.point[done]
            search.keep(~done)
            rule.keep(~done)
            loss = loss.take(~done)
            if not len(search.rows):
                return found
        if step:
            rule.review(search)
    found.points[search.rows], found.score[search.rows] = search.best, search.best_value
    return found

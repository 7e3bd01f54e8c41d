"""What an attack asks about on its way: nothing found is lost, and no attack outlives its limit.

A `Watch` is the observer of an estimator while an attack runs. Each point is taken for a query
about the clean example that it lies near; where it fools the model within budget and box, it is
kept. What is kept is judged like what the attack returns, by the whole pipeline, outside of it.
Tensors on a GPU are looked at there: only what is kept comes to the host.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmark.attacks.arrays import Array, beside, host, smallest
from benchmark.attacks.autoattack.losses import closeness
from benchmark.attacks.entry import UNRESTRICTED
from benchmark.attacks.geometry import distances, in_box, limit
from defenses.labels import labels_of

# Clean examples to try, nearest in l2 first, for a point that no earlier query explains.
_CANDIDATES = 4


class AttackTimeoutError(Exception):
    """The attack ran past its limit."""


class FoundError(Exception):
    """The only example under attack has an adversarial one: there is nothing more to learn."""


class Watch:
    """The observer of one attack.

    Args:
        norm: of the budget; "unrestricted" for none.
        eps: the budget, in pixel scale.
        predict: outputs of points, (n, classes), where the attack's query computed none.
        keeps: whether points on the way count; not for universal attacks.
        nearest: whether to keep the nearest adversarial point instead of the first one, and one
            beyond the budget too.
        firmest: whether to keep the one of the highest margin, within the budget: what a random
            model gets wrong by little it may be judged to get right.
        scores: what decides, of the outputs, where output defenses change them.
        stops: whether to raise `FoundError` once every example under attack is done.
        leaves: whether an example that is done needs no more gradients; see `open_rows`.
        seconds: after which to raise `AttackTimeoutError`, at the next query; None for no limit.
        weights: of features whose budgets differ, (d,); see `distances`.
    """

    def __init__(
        self,
        *,
        norm: str,
        eps: float,
        predict: Callable[[Array], np.ndarray],
        keeps: bool = True,
        nearest: bool = False,
        firmest: bool = False,
        scores: Callable[[np.ndarray], np.ndarray] | None = None,
        stops: bool = False,
        leaves: bool = False,
        seconds: float | None = None,
        weights: np.ndarray | None = None,
    ) -> None:
        self._norm = "l2" if norm == UNRESTRICTED else norm
        self._eps = eps
        self._predict, self._scores = predict, scores
        self._nearest, self._firmest = nearest and not firmest, firmest
        self._keeps, self._stops, self._leaves = keeps, stops, leaves
        self._seconds, self._weights = seconds, weights
        self._started = time.monotonic()
        self.begin(np.empty((0, 1), dtype=np.float32), np.empty(0, dtype=np.int64))

    def begin(self, x: np.ndarray, y: np.ndarray) -> None:
        """From now on the attack works on these clean examples, (k, ...), with true labels (k,)."""
        self._shape = x.shape[1:]
        self._clean, self._label = x.reshape(len(x), int(np.prod(self._shape))), y
        self._limit = limit(self._norm, self._eps, self._clean.shape[1])
        self._beside: Array = self._clean
        self._squares = (self._clean**2).sum(axis=1)
        self._rows: dict[int, np.ndarray] = {}
        self._expected = np.empty(0, dtype=np.int64)
        self._queries = np.zeros(len(x), dtype=np.int64)
        self._best = np.full(len(x), -np.inf)
        self.kept = x.copy()
        self.has_kept = np.zeros(len(x), dtype=bool)
        self.first_query = np.full(len(x), -1, dtype=np.int64)

    @property
    def next_query(self) -> np.ndarray:
        """The number that the next query on each example would have, (k,); -1 where unknown."""
        return self._queries + 1 if self._keeps else np.full(len(self._queries), -1)

    def expect(self, rows: np.ndarray) -> None:
        """The next queries of as many points are about these of the clean examples, (m,)."""
        self._expected = rows

    @property
    def left(self) -> np.ndarray:
        """Which examples were left before the attack's end, (k,) bool."""
        return (self.first_query >= 0) & self._leaves

    def open_rows(self, count: int) -> np.ndarray | None:
        """Which of `count` points about all examples need a gradient, (m,); None for all."""
        if count != len(self._label) or not self.left.any():
            return None
        return np.flatnonzero(~self.left)

    def __call__(self, points: Array, outputs: np.ndarray | None) -> None:
        """Take note of a query: points (m, ...) and their outputs (m, classes), if known."""
        if self._seconds is not None and time.monotonic() - self._started > self._seconds:
            raise AttackTimeoutError(f"ran past the attack timeout of {self._seconds:g} s")
        if not self._keeps or not len(self._label) or not len(points):
            return
        flat = points.reshape(len(points), -1)
        if flat.shape[1] != self._clean.shape[1]:
            return
        rows = self._rows_of(flat)
        number = self._count(rows)
        self._note(flat, rows, number, points, outputs)
        if self._stops and (self.first_query >= 0).all():
            raise FoundError

    def _note(
        self,
        flat: Array,
        rows: np.ndarray,
        number: np.ndarray,
        points: Array,
        outputs: np.ndarray | None,
    ) -> None:
        """Keep what is adversarial; `number` is that of each point's query on its example."""
        goes_on = self._nearest or self._firmest
        wanted = np.flatnonzero(goes_on | (self.first_query[rows] < 0))
        if not len(wanted):
            return
        outputs = (self._predict(points) if outputs is None else outputs)[wanted]
        decisive = outputs if self._scores is None else self._scores(outputs)
        wrong = labels_of(decisive) != self._label[rows[wanted]]
        wanted, outputs = wanted[wrong], outputs[wrong]
        if not len(wanted):
            return
        found, row = flat[wanted], rows[wanted]
        clean = self._clean_beside(found)[row]
        distance = host(distances(found, clean, self._norm, self._weights))
        within = distance <= self._limit
        usable = np.flatnonzero(host(in_box(found)) & (self._nearest | within))
        worth = -distance if self._nearest else np.zeros(len(row))
        if self._firmest:
            worth = closeness(outputs, self._label[row])
        self._keep(found, row, worth, usable)
        inside = usable[within[usable]]
        asked, first = np.unique(row[inside], return_index=True)
        unknown = self.first_query[asked] < 0
        self.first_query[asked[unknown]] = number[wanted[inside[first[unknown]]]]

    def _keep(self, found: Array, row: np.ndarray, worth: np.ndarray, usable: np.ndarray) -> None:
        """Of the usable places among points: each example's most worth, the first of equal ones."""
        usable = usable[np.argsort(-worth[usable], kind="stable")]
        places = usable[np.unique(row[usable], return_index=True)[1]]
        better = worth[places] > self._best[row[places]]
        places = places[better | ~self.has_kept[row[places]]]
        if len(places):
            rows = row[places]
            self.kept[rows] = host(found[places]).reshape(-1, *self._shape)
            self.has_kept[rows], self._best[rows] = True, worth[places]

    def _rows_of(self, flat: np.ndarray) -> np.ndarray:
        """The clean example that each point is about, (m,)."""
        count = len(self._label)
        if count == 1:
            return np.zeros(len(flat), dtype=np.int64)
        if len(flat) == len(self._expected):
            return self._expected
        if len(flat) == count:
            return np.arange(count)
        rows = self._rows.get(len(flat))
        if rows is not None and self._near(flat, rows).all():
            return rows
        rows = self._rows[len(flat)] = self._nearest_rows(flat)
        return rows

    def _nearest_rows(self, flat: Array) -> np.ndarray:
        """By l2; where that one is beyond the budget, one of the next that is not."""
        # (m, k), less a constant of the point
        squares = beside(self._squares, flat) - 2 * flat @ self._clean_beside(flat).T
        candidates = min(_CANDIDATES, squares.shape[1])
        ranked = smallest(squares, candidates)
        rows = ranked[:, 0].copy()
        open_points = np.flatnonzero(~self._near(flat, rows))
        for rank in range(1, candidates):
            if not len(open_points):
                break
            tried = ranked[open_points, rank]
            near = self._near(flat[open_points], tried)
            rows[open_points[near]] = tried[near]
            open_points = open_points[~near]
        return rows

    def _near(self, flat: Array, rows: np.ndarray) -> np.ndarray:
        clean = self._clean_beside(flat)[rows]
        apart = distances(flat, clean, self._norm, self._weights)
        return np.asarray(host(apart) <= self._limit)

    def _clean_beside(self, points: Array) -> Array:
        """The clean examples where `points` are."""
        if type(self._beside) is not type(points):
            self._beside = beside(self._clean, points)
        return self._beside

    def _count(self, rows: np.ndarray) -> np.ndarray:
        """The number of each point's query among those about its example, from 1."""
        order = np.argsort(rows, kind="stable")
        counts = np.bincount(rows, minlength=len(self._queries))
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        number = np.empty(len(rows), dtype=np.int64)
        number[order] = np.arange(len(rows)) - starts + 1
        number += self._queries[rows]
        self._queries += counts
        return number

"""Sparse-RS: random search for the values to change, without gradients (Croce et al. 2022).

"Sparse-RS: a Versatile Framework for Query-Efficient Sparse Black-Box Adversarial Attacks", arXiv
2006.12834, on single values, not on pixels: so l0 counts them here, and tables have them too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.attacks.autoattack.attack import Best, Open, RegionAttack
from benchmark.attacks.autoattack.losses import closeness, fooled
from benchmark.attacks.autoattack.square import SCHEDULED_QUERIES
from benchmark.attacks.geometry import limit

# By what `p_init` is divided after these queries.
DIVISORS = {0: 2, 50: 4, 200: 5, 500: 6, 1000: 8, 2000: 10, 4000: 12, 6000: 15, 8000: 20}


class SparseRS(RegionAttack):
    """Some of the changed values are changed back, others go to an end of the box.

    Args:
        estimator: any classifier; only its predictions are asked for.
        max_iter: queries an example.
        p_init: share of the budget's values that are exchanged at first.
        nb_restarts: searches.
        rescaled: whether fewer are exchanged as fast as `max_iter` is short of 10,000.
    """

    norms = ("l0",)
    norm = 0
    max_iter: int = 5000
    p_init: float = 0.3
    nb_restarts: int = 1
    rescaled: bool = True

    def _search(
        self, x: np.ndarray, y: np.ndarray, logits: np.ndarray, generator: np.random.Generator
    ) -> Best:
        flat = x.reshape(len(x), -1)
        found = Best.nothing(flat)
        for _ in range(self.nb_restarts):
            rows = np.flatnonzero(~found.success | self.is_random)
            if len(rows):
                found.add(rows, self._run(flat[rows], y[rows], x.shape[1:], generator))
        return found

    def _run(
        self, x: np.ndarray, y: np.ndarray, shape: tuple[int, ...], generator: np.random.Generator
    ) -> Best:
        """One search over examples, (n, d), of `shape` each."""
        count = min(int(limit("l0", self.eps, x.shape[1])), x.shape[1])
        others = x.shape[1] - count
        found, search = Best.nothing(x), _Choice.begin(x, y, count, generator)
        points = x.copy()
        np.put_along_axis(points, search.inside, self._ends(search.inside.shape, generator), axis=1)
        back = forth = np.arange(0)
        for query in range(1, self.max_iter + 1):
            logits = np.asarray(self.estimator.predict(points.reshape(-1, *shape)))
            across = fooled(self.estimator, logits, search.y)
            score = closeness(logits, search.y)
            found.add(search.rows, Best(across, points, score))
            search.take(points, score, back, forth)
            search.keep(~across | self.is_random)
            size = min(max(int(self._share(query) * count), 1), count, others)
            if not len(search.rows) or not size:
                break
            back, forth = (generator.permutation(most)[:size] for most in (count, others))
            points = self._exchanged(search, back, forth, generator)
        return found

    def _exchanged(
        self,
        search: _Choice,
        back: np.ndarray,
        forth: np.ndarray,
        generator: np.random.Generator,
    ) -> np.ndarray:
        """The best points with the values at places `back` unchanged, and `forth` changed."""
        points, x = search.points.copy(), search.x
        columns = search.inside[:, back]
        np.put_along_axis(points, columns, np.take_along_axis(x, columns, axis=1), axis=1)
        columns = search.outside[:, forth]
        values = self._ends(columns.shape, generator)
        if len(forth) == 1:  # that one must change something
            low, high = self.box
            same = values == np.take_along_axis(x, columns, axis=1)
            values = np.where(same, np.float32(low + high) - values, values)
        np.put_along_axis(points, columns, values, axis=1)
        return points

    def _ends(self, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
        """The least or the greatest value of an input, at random."""
        return np.where(generator.random(shape) < 0.5, *self.box).astype(np.float32)

    def _share(self, query: int) -> float:
        """Of the budget's values, that are exchanged."""
        place = query * SCHEDULED_QUERIES // self.max_iter if self.rescaled else query
        by = [by for after, by in DIVISORS.items() if place > after]  # none yet of many queries
        return self.p_init / max(by, default=min(DIVISORS.values()))


@dataclass
class _Choice(Open):
    """Examples still open, a row for each in each array.

    Args:
        rows: where they stand among all.
        x: the examples, (n, d).
        y: their labels.
        points: the best so far, (n, d).
        score: of them; none yet is minus infinity.
        inside: which values are changed, (n, count).
        outside: which are not, (n, d - count).
    """

    rows: np.ndarray
    x: np.ndarray
    y: np.ndarray
    points: np.ndarray
    score: np.ndarray
    inside: np.ndarray
    outside: np.ndarray

    @classmethod
    def begin(
        cls, x: np.ndarray, y: np.ndarray, count: int, generator: np.random.Generator
    ) -> _Choice:
        """With values of its own, at random, for each example."""
        values = np.arange(x.shape[1], dtype=np.int32)
        order = generator.permuted(np.tile(values, (len(x), 1)), axis=1)
        score = np.full(len(x), -np.inf)
        return cls(np.arange(len(x)), x, y, x.copy(), score, order[:, :count], order[:, count:])

    def take(
        self, points: np.ndarray, score: np.ndarray, back: np.ndarray, forth: np.ndarray
    ) -> None:
        """Go on from points that are better, in which these places of the lists are exchanged."""
        better = np.flatnonzero((score > self.score) | np.isinf(self.score))
        self.points[better], self.score[better] = points[better], score[better]
        from_inside, from_outside = np.ix_(better, back), np.ix_(better, forth)
        left = self.inside[from_inside]
        self.inside[from_inside] = self.outside[from_outside]
        self.outside[from_outside] = left

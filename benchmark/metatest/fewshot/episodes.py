"""Episodes of new classes: which classes, supports and queries, and where attacks start.

All is drawn in NumPy from the seed of the data's split, the ways and the episode's number, and
neither from the framework nor from the training's seed: every model meets the same episodes.
Supports of few shots are the beginning of those of more, and queries stay the same. Where examples
belong together (`Source.groups`), no support of a class is of the group of a query of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.datasets.dataset import Pool
from defenses.threat import Threat

# Keeps these draws apart from others of the same seed.
_STREAM = 0xF54D


@dataclass(frozen=True)
class Episodes:
    """Some episodes at once, E of them.

    Args:
        support: places in the pool's supports, (E, ways * shots), class by class.
        y_support: new labels 0..ways-1, (ways * shots,), alike in each.
        query: places in the pool's queries, (E, ways * queries).
        y_query: (ways * queries,).
        classes: the pool's labels that the new ones stand for, (E, ways).
        numbers: of the episodes, (E,).
    """

    support: np.ndarray
    y_support: np.ndarray
    query: np.ndarray
    y_query: np.ndarray
    classes: np.ndarray
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def batches(self, size: int) -> Iterator[Episodes]:
        """The same, `size` at a time."""
        for first in range(0, len(self), size):
            some = slice(first, first + size)
            yield Episodes(
                self.support[some],
                self.y_support,
                self.query[some],
                self.y_query,
                self.classes[some],
                self.numbers[some],
            )


def draw(
    pool: Pool, *, ways: int, shots: int, queries: int, numbers: Sequence[int], seed: int
) -> Episodes:
    """The episodes of these numbers; classes have examples enough (`settings.check`)."""
    drawn = [_one(pool, ways, shots, queries, [seed, _STREAM, ways, n]) for n in numbers]
    support, query, classes = (np.stack(parts) for parts in zip(*drawn, strict=True))
    new = np.arange(ways)
    return Episodes(
        support, np.repeat(new, shots), query, np.repeat(new, queries), classes, np.array(numbers)
    )


def starts(
    episodes: Episodes, threat: Threat, shape: tuple[int, ...], *, seed: int, support: bool = False
) -> np.ndarray:
    """Where attacks on all queries, or supports, begin: (E * examples, ...) in the unit ball."""
    places = episodes.support if support else episodes.query
    found = []
    for number in episodes.numbers:
        generator = np.random.default_rng([seed, _STREAM, int(support) + 1, int(number), 1])
        found.append(threat.random_starts(generator, (places.shape[1], *shape)))
    return np.concatenate(found)


def _one(
    pool: Pool, ways: int, shots: int, queries: int, seed: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places of a support and of queries, and the classes."""
    generator = np.random.default_rng(seed)
    classes = generator.permutation(len(pool.class_names))[:ways]
    support, query = [], []
    for label in classes:
        order = generator.permutation(np.flatnonzero(pool.y_support == label))
        if pool.groups is not None:
            is_query = _of_queries(pool.groups[order], queries, generator)
            order = np.concatenate([order[~is_query], order[is_query]])
        support.append(order[:shots])
        if pool.shared:  # from the end, so that they stay the same whatever the shots
            query.append(order[len(order) - queries :])
        else:
            query.append(generator.permutation(np.flatnonzero(pool.y_query == label))[:queries])
    return np.concatenate(support), np.concatenate(query), classes


def _of_queries(groups: np.ndarray, queries: int, generator: np.random.Generator) -> np.ndarray:
    """Whether each example of a class is of a group that queries are drawn from: whole groups.

    As many groups as queries, so that these need not be near copies of each other; at most half of
    them, unless they have too few examples.
    """
    found, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = generator.permutation(len(found))
    enough = int(np.searchsorted(sizes[order].cumsum(), queries)) + 1
    return np.isin(group, order[: max(fewest_groups(len(found), queries), enough)])


def fewest_groups(count: int, queries: int) -> int:
    """How many of a class's groups its queries are drawn from, if those have examples enough."""
    return min(queries, count // 2)


def surely_left(groups: np.ndarray, queries: int) -> int:
    """How many examples of a class are left for supports, whichever groups queries are drawn from.

    At least; groups: of its examples, (n,).
    """
    sizes = np.sort(np.unique(groups, return_counts=True)[1])
    fewest = fewest_groups(len(sizes), queries)
    taken = int(sizes[len(sizes) - fewest :].sum())
    if sizes[:fewest].sum() < queries:  # where the last one is added there may be one too few
        taken = max(taken, queries - 1 + int(sizes[-1]))
    return max(0, len(groups) - taken)

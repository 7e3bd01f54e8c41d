"""Ranks that claim no more than the data can tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reports.paired import LEVEL, mcnemar_counts, pairs
from reports.statistics import Outcomes


def with_ties(rows: Sequence[Outcomes], *, comparisons: int | None = None) -> list[int]:
    """The rank of each row: 1 + the number of rows that are significantly better.

    Each pair of rows is tested as `reports.paired` says, so at 95 % no order that the ranks tell is
    due to the choice of the test examples. "Can't be told apart" is not transitive: the first and
    the third of a rank may differ from each other while the second differs from neither; then the
    third ranks lower than the first, and the second shares the better rank. A row never ranks below
    one that is less accurate.

    Args:
        rows: (n,) bool for each row, true where it is right, of the same examples in the same
            order.
        comparisons: how many the family holds; all pairs of these rows unless given.
    """
    if not len(rows):
        return []
    lengths = {len(row) for row in rows}
    if len(lengths) > 1 or not min(lengths):
        raise ValueError(f"rows must hold outcomes of the same examples, not {sorted(lengths)}")
    right = np.asarray(rows, dtype=np.float32)  # (rows, n); counts are exact up to 2**24
    better = np.rint(right @ (1 - right).T).astype(np.int64)  # [i, j]: right in i alone, not in j
    first, second = np.triu_indices(len(right), k=1)
    p = (comparisons or pairs(len(rows))) * mcnemar_counts(
        better[first, second], better[second, first]
    )
    told = np.zeros(better.shape, dtype=bool)
    told[first, second] = told[second, first] = p <= LEVEL
    above = (told & (better > better.T)).sum(axis=0)  # [j]: rows that are better than j
    return _monotone(1 + above, right.sum(axis=1))


def _monotone(ranks: np.ndarray, correct: np.ndarray) -> list[int]:
    """Each row's rank, but never below that of a row with as many correct examples or fewer."""
    return [int(ranks[correct <= mine].min()) for mine in correct]

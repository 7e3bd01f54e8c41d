"""Two models on the same test examples: is the difference more than chance?

Of the examples only those matter that one model gets right and the other wrong. Everything here
works from their numbers: `better` are right in the first model alone, `worse` in the second alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binom

from reports.statistics import CONFIDENCE, Outcomes, wilson

RESAMPLES = 10_000


def discordant(a: Outcomes, b: Outcomes) -> tuple[int, int]:
    """How many examples only `a` gets right, and how many only `b`; both are (n,) bool."""
    first, second = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ValueError(f"outcomes must be pairs, not of shapes {first.shape}, {second.shape}")
    return int(np.count_nonzero(first & ~second)), int(np.count_nonzero(second & ~first))


def mcnemar(a: Outcomes, b: Outcomes) -> float:
    """The exact two-sided p-value of McNemar's test that both are right equally often.

    McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", 1947: under the hypothesis each discordant example is a fair coin's throw.

    Args:
        a, b: (n,) bool, true where the model is right, of the same examples in the same order.
    """
    better, worse = discordant(a, b)
    return float(mcnemar_counts(np.array(better), np.array(worse)))


def mcnemar_counts(better: np.ndarray, worse: np.ndarray) -> np.ndarray:
    """The same for many pairs at once, from the numbers of their discordant examples."""
    p: np.ndarray = np.minimum(1.0, 2 * binom.cdf(np.minimum(better, worse), better + worse, 0.5))
    return p


def bootstrap(
    a: Outcomes, b: Outcomes, seed: int = 0, *, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """The difference in accuracy, `a` less `b`, with the paired bootstrap's percentile interval.

    Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13. To draw n pairs with
    replacement is to draw from a multinomial distribution how many are better, worse and equal.
    Where all pairs are alike there is nothing to resample: the interval then reaches as far as the
    Wilson interval of 0 out of n.

    Args:
        a, b: (n,) bool, of the same examples in the same order.
        seed: of the resampling; the same seed gives the same interval.

    Returns:
        difference, low, high: shares within [-1, 1].
    """
    better, worse = discordant(a, b)
    n = len(a)
    equal = n - better - worse
    difference = (better - worse) / n
    if n in (better, worse, equal):
        room = wilson(0, n, confidence=confidence)[1]
        return difference, max(-1.0, difference - room), min(1.0, difference + room)
    draws = np.random.default_rng(seed).multinomial(
        n, [better / n, worse / n, equal / n], size=RESAMPLES
    )  # (RESAMPLES, 3)
    tail = (1 - confidence) / 2
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / n, [tail, 1 - tail])
    return difference, float(low), float(high)


def holm(p_values: Sequence[float] | np.ndarray) -> list[float]:
    """The p-values corrected for their number; to compare each with the one level for all.

    Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    # statsmodels collects garbage in each call: half a second with a thousand cells in memory.
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    remaining = len(p) - np.arange(len(p))  # how many tests each is corrected for, in that order
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * remaining), 1.0)
    return [float(one) for one in corrected]

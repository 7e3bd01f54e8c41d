"""Two models on the same test examples: is the difference more than chance?

One policy for everything that reports show:

- The test is McNemar's, exact: of the examples only those matter that one model gets right and the
  other wrong.
- A group's family of comparisons is all pairs of its attacked rows, for each measure (clean, an
  attack, the worst case). Every p-value that is shown is multiplied by their number (Bonferroni),
  so that the same pair has the same p wherever it stands.
- The interval has the confidence that this correction leaves, and excludes 0 exactly when p says
  that the models differ.

Everything here works from the numbers of discordant examples: `better` are right in the first model
alone, `worse` in the second alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, binom

from reports.statistics import CONFIDENCE, Outcomes

LEVEL = round(1 - CONFIDENCE, 10)


@dataclass(frozen=True)
class Differences:
    """Differences in accuracy, first less second, each of many pairs; all arrays are (pairs,).

    `low` to `high` is the 95 % interval and `p` the p-value, both corrected for the family.
    """

    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


@dataclass(frozen=True)
class Difference:
    """The same of one pair, with how many examples only one of the two gets right."""

    difference: float
    low: float
    high: float
    p: float
    only_first: int
    only_second: int

    @property
    def told_apart(self) -> bool:
        """Whether the data can tell the two apart."""
        return self.p <= LEVEL


def pairs(rows: int) -> int:
    """How many comparisons the family of so many rows holds, at least one."""
    return max(1, rows * (rows - 1) // 2)


def compare(a: Outcomes, b: Outcomes, *, comparisons: int) -> Difference:
    """The difference of two models, `a` less `b`.

    Args:
        a, b: (n,) bool, true where the model is right, of the same examples in the same order.
        comparisons: how many the family holds, see `pairs`.
    """
    better, worse = discordant(a, b)
    counts = np.array([better]), np.array([worse])
    found = differences(*counts, examples=len(a), comparisons=comparisons)
    return Difference(
        difference=float(found.difference[0]),
        low=float(found.low[0]),
        high=float(found.high[0]),
        p=float(found.p[0]),
        only_first=better,
        only_second=worse,
    )


def differences(
    better: np.ndarray, worse: np.ndarray, *, examples: int, comparisons: int
) -> Differences:
    """The same of many pairs at once, from the numbers of their discordant examples.

    With d discordant examples of n, the difference is (2 t - 1) s: t is the share of them that the
    first model gets right, s = d / n. The interval of t inverts McNemar's test (Clopper & Pearson,
    "The use of confidence or fiducial limits illustrated in the case of the binomial", 1934): it
    excludes one half exactly when the test rejects. Each end is taken with the end of s's interval
    that makes it wider.
    """
    better, worse = np.asarray(better), np.asarray(worse)
    both, level = better + worse, LEVEL / comparisons
    low, high = (2 * end - 1 for end in _clopper_pearson(better, both, level))
    least, most = _clopper_pearson(both, np.full_like(both, examples), level)
    return Differences(
        (better - worse) / examples,
        low * np.where(low > 0, least, most),
        high * np.where(high > 0, most, least),
        np.minimum(1.0, comparisons * mcnemar_counts(better, worse)),
    )


def discordant(a: Outcomes, b: Outcomes) -> tuple[int, int]:
    """How many examples only `a` gets right, and how many only `b`; both are (n,) bool."""
    first, second = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ValueError(f"outcomes must be pairs, not of shapes {first.shape}, {second.shape}")
    return int(np.count_nonzero(first & ~second)), int(np.count_nonzero(second & ~first))


def mcnemar_counts(better: np.ndarray, worse: np.ndarray) -> np.ndarray:
    """The exact two-sided p-values of McNemar's test that both are right equally often.

    McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", 1947: under the hypothesis each discordant example is a fair coin's throw. Not
    corrected for the number of comparisons.
    """
    p: np.ndarray = np.minimum(1.0, 2 * binom.cdf(np.minimum(better, worse), better + worse, 0.5))
    return p


def _clopper_pearson(
    successes: np.ndarray, trials: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """The exact interval of a share with confidence 1 - `level`; 0 to 1 where nothing was tried."""
    failures = trials - successes
    low = beta.ppf(level / 2, np.maximum(successes, 1), failures + 1)
    high = beta.isf(level / 2, successes + 1, np.maximum(failures, 1))
    return np.where(successes > 0, low, 0.0), np.where(failures > 0, high, 1.0)

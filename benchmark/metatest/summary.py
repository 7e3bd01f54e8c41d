"""What episodes say together: areas under curves, and intervals over episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

CONFIDENCE = 0.95
# The array of what an attack gave up, by episode.
GIVEN_UP = "given_up"

# A standard deviation of shares that is less comes of their rounding alone.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A mean over episodes and its 95 % interval."""

    mean: float
    low: float
    high: float


def area(curve: np.ndarray, at: Sequence[int]) -> np.ndarray:
    """The area under curves (..., points) by the trapezoidal rule, as a share of the whole.

    Args:
        at: where the points are, ascending from 0. A curve that is 1 everywhere has the area 1.
    """
    found: np.ndarray = np.trapezoid(curve, at, axis=-1) / at[-1]
    return found


def share(values: np.ndarray, queries: int) -> Estimate:
    """The mean of one share an episode, (episodes,), with an interval within [0, 1].

    Wilson's interval for the number of independent queries that would give the mean its variance,
    s^2 / episodes, with Student's quantile. That number is at most that of all queries, so that
    episodes which agree by chance, or all have 0, don't claim more than their queries can tell.
    A single episode says nothing about others: its interval is all of [0, 1].
    """
    episodes, mean = len(values), float(values.mean())
    if episodes < 2:
        return Estimate(mean, 0.0, 1.0)
    variance = float(values.var(ddof=1)) / episodes
    trials = float(episodes * queries)
    if variance > 0:
        trials = min(trials, mean * (1 - mean) / variance)
    quantile = float(t.isf((1 - CONFIDENCE) / 2, episodes - 1))
    shrunk = quantile**2 / trials
    centre = (mean + shrunk / 2) / (1 + shrunk)
    reach = np.sqrt(shrunk * (mean * (1 - mean) + shrunk / 4)) / (1 + shrunk)
    return Estimate(mean, max(0.0, float(centre - reach)), min(1.0, float(centre + reach)))


def difference(values: np.ndarray) -> Estimate:
    """The mean of one difference an episode, (episodes,), with Student's interval in [-1, 1].

    A single one says nothing about others, nor do few that agree by chance; where all are 0, as of
    what was not moved, there is no width.
    """
    mean, spread = float(values.mean()), float(values.std())
    if len(values) < 2 or (values.any() and spread < _ROUNDING):
        return Estimate(mean, -1.0, 1.0)
    quantile = float(t.isf((1 - CONFIDENCE) / 2, len(values) - 1))
    reach = quantile * float(values.std(ddof=1)) / len(values) ** 0.5
    return Estimate(mean, max(-1.0, mean - reach), min(1.0, mean + reach))


def unmet(arrays: Mapping[str, np.ndarray]) -> float | None:
    """The share of queries that stayed right because the attack gave nothing valid for them.

    None where the arrays are of a result from before that was counted.
    """
    found = arrays.get(GIVEN_UP)
    return None if found is None else float(found.mean())


def shares(values: np.ndarray, queries: int) -> dict[str, list[list[float]]]:
    """`share` of each entry of (episodes, shots, steps), as JSON: "accuracy", "low", "high"."""
    rows = [
        [share(values[:, row, column], queries) for column in range(values.shape[2])]
        for row in range(values.shape[1])
    ]
    return {
        "accuracy": [[one.mean for one in row] for row in rows],
        "low": [[one.low for one in row] for row in rows],
        "high": [[one.high for one in row] for row in rows],
    }

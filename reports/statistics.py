"""The statistics of the leaderboard. Each number is held by a test against a hand-worked one."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t
from statsmodels.stats.proportion import proportion_confint

CONFIDENCE = 0.95

# A standard deviation of shares that is less, and a difference of mean squares as a part of them,
# come of their rounding alone.
_ROUNDING = 1e-12

Outcomes = Sequence[bool] | np.ndarray  # (n,), true where a model is right


@functools.cache
def wilson(successes: float, trials: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The Wilson score interval of a proportion, (low, high) within [0, 1].

    Wilson, "Probable inference, the law of succession, and statistical inference", 1927. It covers
    the sampling of the test examples, not the luck of the training seed.
    """
    low, high = proportion_confint(successes, trials, alpha=1 - confidence, method="wilson")
    return float(low) if successes else 0.0, float(high) if successes < trials else 1.0


# Classes are uneven where the largest has so many times the examples of the smallest.
UNEVEN = 1.5


def balanced(right: Outcomes, labels: np.ndarray) -> float | None:
    """The mean over the classes of the share that is right: balanced accuracy.

    None where the classes are about even, so that it tells nothing beside accuracy.

    Args:
        labels: the class of each example, (n,); classes without examples don't count.
    """
    _, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.max() < UNEVEN * counts.min():
        return None
    return float(np.mean(np.bincount(places, weights=np.asarray(right)) / counts))


@dataclass(frozen=True)
class Interval:
    """A share with its 95 % interval."""

    mean: float
    low: float
    high: float


def over_episodes(values: np.ndarray, *, queries: int, confidence: float = CONFIDENCE) -> Interval:
    """The mean of one share an episode, (episodes,), each over `queries` examples.

    Wilson's interval for the number of independent queries that would give the mean its variance,
    s^2 / episodes, with Student's quantile. That number is at most that of all queries, so that
    episodes which agree by chance don't claim more than their queries can tell.
    """
    episodes, mean = len(values), float(values.mean())
    if episodes < 2:  # which says nothing about others
        return Interval(mean, 0.0, 1.0)
    variance = max(float(values.var(ddof=1)) / episodes, mean * (1 - mean) / (episodes * queries))
    low, high = _interval(
        mean,
        variance,
        examples=episodes * queries,
        freedom=episodes - 1,
        confidence=confidence,
    )
    return Interval(mean, low, high)


@dataclass(frozen=True)
class AcrossSeeds:
    """An accuracy over training seeds, and where its variance comes from.

    `low` to `high` is the interval for other seeds and other test examples of the same kind.
    `between` is the variance of a model's accuracy that its training seed causes, None for one seed
    alone; `within` is the variance that the choice of the test examples causes. Their sum is the
    variance of one model's measured accuracy.
    """

    mean: float
    low: float
    high: float
    between: float | None
    within: float
    seeds: int
    examples: int


def across_seeds(
    outcomes: Sequence[Outcomes] | np.ndarray, *, confidence: float = CONFIDENCE
) -> AcrossSeeds:
    """The accuracy over training seeds from outcomes, example by example.

    Seeds and examples are crossed random effects without replication: outcome = mean + seed +
    example + rest. With the mean squares MS of the two-way analysis of variance (Searle, Casella &
    McCulloch, "Variance Components", 1992, section 4.5), S seeds and n examples:

        between = (MS_seed - MS_rest) / n                        at least 0
        variance of an example's outcome = (MS_example - MS_rest) / S      at least 0
        within = (that variance + MS_rest) / n
        variance of the mean = between / S + (that variance + MS_rest / S) / n

    The interval is Wilson's for the number of independent examples that would give the mean this
    variance, with the quantile of Student's t and Satterthwaite's degrees of freedom ("An
    approximate distribution of estimates of variance components", 1946) in place of the normal
    one. So it stays within [0, 1], and of one seed it is `wilson`.

    Args:
        outcomes: (seeds, examples), true where the model is right. Each row is one seed's model on
            the same examples, at least one of each.
    """
    right = np.asarray(outcomes, dtype=np.float64)
    if right.ndim != 2 or not right.size:
        raise ValueError(f"outcomes must be (seeds, examples), not of shape {right.shape}")
    seeds, examples = right.shape
    mean = float(right.mean())
    if seeds == 1 or examples == 1:
        within = mean * (1 - mean) / max(1, examples - 1)
        low, high = wilson(float(right.sum()) / seeds, examples, confidence=confidence)
        return AcrossSeeds(mean, low, high, None, within, seeds, examples)
    by_seed, by_example, rest = _mean_squares(right)
    between = _excess(by_seed, rest) / examples
    of_examples = _excess(by_example, rest) / seeds
    variance = between / seeds + (of_examples + rest / seeds) / examples
    low, high = _interval(
        mean,
        variance,
        examples=examples,
        freedom=_freedom(by_seed, by_example, rest, seeds=seeds, examples=examples),
        confidence=confidence,
    )
    within = (of_examples + rest) / examples
    return AcrossSeeds(mean, low, high, between, within, seeds, examples)


def of_differences(values: np.ndarray, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval, (low, high), of the mean of paired differences, (seeds, n) in [-1, 1].

    That of `across_seeds`, whose values are in [0, 1]; of one seed it is Student's over the n.
    Where all are 0, two that answer alike, it has no width; where all are the same and not 0, few
    values agree by chance, and it is as wide as Wilson's of one seed.
    """
    if not values.any():
        return 0.0, 0.0
    apart, count = float(values.std()) > _ROUNDING, values.shape[1]
    if len(values) == 1 and apart:
        mean, spread = float(values.mean()), float(values.std(ddof=1))
        reach = float(t.isf((1 - confidence) / 2, count - 1)) * spread / count**0.5
        return max(-1.0, mean - reach), min(1.0, mean + reach)
    if apart:
        found = across_seeds((values + 1) / 2, confidence=confidence)
        return 2 * found.low - 1, 2 * found.high - 1
    low, high = wilson(count * (float(values.mean()) + 1) / 2, count, confidence=confidence)
    return 2 * low - 1, 2 * high - 1


def _mean_squares(right: np.ndarray) -> tuple[float, float, float]:
    """Of seeds, of examples and of the rest, for (seeds, examples)."""
    seeds, examples = right.shape
    mean, of_seed, of_example = right.mean(), right.mean(axis=1), right.mean(axis=0)
    rest = right - of_seed[:, None] - of_example[None, :] + mean  # (seeds, examples)
    return (
        float(examples * ((of_seed - mean) ** 2).sum() / (seeds - 1)),
        float(seeds * ((of_example - mean) ** 2).sum() / (examples - 1)),
        float((rest**2).sum() / ((seeds - 1) * (examples - 1))),
    )


def _excess(one: float, rest: float) -> float:
    """How far a mean square is above that of the rest; 0 where rounding alone tells them apart."""
    return 0.0 if math.isclose(one, rest, rel_tol=_ROUNDING) else max(0.0, one - rest)


def _freedom(by_seed: float, by_example: float, rest: float, *, seeds: int, examples: int) -> float:
    """Satterthwaite's degrees of freedom of MS_seed + MS_example - MS_rest."""
    combined = max(by_seed + by_example - rest, rest)
    terms = (
        by_seed**2 / (seeds - 1)
        + by_example**2 / (examples - 1)
        + rest**2 / ((seeds - 1) * (examples - 1))
    )
    return max(1.0, combined**2 / terms) if terms > 0 else math.inf


def _interval(
    mean: float, variance: float, *, examples: int, freedom: float, confidence: float
) -> tuple[float, float]:
    """Wilson's interval for a mean of this variance, with Student's quantile."""
    spread = mean * (1 - mean)
    independent = spread / variance if variance > 0 else float(examples)
    quantile = float(t.isf((1 - confidence) / 2, freedom))
    shrunk = quantile**2 / independent
    centre = (mean + shrunk / 2) / (1 + shrunk)
    reach = math.sqrt(shrunk * (spread + shrunk / 4)) / (1 + shrunk)
    return max(0.0, centre - reach), min(1.0, centre + reach)

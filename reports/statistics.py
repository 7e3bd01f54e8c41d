"""The statistics of the leaderboard. Each number is held by a test against a hand-worked one."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import binomtest

CONFIDENCE = 0.95


def wilson(successes: int, trials: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The Wilson score interval of a proportion, (low, high) within [0, 1].

    Wilson, "Probable inference, the law of succession, and statistical inference", 1927. It covers
    the sampling of the test examples, not the luck of the training seed.
    """
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def competition_ranks(values: Sequence[float | None]) -> list[int | None]:
    """Ranks from the highest value down, equal values sharing one: 1, 2, 2, 4. None has no rank."""
    present = [value for value in values if value is not None]
    return [None if v is None else 1 + sum(other > v for other in present) for v in values]

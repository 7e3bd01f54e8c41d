"""How many test examples tell two models apart: the power of McNemar's test.

Of n examples, a share `discordant` is right in one model alone. With z_a and z_b the normal
quantiles of the level, two-sided, and of the power, models that differ by d are told apart from

    n = (z_a sqrt(discordant) + z_b sqrt(discordant - d^2))^2 / d^2

examples on (Connor, "Sample size for testing differences in proportions for the paired-sample
design", 1987). The level is corrected for all pairs of the rows, as that of the ranks is.
"""

from __future__ import annotations

import math

from scipy.stats import norm

from reports.paired import LEVEL, pairs

POWER = 0.8
# Of two defended models on the same examples, roughly; nobody knows before.
DISCORDANT = 0.1


def examples_for(difference: float, *, rows: int, discordant: float = DISCORDANT) -> int:
    """How many examples tell two of so many rows apart that differ by this share."""
    a, b = _quantiles(rows)
    rest = max(0.0, discordant - difference**2)
    return math.ceil((a * math.sqrt(discordant) + b * math.sqrt(rest)) ** 2 / difference**2)


def told_from(examples: int, *, rows: int, discordant: float = DISCORDANT) -> float:
    """The least difference, a share, that so many examples tell; at most `discordant`."""
    a, b = _quantiles(rows)
    # The equation above is a quadratic one in d.
    square, half = examples + b**2, math.sqrt(examples * discordant) * a
    found = (half + math.sqrt(half**2 - square * (a**2 - b**2) * discordant)) / square
    return min(found, discordant)


def sentence(examples: int, *, rows: int) -> str:
    """The same in a line, with how many would tell 2 points."""
    least, wanted = told_from(examples, rows=rows), examples_for(0.02, rows=rows)
    among = f"two of {rows} models" if rows > 2 else "two models"
    told = f"{among} apart from {least:.1%} on" if least < DISCORDANT else f"no {among} apart"
    return (
        f"where only one of two models is right on {DISCORDANT:.0%} of the examples, {examples:,} "
        f"tell {told}, and 2 points take {wanted:,} (95 % confidence, {POWER:.0%} power)"
    )


def _quantiles(rows: int) -> tuple[float, float]:
    return float(norm.isf(LEVEL / pairs(rows) / 2)), float(norm.isf(1 - POWER))

"""What rows that differ in nothing but the training seed say together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reports.board import BoardRow
from reports.columns import known
from reports.rows import name_in_text


@dataclass(frozen=True)
class OverSeeds:
    """A defense in one framework over its training seeds; accuracies are worst cases, as shares.

    `between` and `within` are standard deviations of one model's worst case: the seed's part, and
    that of the choice of the test examples. `bounded`: the worst cases are only upper bounds.
    """

    label: str
    seeds: int
    mean: float
    low: float
    high: float
    between: float
    within: float
    bounded: bool


def over_seeds(members: Sequence[BoardRow], variants: Sequence[str]) -> list[OverSeeds]:
    """One for each defense of a group's rows that has several seeds, in the rows' order.

    Args:
        members: rows of the leaderboard.
        variants: for each row, what tells it from others of the same defense, "" if nothing.
    """
    bounded = {row.training for row in members if row.rank and row.upper_bound}
    found: dict[tuple[Any, ...], OverSeeds] = {}
    for values, variant in zip(members, variants, strict=True):
        training = values.training
        if training in found or values.seeds is None or values.seeds < 2:
            continue
        name = name_in_text(values)
        found[training] = OverSeeds(
            label=f"{name}, {variant}" if variant else name,
            seeds=values.seeds,
            mean=known(values.seeds_mean),
            low=known(values.seeds_low),
            high=known(values.seeds_high),
            between=math.sqrt(values.seeds_variance_between or 0.0),
            within=math.sqrt(known(values.seeds_variance_within)),
            bounded=training in bounded,
        )
    return list(found.values())

"""Whether PGD was too weak to judge by: what AutoAttack breaks besides, in the same episodes."""

from __future__ import annotations

import numpy as np

from reports.statistics import wilson

# PGD is too weak to judge by where AutoAttack certainly breaks more than this share besides.
WEAK = 0.05


def is_weakly_attacked(robust: np.ndarray, autoattack: np.ndarray, queries: int) -> bool:
    """Of shares, (episodes,), of so many queries each; AutoAttack's are of the first alone."""
    if not autoattack.size:
        return False
    broken = queries * (robust[: len(autoattack)] - autoattack).sum()
    return wilson(round(broken), queries * len(autoattack))[0] > WEAK

"""How near each attack comes to the best that is known of a model.

After the optimality of AttackBench (Cina et al. 2024, arXiv 2404.19460): there every attack may ask
the same number of queries, and is measured by its distances against the least of all attacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reports.details import Detail, usable

QUERIES = (10, 100, 1000)
MINIMAL = "minimal-norm"
Document = dict[str, Any]


def shares(details: Sequence[Detail], norm: str, eps: float) -> dict[str, Document]:
    """By key, for each attack that is not alone under its threat.

    "broken" is the share that it breaks of what it was run on and any attack of the same threat
    breaks; "within" are those that it breaks with so many queries each; "distance" is AttackBench's
    optimality, of minimal-norm attacks. None where it can't be told, as of a random model, whose
    nearest points are so by chance.

    Args:
        details: of all attacks of a cell, under whatever suite.
        norm: of the cell, which is that of attacks whose record tells none.
        eps: likewise.
    """
    found = {}
    for one in details:
        own = threat(one, norm, eps)
        peers = [each for each in details if _same_examples(each, one)]
        under = [each for each in peers if threat(each, norm, eps) == own]
        alike = [each for each in peers if threat(each, norm, eps)[0] == own[0]]
        if len(under) > 1 or len(alike) > 1:
            found[one.attack.key] = {
                "within": [_broken(one, under, limit) for limit in QUERIES],
                "broken": _broken(one, under),
                "distance": _distance(one, alike, own[0]),
            }
    return found


def threat(one: Detail, norm: str, eps: float) -> tuple[str, float | None]:
    """Norm and budget of an attack on a cell of these."""
    record = one.attack.record
    return (norm, eps) if record is None or not record.norm else (record.norm, record.eps)


def _same_examples(one: Detail, other: Detail) -> bool:
    return np.array_equal(one.test_index, other.test_index)


def _broken(one: Detail, under: Sequence[Detail], limit: int | None = None) -> float | None:
    """Of what any of the attacks breaks, what this one breaks, within `limit` queries."""
    known = one.attacked & np.any([each.success for each in under], axis=0)
    success, first = one.success, one.first_query
    if limit is not None:
        if first is None or (first[success] < 0).any():
            return None
        success = success & (first <= limit)
    return float(success[known].mean()) if known.any() else None


def _distance(one: Detail, alike: Sequence[Detail], norm: str) -> float | None:
    """The area that its distances cut off the clean accuracy over budgets, as a share of the best.

    Budgets go up to the greatest distance of the best known; one that is farther counts as that.
    """
    record = one.attack.record
    if record is None or MINIMAL not in record.families or (record.draws or 1) > 1:
        return None
    rows = one.attacked & one.clean_correct
    own = _reached(one, norm)
    reached = [found for each in alike if (found := _reached(each, norm)) is not None]
    if own is None or not rows.any():
        return None
    best = np.min(reached, axis=0)[rows]
    if not np.isfinite(best).any():
        return None
    limit = best[np.isfinite(best)].max()
    left, whole = (limit - np.minimum(far, limit) for far in (own[rows], best))
    return float(left.sum() / whole.sum()) if whole.sum() > 0 else None


def _reached(one: Detail, norm: str) -> np.ndarray | None:
    """The distance of each adversarial point, whatever the budget, (n,); infinite without one."""
    size = len(one.robust)
    distance = usable(one.arrays, norm, size, kinds="f")
    adversarial = usable(one.arrays, "adversarial", size, kinds="b")
    if distance is None:
        return None
    counts = one.success if adversarial is None else adversarial & one.attacked
    return np.where(counts & np.isfinite(distance), distance, np.inf)

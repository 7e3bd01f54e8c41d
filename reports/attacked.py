"""What an attack did, example by example, as it was stored."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from reports.keyed import are_shares

_NEEDED = ("test_index", "clean_correct", "success")
# What is read of an attack's file.
ARRAYS = (*_NEEDED, "attacked", "label", "right_share")


@dataclass(frozen=True)
class Outcomes:
    """What an attack did, example by example; the arrays are (n,) and of the same examples."""

    test_index: np.ndarray
    clean_correct: np.ndarray
    robust: np.ndarray  # correct before and after the attack; before it, where it wasn't attacked
    attacked: np.ndarray  # a slow attack may be run on some of the examples only
    label: np.ndarray | None = None
    right_share: np.ndarray | None = None  # of a random model: in which share of its draws it holds

    @property
    def accuracy(self) -> float:
        """Share of the attacked examples that are right before and after the attack."""
        return float(self.robust[self.attacked].mean())


def expected_draw(found: Collection[Outcomes]) -> float | None:
    """What a single draw of a random model is expected to get right under the worst of attacks.

    Each example under the attack that lowers its share most; None of a model that isn't random.
    """
    shares = [one.right_share for one in found if one.right_share is not None]
    return float(np.min(shares, axis=0).mean()) if shares else None


def outcomes_of(arrays: dict[str, np.ndarray]) -> Outcomes | None:
    """The outcomes, or None if an array is missing or of another type or shape."""
    try:
        index, correct, success = (arrays[name] for name in _NEEDED)
    except KeyError:
        return None
    types = (index.dtype.kind, correct.dtype.kind, success.dtype.kind)
    shapes = {index.shape, correct.shape, success.shape}
    if types != ("i", "b", "b") or shapes != {(index.size,)} or index.size == 0:
        return None
    attacked = arrays.get("attacked", np.ones(index.size, dtype=bool))
    if attacked.dtype.kind != "b" or attacked.shape != index.shape or not attacked.any():
        return None
    label = arrays.get("label")
    if label is not None and (label.dtype.kind != "i" or label.shape != index.shape):
        return None
    share = arrays.get("right_share")
    if share is not None and not are_shares(share, index.shape):
        return None
    return Outcomes(index, correct, correct & ~success, attacked, label, share)

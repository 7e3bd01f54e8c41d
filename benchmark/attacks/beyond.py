"""Beyond the boundary, where what a search left on it may still be classified correctly.

A search for the nearest adversarial example ends where the outputs that it sees cross. There a
random model's answer is chance, and output defenses may decide for the label. The same way leads
farther, up to the edge of the budget.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmark.attacks.geometry import TINY, distances

# Of the way from a point to the edge of the budget.
SHARES = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


def farther(
    x: np.ndarray,
    points: np.ndarray,
    *,
    norm: str,
    eps: float,
    weights: np.ndarray | None = None,
    shares: tuple[float, ...] = SHARES,
) -> Iterator[np.ndarray]:
    """Points along the way from examples to what was found, clipped to [0, 1], each (n, ...).

    Args:
        x: examples, (n, ...).
        points: what was found, (n, ...), within the budget or beyond; where it is no number, the
            example stands for it.
        norm: of the budget.
        eps: the budget; finite.
        weights: of features whose budgets differ, (d,).
        shares: of the way from there to the edge.
    """
    flat = x.reshape(len(x), -1).astype(np.float64)
    change = np.nan_to_num(points.reshape(len(x), -1) - flat, nan=0, posinf=0, neginf=0)
    own = np.ones(flat.shape[1]) if weights is None else weights
    change[:, own == 0] = 0
    apart = distances(change / np.where(own == 0, 1, own), np.zeros_like(change), norm)
    for share in shares:
        reach = (apart + share * (eps - apart)) / np.maximum(apart, TINY)
        moved = np.clip(flat + change * reach[:, np.newaxis], 0, 1)
        yield moved.astype(np.float32).reshape(x.shape)

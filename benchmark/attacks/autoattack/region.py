"""Norms, and where an adversarial example may lie: a ball around the example, within a box.

Points are rows, (n, d); examples `x` are their centres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# ART's names of the norms.
NORMS = {np.inf: "linf", "inf": "linf", 2: "l2", 1: "l1"}

LENGTHS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linf": lambda d: np.abs(d).max(axis=1),
    "l2": lambda d: np.sqrt(np.einsum("nd,nd->n", d, d)),
    "l1": lambda d: np.abs(d).sum(axis=1),
}

# Keeps divisions by a length that is zero.
TINY = np.float32(1e-12)


@dataclass(frozen=True)
class Region:
    """The points within `eps` of an example, and within the box.

    Args:
        norm: "linf", "l2" or "l1".
        eps: the budget.
        low: of the box.
        high: of the box.
    """

    norm: str
    eps: float
    low: float = 0.0
    high: float = 1.0

    def project(self, x: np.ndarray, points: np.ndarray) -> np.ndarray:
        """`points` moved into the region: under l2 by scaling, then clipping to the box."""
        if self.norm == "linf":
            points = np.clip(points, x - np.float32(self.eps), x + np.float32(self.eps))
        elif self.norm == "l2":
            step = points - x
            scale = np.minimum(1, self.eps / (LENGTHS["l2"](step) + TINY)).astype(np.float32)
            points = x + step * scale[:, np.newaxis]
        else:
            return project_l1(x, points, self)
        return np.clip(points, self.low, self.high)

    def random_points(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Starts: a random direction to the edge of the ball, then within the box."""
        if self.norm == "linf":
            direction = generator.uniform(-1, 1, x.shape).astype(np.float32)
        else:
            direction = generator.standard_normal(x.shape, dtype=np.float32)
        if self.norm != "l1":
            direction *= (self.eps / LENGTHS[self.norm](direction))[:, np.newaxis]
        return self.project(x, x + direction.astype(np.float32))


def project_l1(x: np.ndarray, points: np.ndarray, region: Region) -> np.ndarray:
    """The nearest points, in l2, of the l1 ball and the box together (Croce & Hein 2021, eq. 7).

    Each coordinate goes min(max(|u| - shift, 0), room) towards `points`, where u is the way there,
    room what the box leaves of it, and shift the one at which the way is as long as eps.
    """
    way = points - x
    size = np.abs(way)
    room = np.where(way > 0, region.high - x, x - region.low)
    lower = np.zeros((len(x), 1), dtype=np.float32)
    upper = size.max(axis=1, keepdims=True)
    shift = lower.copy()
    far = np.minimum(size, room).sum(axis=1) > region.eps
    # Newton's method on a function piecewise linear, and halving where it leaves the bracket.
    for _ in range(20 if far.any() else 0):
        moved = np.clip(size - shift, 0, room)
        excess = moved.sum(axis=1, keepdims=True) - region.eps
        lower, upper = np.where(excess > 0, shift, lower), np.where(excess > 0, upper, shift)
        slope = ((moved > 0) & (moved < room)).sum(axis=1, keepdims=True)
        newton = shift + excess / np.maximum(slope, 1)
        inside = (newton > lower) & (newton < upper) & (slope > 0)
        shift = np.where(inside, newton, (lower + upper) / 2).astype(np.float32)
    moved = np.clip(size - np.where(far[:, np.newaxis], shift, 0), 0, room)
    moved *= np.minimum(1, region.eps / (moved.sum(axis=1, keepdims=True) + TINY))
    return np.asarray(x + np.sign(way) * moved, dtype=np.float32)

"""Norms, distances, and where an adversarial example may lie: a ball around it, within a box.

Points are rows, (n, d); examples `x` are their centres. Attacks compute in the type that they have,
float32; what is measured is computed in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from benchmark.attacks.arrays import Array, as_type, beside, copied, host, namespace, select

# ART's and NumPy's names of the norms, and ours.
ORDERS = {"linf": np.inf, "l2": 2, "l1": 1, "l0": 0}
NORMS = {np.inf: "linf", "inf": "linf", 2: "l2", 1: "l1", 0: "l0"}

# An end of the box: one number, or one a value, (d,) float32.
Bound: TypeAlias = "float | np.ndarray"

# Keeps divisions by a length that is zero.
TINY = float(np.float32(1e-12))

# Room for float32 rounding at the edge of the budget: a share of it, and for each value in [0, 1]
# what rounds there, which is more than that share of a small budget.
BUDGET_TOLERANCE = 1e-5
_VALUE_ROUNDING = 2.0**-24

# Values that differ by less are the same: an attack that works in 8 bits rounds all of them.
_L0_TOLERANCE = 1e-6

# Of values in the box that were scaled and scaled back in float32: where features have budgets of
# their own, a small one is not to be left by that alone.
_ROUNDING = 2.0**-22


def lengths(rows: Array, norm: str) -> Array:
    """The norm of each row, (n,), in the rows' type."""
    if norm == "l2" and isinstance(rows, np.ndarray) and rows.dtype == np.float32:
        return np.asarray(np.sqrt(np.einsum("nd,nd->n", rows, rows)))  # in half the time of NumPy's
    return namespace(rows).linalg.vector_norm(rows, ord=ORDERS[norm], axis=1)


def distances(points: Array, x: Array, norm: str, weights: np.ndarray | None = None) -> Array:
    """How far each point is from its example, (n,) float64; under l0 in values, not in pixels.

    With `weights` of the features, (d,), each change is divided by its feature's: infinitely far is
    a point that moves a feature of weight 0, but for rounding.
    """
    change = as_type(points, "float64") - x
    if weights is not None:
        size = np.maximum(np.abs(host(change)) - _ROUNDING, 0)
        moved = (size[:, weights == 0] != 0).any(axis=1)
        scaled = size / np.where(weights == 0, 1, weights)
        return np.where(moved, np.inf, distances(scaled, np.zeros_like(scaled), norm))
    if norm == "l0":
        xp = namespace(points)
        change = xp.where(xp.abs(change) > _L0_TOLERANCE, change, 0)  # nor what is no number
    return lengths(change, norm)


def in_box(points: Array) -> Array:
    """Whether every value of each row is in [0, 1], (n,); one that is no number is not."""
    xp = namespace(points)
    return (xp.amin(points, axis=1) >= 0) & (xp.amax(points, axis=1) <= 1)


def limit(norm: str, eps: float, size: int) -> float:
    """The largest measured distance of examples of `size` values that is within `eps`."""
    rounded = {"linf": 1.0, "l2": size**0.5, "l1": float(size), "l0": 0.0}[norm] * _VALUE_ROUNDING
    return eps * (1 + BUDGET_TOLERANCE) + rounded


def is_within(points: np.ndarray, x: np.ndarray, norm: str, eps: float) -> np.ndarray:
    """Which of the examples (n, ...) are finite, in the box and within `eps` of `x`, (n,).

    Of no norm where that is empty. Measured outside of attacks, in float64.
    """
    flat, clean = points.reshape(len(x), -1), x.reshape(len(x), -1)
    within: np.ndarray = np.asarray(in_box(flat))
    if norm:
        within &= np.asarray(distances(flat, clean, norm)) <= limit(norm, eps, flat.shape[1])
    return within


def spread(values: Array, like: Array) -> Array:
    """One value a row, (n,), shaped to broadcast against `like`, (n, ...), and where that is."""
    return beside(values, like).reshape(-1, *[1] * (like.ndim - 1))


@dataclass(frozen=True)
class Region:
    """The points within `eps` of an example, and within the box.

    Args:
        norm: "linf", "l2" or "l1".
        eps: the budget.
        low: of the box; one number, or one a value, (d,) float32.
        high: of the box, likewise.
    """

    norm: str
    eps: float
    low: Bound = 0.0
    high: Bound = 1.0

    def project(self, x: Array, points: Array) -> Array:
        """`points` moved into the region: under l2 by scaling, then clipping to the box."""
        xp = namespace(x)
        if self.norm == "linf":  # `np.clip` between arrays takes three times as long
            points = xp.maximum(points, x - self.eps)
            xp.minimum(points, x + self.eps, out=points)
        elif self.norm == "l2":
            step = points - x
            step *= xp.clip(self.eps / (lengths(step, "l2") + TINY), None, 1)[:, None]
            points = xp.add(x, step, out=step)
        else:
            return _project_l1(x, points, self)
        return xp.clip(points, self.low, self.high, out=points)

    def random_points(self, x: Array, generator: np.random.Generator) -> Array:
        """Starts: a random direction to the edge of the ball, then within the box."""
        shape = tuple(x.shape)
        if self.norm == "linf":
            direction = generator.uniform(-1, 1, shape).astype(np.float32)
        else:
            direction = generator.standard_normal(shape, dtype=np.float32)
        if self.norm != "l1":
            direction *= (self.eps / lengths(direction, self.norm))[:, np.newaxis]
        return self.project(x, x + beside(direction, x))


def _project_l1(x: Array, points: Array, region: Region) -> Array:
    """The nearest points, in l2, of the l1 ball and the box together (Croce & Hein 2021, eq. 7).

    Each coordinate goes min(max(|u| - shift, 0), room) towards `points`, where u is the way there,
    room what the box leaves of it, and shift the one at which the way is as long as eps.
    """
    xp = namespace(x)
    way = points - x
    size = xp.abs(way)
    room = select(way > 0, region.high - x, x - region.low)
    shift = xp.zeros_like(x[:, :1])
    far = host(xp.minimum(size, room).sum(axis=1) > region.eps)
    if far.any():
        shift[far] = _shift(size[far], room[far], region.eps)
    moved = _between(size - shift, room)
    moved *= xp.clip(region.eps / (moved.sum(axis=1, keepdims=True) + TINY), None, 1)
    moved *= xp.sign(way)
    return xp.add(x, moved, out=moved)


def _shift(size: Array, room: Array, eps: float) -> Array:
    """The shift of each row, (n, 1), under which min(max(size - shift, 0), room) sums to `eps`.

    By Newton's method on a function piecewise linear, and by halving where it leaves the bracket.
    """
    xp = namespace(size)
    lower = xp.zeros_like(size[:, :1])
    upper = xp.amax(size, axis=1, keepdims=True)
    shift = copied(lower)
    for _ in range(20):
        moved = _between(size - shift, room)
        excess = moved.sum(axis=1, keepdims=True) - eps
        lower, upper = xp.where(excess > 0, shift, lower), xp.where(excess > 0, upper, shift)
        slope = as_type(((moved > 0) & (moved < room)).sum(axis=1, keepdims=True), "float64")
        newton = shift + excess / xp.clip(slope, 1, None)
        inside = (newton > lower) & (newton < upper) & (slope > 0)
        shift = as_type(xp.where(inside, newton, (lower + upper) / 2), "float32")
    return shift


def _between(sizes: Array, room: Array) -> Array:
    """`sizes`, changed to lie between 0 and `room`."""
    xp = namespace(sizes)
    xp.clip(sizes, 0, None, out=sizes)
    return xp.minimum(sizes, room, out=sizes)


def onto_ball(change: np.ndarray, norm: str, eps: float | np.ndarray) -> np.ndarray:
    """The nearest change within `eps`, of (n, d), wherever the box is; eps may be (n, 1)."""
    if norm == "linf":
        return np.clip(change, -eps, eps)
    if norm == "l2":
        return np.asarray(change * np.minimum(1, eps / np.maximum(_column(change, norm), 1e-12)))
    sizes = np.abs(change)
    if norm == "l0":
        places = np.argsort(np.argsort(-sizes, axis=1, kind="stable"), axis=1)  # 0: the largest
        return np.where(places < np.floor(eps), change, 0)
    # By sorting (Duchi et al. 2008, figure 1).
    falling = -np.sort(-sizes, axis=1)
    excess = (np.cumsum(falling, axis=1) - eps) / np.arange(1, change.shape[1] + 1)
    last = np.maximum((falling > excess).sum(axis=1) - 1, 0)
    threshold = np.maximum(np.take_along_axis(excess, last[:, np.newaxis], axis=1), 0)
    return np.asarray(np.sign(change) * np.maximum(sizes - threshold, 0))


def _column(rows: np.ndarray, norm: str) -> np.ndarray:
    return lengths(rows, norm)[:, np.newaxis]

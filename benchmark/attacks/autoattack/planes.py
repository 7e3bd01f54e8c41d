"""Projection onto a hyperplane within a box, for three norms (Croce & Hein 2020, FAB, eq. 5)."""

from __future__ import annotations

import numpy as np

from benchmark.attacks.geometry import Bound, select

# More than Newton's method was seen to need.
NEWTON_STEPS = 50


def towards_plane(
    points: np.ndarray, normal: np.ndarray, gap: np.ndarray, norm: str, box: tuple[Bound, Bound]
) -> np.ndarray:
    """The shortest moves that bring each point to its plane without leaving the box, (n, d).

    As far as the box allows where the plane does not cross it.

    Args:
        points: rows in the box, (n, d).
        normal: of each row's plane, (n, d).
        gap: the plane's function at the point, (n,): the moves change it by `-gap`.
        norm: in which the moves are short.
        box: its lower and upper ends.
    """
    low, high = box
    direction = np.sign(normal)
    direction *= np.where(gap < 0, np.float32(1), np.float32(-1))[:, np.newaxis]
    slope = np.abs(normal)
    room = select(direction > 0, high - points, points - low)
    room[normal == 0] = 0
    need = np.abs(gap)
    if norm == "l1":
        sizes = _steepest_first(slope, room, need)
    else:
        sizes = _level(slope, slope if norm == "l2" else None, room, need)
    return np.asarray(direction * sizes, dtype=np.float32)


def _level(
    slope: np.ndarray, share: np.ndarray | None, room: np.ndarray, need: np.ndarray
) -> np.ndarray:
    """min(level share, room), with the level at which the slopes times it sum to `need`.

    No share is a share of 1. The sum is concave and piecewise linear in the level, so Newton's
    method from zero climbs to the solution without ever passing it.
    """
    gain, rate = slope * room, slope if share is None else slope * share
    most = gain.sum(axis=1)
    level = np.zeros(len(slope), dtype=np.float32)
    free, sizes = np.empty_like(slope), np.empty_like(slope)
    for _ in range(NEWTON_STEPS):
        at_level = level[:, np.newaxis]
        reached = at_level if share is None else np.multiply(at_level, share, out=sizes)
        free[...] = reached < room
        speed = np.einsum("nd,nd->n", rate, free)
        missing = need - (most - np.einsum("nd,nd->n", gain, free))
        # Where nothing is free, everything is at the box already.
        higher = np.where(speed > 0, missing / np.where(speed > 0, speed, 1), level)
        if (higher <= level * (1 + 1e-6)).all():
            break
        level = np.maximum(level, higher).astype(np.float32)
    at_level = level[:, np.newaxis]
    return np.asarray(np.minimum(at_level if share is None else at_level * share, room))


def _steepest_first(slope: np.ndarray, room: np.ndarray, need: np.ndarray) -> np.ndarray:
    """All the room of the steepest coordinates, until the slopes times it sum to `need`."""
    order = np.argsort(-slope, axis=1)
    slope, room = (np.take_along_axis(values, order, axis=1) for values in (slope, room))
    gain = slope * room
    left = need[:, np.newaxis] - (np.cumsum(gain, axis=1) - gain)
    taken = np.clip(left / np.where(slope > 0, slope, 1), 0, room)
    sizes = np.empty_like(taken)
    np.put_along_axis(sizes, order, taken, axis=1)
    return sizes

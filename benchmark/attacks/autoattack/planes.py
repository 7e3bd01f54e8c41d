"""Projection onto a hyperplane within a box, for three norms (Croce & Hein 2020, FAB, eq. 5)."""

from __future__ import annotations

from benchmark.attacks.arrays import Array, as_type, dot, namespace, select
from benchmark.attacks.geometry import Bound

# More than Newton's method was seen to need.
NEWTON_STEPS = 50


def towards_plane(
    points: Array, normal: Array, gap: Array, norm: str, box: tuple[Bound, Bound]
) -> Array:
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
    xp = namespace(points)
    direction = xp.sign(normal)
    direction *= as_type(xp.where(gap < 0, 1, -1), "float32")[:, None]
    slope = xp.abs(normal)
    room = select(direction > 0, high - points, points - low)
    room[normal == 0] = 0
    need = xp.abs(gap)
    if norm == "l1":
        sizes = _steepest_first(slope, room, need)
    else:
        sizes = _level(slope, slope if norm == "l2" else None, room, need)
    return as_type(direction * sizes, "float32")


def _level(slope: Array, share: Array | None, room: Array, need: Array) -> Array:
    """min(level share, room), with the level at which the slopes times it sum to `need`.

    No share is a share of 1. The sum is concave and piecewise linear in the level, so Newton's
    method from zero climbs to the solution without ever passing it.
    """
    xp = namespace(slope)
    gain, rate = slope * room, slope if share is None else slope * share
    most = gain.sum(axis=1)
    level = xp.zeros_like(slope[:, 0])
    free, sizes = xp.empty_like(slope), xp.empty_like(slope)
    for _ in range(NEWTON_STEPS):
        at_level = level[:, None]
        reached = at_level if share is None else xp.multiply(at_level, share, out=sizes)
        free[...] = reached < room
        speed = dot(rate, free)
        missing = need - (most - dot(gain, free))
        # Where nothing is free, everything is at the box already.
        higher = xp.where(speed > 0, missing / xp.where(speed > 0, speed, 1), level)
        if (higher <= level * (1 + 1e-6)).all():
            break
        level = as_type(xp.maximum(level, higher), "float32")
    at_level = level[:, None]
    return xp.minimum(at_level if share is None else at_level * share, room)


def _steepest_first(slope: Array, room: Array, need: Array) -> Array:
    """All the room of the steepest coordinates, until the slopes times it sum to `need`."""
    xp = namespace(slope)
    rows = xp.arange(len(slope), device=slope.device)[:, None]
    order = xp.argsort(-slope, axis=1)
    slope, room = slope[rows, order], room[rows, order]
    gain = slope * room
    left = need[:, None] - (xp.cumsum(gain, axis=1) - gain)
    share = xp.clip(left / xp.where(slope > 0, slope, 1), 0, None)
    sizes = xp.empty_like(share)
    sizes[rows, order] = xp.minimum(share, room)
    return sizes

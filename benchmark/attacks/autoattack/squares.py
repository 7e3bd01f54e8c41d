"""The proposals of Square Attack, for images (n, H, W, C)."""

from __future__ import annotations

import numpy as np

from benchmark.attacks.arrays import Array, beside, host, namespace
from benchmark.attacks.geometry import TINY, Region, lengths

# An index of images (n, H, W, C) that gives (n, side, side, C).
Window = tuple[np.ndarray, np.ndarray, np.ndarray]

# How fast a pattern falls from its centre.
DECAY = {"l2": 2, "l1": 4}


def start(x: Array, region: Region, generator: np.random.Generator) -> Array:
    """Vertical stripes to the edge of the ball (linf), or tiles (l2 and l1)."""
    n, height, width, channels = tuple(x.shape)
    if region.norm == "linf":
        stripes = beside(_signs(generator, (n, 1, width, channels)), x)
        return namespace(x).clip(x + region.eps * stripes, region.low, region.high)
    delta = np.zeros(tuple(x.shape), dtype=np.float32)
    side = max(height // 5, 1)
    margin = (height - side * 5) // 2 if height >= 5 else 0
    for top in range(margin, height - side + 1, side):
        for left in range(margin, width - side + 1, side):
            pattern = _pattern(side, region.norm, generator)[..., np.newaxis]
            signs = _signs(generator, (n, 1, 1, channels))
            delta[:, top : top + side, left : left + side] = pattern * signs
    return _to_edge(x, beside(delta, x), region)


def propose(
    x: Array, points: Array, side: int, region: Region, generator: np.random.Generator
) -> tuple[Array, np.ndarray]:
    """The next points to ask for, and which of them differ from `points`, which are overwritten."""
    window = _window(x, side, generator)
    if region.norm == "linf":
        signs = beside(_signs(generator, (len(x), 1, 1, x.shape[3])), x)
        values = namespace(x).clip(x[window] + region.eps * signs, region.low, region.high)
        changed = host((values != points[window]).any(axis=(1, 2, 3)))
        points[window] = values
        return points, changed
    other = _window(x, side, generator)
    delta = _moved_mass(points - x, window, other, side, region, generator)
    return _to_edge(x, delta, region), np.ones(len(x), dtype=bool)


def _moved_mass(
    delta: Array,
    window: Window,
    other: Window,
    side: int,
    region: Region,
    generator: np.random.Generator,
) -> Array:
    """`delta` with the mass of the window `other` moved to `window`, and what eps leaves added."""
    n, _, _, channels = tuple(delta.shape)
    norm, xp = region.norm, namespace(delta)
    both = xp.zeros_like(delta[..., :1])
    both[window] = both[other] = 1
    mass = _lengths(delta * both, norm)  # (n, 1, 1, channels)
    total = lengths(delta.reshape(n, -1), norm).reshape(n, 1, 1, 1)
    old = delta[window] / (TINY + _lengths(delta[window], norm))
    signs = beside(_signs(generator, (n, 1, 1, channels)), delta)
    new = old + beside(_pattern(side, norm, generator)[..., np.newaxis], delta) * signs
    new /= TINY + _lengths(new, norm)
    if norm == "l2":
        new *= xp.sqrt(xp.clip(region.eps**2 - total**2, 0, None) / channels + mass**2)
    else:
        new *= xp.clip(region.eps - total, 0, None) + mass * channels
    delta[other] = 0
    delta[window] = new
    return delta


def _to_edge(x: Array, delta: Array, region: Region) -> Array:
    """`x` and `delta`, scaled to the edge of the ball (l2), or projected (l1), within the box."""
    flat, step = x.reshape(len(x), -1), delta.reshape(len(x), -1)
    if region.norm == "l1":
        return region.project(flat, flat + step).reshape(x.shape)
    points = flat + step * (region.eps / (lengths(step, "l2") + TINY))[:, None]
    return namespace(x).clip(points, region.low, region.high).reshape(x.shape)


def _window(x: Array, side: int, generator: np.random.Generator) -> Window:
    """The index of a square of each image's own."""
    n, height, width, _ = tuple(x.shape)
    inside = np.arange(side)
    top, left = (generator.integers(0, size - side + 1, (n, 1)) for size in (height, width))
    rows, columns = (top + inside)[:, :, np.newaxis], (left + inside)[:, np.newaxis]
    return np.arange(n)[:, np.newaxis, np.newaxis], rows, columns


def _signs(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.choice(np.array([-1, 1], dtype=np.float32), shape)


def _lengths(delta: Array, norm: str) -> Array:
    """Of each channel, (n, 1, 1, channels)."""
    if norm == "l2":
        return namespace(delta).sqrt((delta**2).sum(axis=(1, 2), keepdims=True))
    return abs(delta).sum(axis=(1, 2), keepdims=True)


def _pattern(side: int, norm: str, generator: np.random.Generator) -> np.ndarray:
    """Two peaks of opposite sign beside or above each other, (side, side), of length 1."""
    half = side // 2
    upper, lower = _peak(half, side, norm), _peak(side - half, side, norm)
    pattern = np.concatenate([upper, -lower])
    pattern /= lengths(pattern.reshape(1, -1), norm)
    return pattern.T if generator.random() > 0.5 else pattern


def _peak(height: int, width: int, norm: str) -> np.ndarray:
    """Falls from the centre in squares (2020, eq. 3), of length 1; (height, width)."""
    if not height:
        return np.zeros((0, width), dtype=np.float32)
    rows, columns = np.arange(height) - height // 2, np.arange(width) - width // 2
    distance = np.maximum(np.abs(rows)[:, np.newaxis], np.abs(columns))
    steps = 1.0 / np.arange(1, max(height, width) // 2 + 2) ** DECAY[norm]
    peak = np.cumsum(steps[::-1])[::-1][distance].astype(np.float32)
    return np.asarray(peak / lengths(peak.reshape(1, -1), norm))

"""Blur of lenses, glass, and motion. Images are (h, w, c), in [0, 1]."""

from __future__ import annotations

import functools

import numpy as np
from scipy import ndimage


def gaussian(image: np.ndarray, deviation: float) -> np.ndarray:
    """Each channel with a Gaussian filter; its border goes on beyond the image."""
    found: np.ndarray = ndimage.gaussian_filter(
        image, (deviation, deviation, 0), mode="nearest", truncate=4
    )
    return found


def defocus_blur(
    image: np.ndarray, setting: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Each channel with a disk that has soft edges: a lens out of focus."""
    kernel = _disk(*setting)[..., None]
    found: np.ndarray = ndimage.correlate(image, kernel, mode="mirror")
    return found


def _disk(radius: float, softness: float) -> np.ndarray:
    """A disk of this radius with the sum 1, smoothed by a Gaussian of 3 taps, or 5 of a large.

    It is smoothed within 17 pixels, or the width of a larger disk, as published; what is 0 around
    it is cut off afterwards.
    """
    reach, taps = (8, 1) if radius <= 8 else (int(radius), 2)
    steps = np.arange(-reach, reach + 1)
    inside = (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.float64)
    tap = np.exp(-(np.arange(-taps, taps + 1) ** 2) / (2 * softness**2))
    for axis in (0, 1):
        inside = ndimage.correlate1d(inside, tap / tap.sum(), axis=axis, mode="mirror")
    around = max(0, reach - int(radius) - taps)
    kept = inside[around : len(steps) - around, around : len(steps) - around]
    found: np.ndarray = kept / kept.sum()
    return found


def glass_blur(
    image: np.ndarray, setting: tuple[float, int, int], rng: np.random.Generator
) -> np.ndarray:
    """Between two Gaussian filters, each pixel takes the value of one nearby: frosted glass.

    From the last pixel to the first, in rounds. As in the published data sets, the other pixel
    keeps its own value, and moves go further up and left than down and right.
    """
    deviation, reach, rounds = setting
    height, width = image.shape[:2]
    smooth = gaussian(image, deviation)
    rows, columns = np.meshgrid(
        np.arange(height - reach, reach, -1), np.arange(width - reach, reach, -1), indexing="ij"
    )
    places = (rows * width + columns).ravel().tolist()
    origin = list(range(height * width))
    for _ in range(rounds):
        moves = rng.integers(-reach, reach, size=(len(places), 2)) @ (width, 1)
        for place, move in zip(places, moves.tolist(), strict=True):
            origin[place] = origin[place + move]
    moved = smooth.reshape(height * width, -1)[origin].reshape(image.shape)
    return gaussian(moved, deviation)


def motion_blur(
    image: np.ndarray, setting: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Smeared in one direction, at most 45 degrees from level."""
    return moved(image, *setting, angle=rng.uniform(-45, 45))


def moved(image: np.ndarray, radius: float, deviation: float, *, angle: float) -> np.ndarray:
    """Smeared by one half of a Gaussian; its border goes on beyond the image.

    Args:
        radius: of the Gaussian, in pixels: it has 2 * radius + 1 of them.
        angle: in degrees.
    """
    height, width = image.shape[:2]
    steps = np.arange(2 * int(np.ceil(radius)) + 1)
    weights = np.exp(-(steps**2) / (2 * deviation**2))
    weights /= weights.sum()
    radians = np.deg2rad(angle)
    down = np.ceil(steps * np.sin(radians) - 0.5).astype(int)
    right = np.ceil(steps * np.cos(radians) - 0.5).astype(int)
    found = np.zeros_like(image)
    for weight, dy, dx in zip(weights, down, right, strict=True):
        rows = np.clip(np.arange(height) + dy, 0, height - 1)
        columns = np.clip(np.arange(width) + dx, 0, width - 1)
        found += weight * image[rows[:, None], columns]
    return found


def zoom_blur(
    image: np.ndarray, setting: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """The mean of the image and of enlargements of it: a camera that moves towards the object."""
    factors = np.arange(1, *setting)
    larger = [zoomed(image, factor) for factor in factors]
    found: np.ndarray = (image + np.sum(larger, axis=0)) / (len(factors) + 1)
    return found


def zoomed(image: np.ndarray, factor: float) -> np.ndarray:
    """The middle of the image enlarged to its size, bilinearly."""
    height, width = image.shape[:2]
    rows = _zoom(height, factor) @ image.reshape(height, -1)
    found: np.ndarray = _zoom(width, factor) @ rows.reshape(image.shape)
    return found


@functools.lru_cache(maxsize=256)
def _zoom(side: int, factor: float) -> np.ndarray:
    """What `zoomed` does along one axis, as a matrix, (side, side).

    The middle ceil(side / factor) pixels become round(factor * as many), ends on ends, and what is
    beyond `side` is cut off evenly.
    """
    middle = int(np.ceil(side / factor))
    larger = max(side, round(middle * factor))
    places = np.linspace(0, middle - 1, larger)[(larger - side) // 2 :][:side]
    first = np.minimum(places.astype(int), max(0, middle - 2))
    matrix, start, along = np.zeros((side, side)), (side - middle) // 2, np.arange(side)
    np.add.at(matrix, (along, start + first), 1 - (places - first))
    np.add.at(matrix, (along, start + np.minimum(first + 1, middle - 1)), places - first)
    return matrix

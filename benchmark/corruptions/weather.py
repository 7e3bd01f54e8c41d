"""Weather and daylight. Images are (h, w, c), in [0, 1]."""

from __future__ import annotations

import numpy as np

from benchmark.corruptions.blur import moved, zoomed

_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in what is seen as grey
_FROST = (0.86, 0.93, 1.0)  # a bluish white


def snow(image: np.ndarray, setting: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    """A paler image with flakes that fall across it."""
    mean, deviation, zoom, threshold, radius, smear, kept = setting
    flakes = zoomed(rng.normal(mean, deviation, size=(*image.shape[:2], 1)), zoom)
    flakes = np.where(flakes < threshold, 0, flakes).clip(0, 1)
    flakes = moved(flakes, radius, smear, angle=rng.uniform(-135, -45))
    pale = np.maximum(image, _grey(image) * 1.5 + 0.5)
    return kept * image + (1 - kept) * pale + flakes + np.rot90(flakes, k=2)


def frost(image: np.ndarray, setting: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """The image below a picture of frost.

    The published data sets take parts of five photographs. Here it is drawn: the ridges of a
    plasma fractal p, (1 - |2p - 1|)^2, in a bluish white. So its numbers can be compared between
    models measured here, and not with those of the published data sets.
    """
    of_image, of_frost = setting
    height, width = image.shape[:2]
    ridges = (1 - np.abs(2 * plasma(max(height, width), 2, rng) - 1)) ** 2
    ice = ridges[:height, :width, None]
    return of_image * image + of_frost * (ice * _FROST if image.shape[2] == 3 else ice)


def fog(image: np.ndarray, setting: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """The image in a plasma fractal, scaled so that its brightest value can stay."""
    thickness, decay = setting
    height, width = image.shape[:2]
    brightest = image.max()
    clouds = plasma(max(height, width), decay, rng)[:height, :width, None]
    found: np.ndarray = (image + thickness * clouds) * brightest / (brightest + thickness)
    return found


def brightness(image: np.ndarray, added: float, rng: np.random.Generator) -> np.ndarray:
    """A larger value in HSV, where hue and saturation stay: daylight."""
    value = image.max(axis=2, keepdims=True)
    brighter = (value + added).clip(0, 1)
    # Hue and saturation are ratios of the channels to the largest; black has none.
    return np.where(value > 0, image / np.where(value > 0, value, 1), 1) * brighter


def plasma(side: int, decay: float, rng: np.random.Generator) -> np.ndarray:
    """A plasma fractal by the diamond-square algorithm on a torus, (2^k, 2^k) >= side, in [0, 1].

    Args:
        decay: by which what is drawn shrinks from one scale to the next.
    """
    size = 1 << max(1, (side - 1).bit_length())
    heights, step, wobble = np.zeros((size, size)), size, 100.0

    def drawn(four: np.ndarray) -> np.ndarray:
        return four / 4 + rng.uniform(-(wobble**2), wobble**2, size=four.shape)

    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        below = corners + np.roll(corners, -1, axis=0)
        heights[half::step, half::step] = drawn(below + np.roll(below, -1, axis=1))
        middles = heights[half::step, half::step]
        beside = corners + np.roll(corners, -1, axis=1)
        heights[::step, half::step] = drawn(middles + np.roll(middles, 1, axis=0) + beside)
        above = corners + np.roll(corners, -1, axis=0)
        heights[half::step, ::step] = drawn(middles + np.roll(middles, 1, axis=1) + above)
        step, wobble = half, wobble / decay
    heights -= heights.min()
    return heights / heights.max()


def _grey(image: np.ndarray) -> np.ndarray:
    """What the image is without colours, (h, w, 1); itself where it has none."""
    return (image @ _LUMA)[..., None] if image.shape[2] == 3 else image

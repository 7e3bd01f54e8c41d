"""Operations of RandAugment on images in [0, 1], in NumPy: the same in both frameworks.

Cubuk et al. 2020, "RandAugment: Practical automated data augmentation with a reduced search space",
without those that look at neighbouring pixels or at a histogram. Each of the operations that an
image draws is as likely as the others, and half of the time goes the other way.

    brightness, contrast, saturation    nearer to, or further from, black, the mean, or grey
    posterize, solarize, autocontrast   fewer levels; the brightest inverted; the range stretched
    rotate, shear, translate            up to 30 degrees, 0.3 and 0.3 of a side; black from outside
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

# Of red, green and blue in grey.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Of how much a blend moves, and of angles and lengths, at the full magnitude.
_BLEND, _ANGLE, _LENGTH = 0.9, math.pi / 6, 0.3

MOST = 10  # the full magnitude


def _grey(image: np.ndarray) -> np.ndarray:
    if image.shape[-1] == len(_LUMA):
        return (image @ _LUMA)[..., np.newaxis]
    return image.mean(axis=-1, keepdims=True)


def _blended(image: np.ndarray, other: np.ndarray | float, amount: float) -> np.ndarray:
    return np.clip(other + (image - other) * (1 + _BLEND * amount), 0, 1)


def _brightness(image: np.ndarray, amount: float) -> np.ndarray:
    return _blended(image, 0.0, amount)


def _contrast(image: np.ndarray, amount: float) -> np.ndarray:
    return _blended(image, float(_grey(image).mean()), amount)


def _saturation(image: np.ndarray, amount: float) -> np.ndarray:
    return _blended(image, _grey(image), amount)


def _posterize(image: np.ndarray, amount: float) -> np.ndarray:
    levels = 2 ** (8 - round(4 * abs(amount)))
    return np.minimum(np.floor(image * levels), levels - 1) / (levels - 1)


def _solarize(image: np.ndarray, amount: float) -> np.ndarray:
    return np.where(image > 1 - abs(amount), 1 - image, image)


def _autocontrast(image: np.ndarray, amount: float) -> np.ndarray:
    low, high = (end(image, axis=(0, 1), keepdims=True) for end in (np.min, np.max))
    return np.where(high > low, (image - low) / np.where(high > low, high - low, 1), image)


def _rotate(image: np.ndarray, amount: float) -> np.ndarray:
    angle = _ANGLE * amount
    cos, sin = math.cos(angle), math.sin(angle)
    return _moved(image, ((cos, sin), (-sin, cos)))


def _shear_rows(image: np.ndarray, amount: float) -> np.ndarray:
    return _moved(image, ((1, 0), (_LENGTH * amount, 1)))


def _shear_columns(image: np.ndarray, amount: float) -> np.ndarray:
    return _moved(image, ((1, _LENGTH * amount), (0, 1)))


def _translate_rows(image: np.ndarray, amount: float) -> np.ndarray:
    return _moved(image, ((1, 0), (0, 1)), (_LENGTH * amount * image.shape[0], 0))


def _translate_columns(image: np.ndarray, amount: float) -> np.ndarray:
    return _moved(image, ((1, 0), (0, 1)), (0, _LENGTH * amount * image.shape[1]))


def _moved(
    image: np.ndarray,
    matrix: tuple[tuple[float, float], tuple[float, float]],
    shift: tuple[float, float] = (0, 0),
) -> np.ndarray:
    """Each pixel from where `matrix`, about the centre, and `shift` lead; the nearest one."""
    size = np.array(image.shape[:2])
    places = np.moveaxis(np.indices(image.shape[:2]), 0, -1)  # (H, W, 2)
    centre = (size - 1) / 2
    sources = (places - centre) @ np.transpose(matrix) + centre + shift
    rows, columns = np.moveaxis(np.rint(sources).astype(np.int64), -1, 0)
    inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
    found = np.zeros_like(image)
    found[inside] = image[rows[inside], columns[inside]]
    return found


OPERATIONS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "identity": lambda image, amount: image,
    "brightness": _brightness,
    "contrast": _contrast,
    "saturation": _saturation,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "rotate": _rotate,
    "shear rows": _shear_rows,
    "shear columns": _shear_columns,
    "translate rows": _translate_rows,
    "translate columns": _translate_columns,
}


def apply(
    generator: np.random.Generator, x: np.ndarray, *, count: int, magnitude: float
) -> np.ndarray:
    """Images (n, H, W, C) after `count` operations each, of a magnitude of 0 to `MOST`."""
    chosen = generator.integers(len(OPERATIONS), size=(len(x), count))
    signs = np.where(generator.random((len(x), count)) < 0.5, -1, 1)
    operations, found = list(OPERATIONS.values()), x.copy()
    for image, numbers, ways in zip(found, chosen, signs, strict=True):
        for number, way in zip(numbers, ways, strict=True):
            image[...] = operations[number](image, float(way) * magnitude / MOST)
    return found

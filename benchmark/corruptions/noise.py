"""Noise of sensors and of their electronics. Images are (h, w, c), in [0, 1]."""

from __future__ import annotations

import numpy as np


def gaussian_noise(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """x + N(0, deviation^2), value by value: low light."""
    return image + rng.normal(scale=deviation, size=image.shape)


def shot_noise(image: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Poisson(x * photons) / photons: light comes in discrete parts."""
    return rng.poisson(image * photons) / photons


def impulse_noise(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A share of the values is 0 or 1, with equal chance: salt and pepper."""
    hit = rng.random(image.shape) <= share
    salt = rng.random(image.shape) <= 0.5
    return np.where(hit, salt.astype(image.dtype), image)

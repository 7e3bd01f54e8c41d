"""SpatialTransformation, which fits cubic splines to move images by whole pixels.

The splines run through all axes, the examples' own included, and take nine tenths of the attack's
time; at whole pixels they are the pixels themselves.
"""

from __future__ import annotations

import numpy as np
from art.attacks.evasion import SpatialTransformation as ArtSpatialTransformation
from scipy.ndimage import rotate


class SpatialTransformation(ArtSpatialTransformation):
    """ART's SpatialTransformation, moved by slices; rotated as ever."""

    def _perturb(self, x: np.ndarray, trans_x: int, trans_y: int, rot: float) -> np.ndarray:
        first = 2 if self.estimator.channels_first else 1
        moved = _moved(_moved(x, trans_x, first), trans_y, first + 1)
        x_adv: np.ndarray = rotate(moved, angle=rot, axes=(first, first + 1), reshape=False)
        if self.estimator.clip_values is not None:
            x_adv = np.clip(x_adv, *self.estimator.clip_values)
        return x_adv


def _moved(x: np.ndarray, by: int, axis: int) -> np.ndarray:
    """`x` moved by whole pixels; what comes in is 0."""
    moved = np.zeros_like(x)
    to, since = np.moveaxis(moved, axis, 0), np.moveaxis(x, axis, 0)
    size = len(since)
    kept = max(size - abs(by), 0)
    to[max(by, 0) : max(by, 0) + kept] = since[max(-by, 0) : max(-by, 0) + kept]
    return moved

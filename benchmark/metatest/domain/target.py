"""Images of another data set as a model takes them."""

from __future__ import annotations

import numpy as np
from PIL import Image

# ITU-R 601-2, as Pillow's conversion to grey
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def as_shape(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(n, H, W, C) float32 in [0, 1] as (n, *shape): bilinear, grey repeated, colours made grey."""
    if x.shape[1:] == shape:
        return x
    if x.shape[3] != shape[2]:
        x = np.repeat(x, shape[2], axis=3) if x.shape[3] == 1 else x[..., :3] @ _GREY[:, None]
    height, width, channels = shape
    found = np.empty((len(x), *shape), np.float32)
    for row, image in enumerate(np.ascontiguousarray(x, np.float32)):
        for channel in range(channels):
            plane = Image.fromarray(np.ascontiguousarray(image[..., channel]))
            resized = plane.resize((width, height), Image.Resampling.BILINEAR)
            found[row, ..., channel] = np.asarray(resized)
    return np.clip(found, 0, 1)

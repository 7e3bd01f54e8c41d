"""Common corruptions: 15 ways in which images get worse by no one's intent, at five severities.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019. Written from its definitions, with the constants of the data sets that
go with it: CIFAR-10-C's for images of up to 64 pixels a side, ImageNet-C's for larger ones.

What differs from those data sets: values stay real numbers between steps, where they were rounded
to 8 bits; and the frost is drawn, since its photographs are not part of the definition
(`weather.frost`). Images with other than 3 channels are corrupted as they are, channel by channel
where a definition knows colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmark.corruptions import blur, digital, noise, weather
from benchmark.corruptions.severities import CIFAR, IMAGENET, SEVERITIES

SMALL = 64  # pixels a side, at most, for which the constants of small images hold

Corruption = Callable[[np.ndarray, Any, np.random.Generator], np.ndarray]

# In the order of the paper, which is also part of the seed of each.
CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
}


def constants(shape: Sequence[int]) -> str:
    """Which data set's constants hold for images of this shape, (h, w, c)."""
    return CIFAR if max(shape[:2]) <= SMALL else IMAGENET


def corrupt(
    x: np.ndarray, name: str, severity: int, *, seed: int, index: Sequence[int] | np.ndarray
) -> np.ndarray:
    """Images with one corruption, each a function of itself, the seed and its index alone.

    Args:
        x: (n, h, w, c), in [0, 1].
        name: a key of `CORRUPTIONS`.
        severity: 1 to 5.
        seed: of what is drawn.
        index: a number of each image, (n,); the same one draws the same in any company.

    Returns:
        float32 in [0, 1], of the shape of `x`.
    """
    setting = SEVERITIES[constants(x.shape[1:])][name][severity - 1]
    place = list(CORRUPTIONS).index(name)
    found = np.empty(x.shape, np.float32)
    for row, (image, number) in enumerate(zip(x, index, strict=True)):
        rng = np.random.default_rng([seed, place, severity, int(number)])
        found[row] = CORRUPTIONS[name](image.astype(np.float64), setting, rng).clip(0, 1)
    return found

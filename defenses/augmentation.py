"""Augmentation of training images, drawn and applied in NumPy: the same in both frameworks.

    crop     a window of the image's size, anywhere in the image with so many black pixels around it
    flip     left and right exchanged, for every second image on average
    cutout   a black square whose centre lies anywhere in the image; what sticks out is cut off
             (DeVries & Taylor 2017, "Improved regularization of convolutional neural networks with
             cutout", section 3.2)

    rand_augment
             so many operations of `defenses.rand_augment`, before the cutout

Each image draws for itself, in this order; what is off draws nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from defenses import rand_augment
from defenses.errors import DefenseError


@dataclass(frozen=True)
class Augmentation:
    """What is done to each training image.

    Args:
        crop: black pixels around it, of which a window is taken; 0 for none.
        flip: whether it is mirrored at random.
        cutout: the black square's side; 0 for none.
        rand_augment: operations on each image; 0 for none.
        magnitude: of these, from 0 to 10.
    """

    crop: int = 0
    flip: bool = False
    cutout: int = 0
    rand_augment: int = 0
    magnitude: float = 5.0

    def __bool__(self) -> bool:
        return bool(self._on)

    @property
    def _on(self) -> list[str]:
        return [name for name, value in vars(self).items() if value and name != "magnitude"]

    def __call__(self, generator: np.random.Generator, x: np.ndarray) -> np.ndarray:
        """Images (n, H, W, C) as others of the same shape and type; `x` itself where all is off."""
        count, height, width = x.shape[:3]
        if self.crop or self.flip:
            corners, flipped = np.zeros((count, 2), int), np.zeros(count, bool)
            if self.crop:
                corners = generator.integers(2 * self.crop + 1, size=(count, 2))
            if self.flip:
                flipped = np.asarray(generator.random(count) < 0.5)
            x = _windows(x, self.crop, corners, flipped)
        if self.rand_augment:
            count = self.rand_augment
            x = rand_augment.apply(generator, x, count=count, magnitude=self.magnitude)
        if self.cutout:
            centres = generator.integers((height, width), size=(count, 2))
            x = x.copy()
            for image, (row, column) in zip(x, centres - self.cutout // 2, strict=True):
                rows, columns = (slice(max(0, at), at + self.cutout) for at in (row, column))
                image[rows, columns] = 0
        return x

    def check(self, input_shape: Sequence[int]) -> None:
        """Raises DefenseError where inputs of this shape can't be augmented so."""
        if self and len(input_shape) != 3:
            raise DefenseError(
                f"{' and '.join(self._on)}: only images can be augmented, these data are tabular; "
                "leave it out"
            )
        for name, size in (("crop", self.crop), ("cutout", self.cutout)):
            if size > min(input_shape[:2]):
                height, width = input_shape[:2]
                raise DefenseError(
                    f"{name} {size} is larger than the images, {height}x{width}; "
                    f"give at most {min(height, width)}"
                )


def _windows(x: np.ndarray, crop: int, corners: np.ndarray, flipped: np.ndarray) -> np.ndarray:
    """Each image's window, with its columns in reverse order where it is flipped."""
    height, width = x.shape[1:3]
    padded = np.pad(x, ((0, 0), (crop, crop), (crop, crop), (0, 0)))
    found = np.empty_like(x)
    # A view an image: three times as fast as one index of rows and columns
    for place, (row, column) in enumerate(corners.tolist()):
        window = padded[place, row : row + height, column : column + width]
        found[place] = window[:, ::-1] if flipped[place] else window
    return found

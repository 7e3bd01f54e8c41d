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
from defenses.resident.spec import Moves, Rows


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
        """Images (n, H, W, C) as others of the same shape and type; `x` itself where all is off.

        Of rows that lie on a device it is told alone where their pixels come from.
        """
        if isinstance(x, Rows) and not self.rand_augment:
            return x.moved(self._moves(generator, *x.shape[:3])) if self else x
        count, height, width = x.shape[:3]
        if self.crop or self.flip:
            x = _windows(x, self.crop, *self._corners(generator, count))
        if self.rand_augment:
            x = rand_augment.apply(generator, x, count=self.rand_augment, magnitude=self.magnitude)
        if self.cutout:
            centres = generator.integers((height, width), size=(count, 2))
            x = x.copy()
            for image, (row, column) in zip(x, centres - self.cutout // 2, strict=True):
                rows, columns = (slice(max(0, at), at + self.cutout) for at in (row, column))
                image[rows, columns] = 0
        return x

    def _corners(self, generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Where windows begin in the padded images, (n, 2), and which of them are mirrored."""
        corners, flipped = np.zeros((count, 2), int), np.zeros(count, bool)
        if self.crop:
            corners = generator.integers(2 * self.crop + 1, size=(count, 2))
        if self.flip:
            flipped = np.asarray(generator.random(count) < 0.5)
        return corners, flipped

    def _moves(self, generator: np.random.Generator, count: int, height: int, width: int) -> Moves:
        """The same as a call does, as where each pixel comes from."""
        corners, flipped = self._corners(generator, count)
        rows = corners[:, :1] - self.crop + np.arange(height)  # (n, H)
        columns = corners[:, 1:] - self.crop + np.arange(width)  # (n, W)
        columns[flipped] = columns[flipped, ::-1]
        kept = _both(_within(rows, height), _within(columns, width))
        if self.cutout:
            first = generator.integers((height, width), size=(count, 2)) - self.cutout // 2
            below, right = np.arange(height) - first[:, :1], np.arange(width) - first[:, 1:]
            kept &= ~_both(_within(below, self.cutout), _within(right, self.cutout))
        return Moves(rows.clip(0, height - 1), columns.clip(0, width - 1), kept)

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


def _within(places: np.ndarray, end: int) -> np.ndarray:
    """Which of them lie from 0 to before `end`."""
    return (places >= 0) & (places < end)


def _both(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """What is true of the row and of the column of a pixel, (n, H, W)."""
    return rows[:, :, None] & columns[:, None, :]


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

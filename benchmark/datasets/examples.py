"""Inputs that are read when they are asked for, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from defenses.inputs import Inputs

Images = NDArray[np.float32]

# Bytes that are read at a time where everything is gone through.
_CHUNK = 16_000_000


class Stored(Protocol):
    """Inputs as they lie in memory or on a disk: (n, H, W, C) or (n, d), uint8 or float in [0, 1].

    An array is one; `benchmark.datasets.files.Files` is another.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all inputs."""

    def __getitem__(self, rows: Any, /) -> Any:
        """The inputs at these places, in their order."""


class Examples(Inputs):
    """Some rows of what is stored, as models take them: float32 in [0, 1], uint8 divided by 255.

    It is indexed as an array is, along its first axis alone, and gives arrays that nobody else
    holds. `numpy.asarray` reads all of it.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, stored: Stored, rows: NDArray[np.intp] | None = None) -> None:
        self.stored = stored
        self.rows = np.arange(stored.shape[0]) if rows is None else rows

        self.shape = (len(self.rows), *stored.shape[1:])
        self.slow = not isinstance(stored, np.ndarray)

    def __getitem__(self, index: Any) -> Images:
        return scaled(self.as_stored(index))

    def as_stored(self, index: Any) -> NDArray[Any]:
        """Bytes where they are stored so, else float32."""
        rows = np.asarray(self.rows[index])
        found = self.stored[rows.ravel()].reshape(*rows.shape, *self.shape[1:])
        return found if found.dtype == np.uint8 else scaled(found)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)

    def chunks(self) -> Iterator[Images]:
        """All of it in order, some rows at a time."""
        size = max(1, _CHUNK // max(1, 4 * int(np.prod(self.shape[1:]))))
        for first in range(0, len(self), size):
            yield self[first : first + size]


def scaled(x: NDArray[np.generic]) -> Images:
    """`x` as contiguous float32, uint8 divided by 255, with no float64 on the way."""
    if x.dtype != np.uint8:
        return np.ascontiguousarray(x, dtype=np.float32)
    out = x.astype(np.float32)
    out /= 255
    return out

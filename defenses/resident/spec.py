"""Training data that lie on the model's device, and rows of them, which hold no numbers.

An update's images are then taken where they lie, augmented by where their pixels come from:

    x[i, h, w] = data[index[i], rows[i, h], columns[i, w]] kept[i, h, w]

Bytes stay bytes until then; divided by 255 in float32 they are what the host makes of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from defenses.inputs import Inputs, as_stored

# Bytes that go to the device at a time.
_CHUNK = 64_000_000


@dataclass(frozen=True, eq=False)
class Held:
    """The same inputs on the host and, as the framework's tensor, on the device."""

    host: np.ndarray | Inputs
    tensor: Any


class Moves(NamedTuple):
    """Where the pixels of images come from, for any leading axes.

    rows (..., H) and columns (..., W) of the image; kept (..., H, W), False where it is black.
    """

    rows: np.ndarray
    columns: np.ndarray
    kept: np.ndarray


class Rows(np.lib.mixins.NDArrayOperatorsMixin, Inputs):
    """Rows of inputs on the device, of any leading axes, and where their pixels come from.

    Indexed and reshaped along the leading axes they stay that; whatever else is done to them is
    done to the array on the host.
    """

    dtype, slow = np.dtype(np.float32), False

    def __init__(self, held: Held, index: np.ndarray, moves: Moves | None = None) -> None:
        self.held, self.index, self.moves = held, index, moves
        self.shape = (*index.shape, *held.host.shape[1:])

    def __getitem__(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        if len(keys) > self.index.ndim or any(one is None or one is Ellipsis for one in keys):
            return np.asarray(self)[key]
        moves = None if self.moves is None else Moves(*(value[key] for value in self.moves))
        return Rows(self.held, self.index[key], moves)

    def reshape(self, *shape: Any) -> Any:
        """As an array's."""
        shape = shape[0] if isinstance(shape[0], tuple) else shape
        example = self.held.host.shape[1:]
        if shape[len(shape) - len(example) :] != example:
            return np.asarray(self).reshape(shape)
        leading, axes = shape[: len(shape) - len(example)], self.index.ndim
        moves = None
        if self.moves is not None:
            moves = Moves(*(value.reshape(*leading, *value.shape[axes:]) for value in self.moves))
        return Rows(self.held, self.index.reshape(leading), moves)

    def moved(self, moves: Moves) -> Rows:
        """Images whose pixels come from elsewhere in these, which come from where they lie."""
        return Rows(self.held, self.index, moves)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        found = self.held.host[self.index]
        if self.moves is not None:
            rows, columns, kept = self.moves
            found = np.take_along_axis(found, rows[..., :, None, None], -3)
            found = np.take_along_axis(found, columns[..., None, :, None], -2)
            found = np.where(kept[..., None], found, np.float32(0))
        return np.asarray(found, dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        arrays = (np.asarray(one) if isinstance(one, Rows) else one for one in inputs)
        return getattr(ufunc, method)(*arrays, **settings)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(np.asarray(self), name)


def size(x: np.ndarray | Inputs) -> int:
    """Bytes that inputs take on a device."""
    return as_stored(x, slice(0, 1)).nbytes * len(x)


def chunks(x: np.ndarray | Inputs) -> Iterator[np.ndarray]:
    """All of the inputs in their order and as they are stored, some at a time."""
    count = max(1, _CHUNK // max(1, 4 * math.prod(x.shape[1:])))
    return (as_stored(x, slice(first, first + count)) for first in range(0, len(x), count))

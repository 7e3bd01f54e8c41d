"""Inputs that are read when they are asked for: data sets larger than memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np


class Inputs(ABC):
    """What `Defense.fit` takes in place of an array of inputs, to train on or to validate with.

    It is indexed along its first axis alone: by a slice, or by an array of whole numbers of any
    shape. That gives a new array, float32 in [0, 1], and may happen in another thread.

    shape: (n, H, W, C) or (n, d). slow: whether reading takes so long that it should run ahead.
    """

    shape: tuple[int, ...]
    slow: bool = True

    @property
    def ndim(self) -> int:
        """As an array's."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, index: Any) -> np.ndarray:
        """The inputs at these places."""

    def as_stored(self, index: Any) -> np.ndarray:
        """The inputs at these places as uint8, where `self[index]` is that divided by 255.

        Where they aren't bytes, as float32; all of them are, or none.
        """
        return self[index]


class Chosen(Inputs):
    """Some rows of other inputs."""

    def __init__(self, inputs: np.ndarray | Inputs, rows: np.ndarray) -> None:
        self._inputs, self._rows = inputs, rows
        self.shape, self.slow = (len(rows), *inputs.shape[1:]), getattr(inputs, "slow", False)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self._inputs[self._rows[index]]


def as_stored(x: np.ndarray | Inputs, index: Any) -> np.ndarray:
    """The same of an array, which has no bytes."""
    return x.as_stored(index) if isinstance(x, Inputs) else x[index]

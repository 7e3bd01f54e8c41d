"""Inputs that are read when they are asked for: data sets larger than memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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


class Chosen(Inputs):
    """Some rows of other inputs."""

    def __init__(self, inputs: Inputs, rows: np.ndarray) -> None:
        self._inputs, self._rows = inputs, rows
        self.shape, self.slow = (len(rows), *inputs.shape[1:]), inputs.slow

    def __getitem__(self, index: Any) -> np.ndarray:
        return self._inputs[self._rows[index]]


def batches(x: np.ndarray | Inputs, places: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """The inputs at each of the `places`, one after another.

    Where reading is slow, the next are read while these are worked on.
    """
    if not places or not getattr(x, "slow", False):
        yield from (x[place] for place in places)
        return
    with ThreadPoolExecutor(1, "read-ahead") as reader:
        coming = reader.submit(x.__getitem__, places[0])
        for place in places[1:]:
            ready, coming = coming, reader.submit(x.__getitem__, place)
            yield ready.result()
        yield coming.result()

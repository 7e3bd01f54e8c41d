"""How many examples an attack asks a model about at a time: by free memory, and what would fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np

from benchmark.estimators.estimator import Estimator
from benchmark.estimators.passes import CHUNK, asking, rows_at_once
from benchmark.text import ran_out_of_memory

AUTO: Literal["auto"] = "auto"
# Beyond so many a pass gets no faster.
_MOST = 16 * CHUNK
# Examples that are tried, and the share of free memory that a pass may take.
_TRIED, _SHARE = 32, 0.6


class DeviceMemory(Protocol):
    """Of the device that a framework computes on, in bytes."""

    def free(self) -> int:
        """What is left."""

    def taken_by(self, call: Callable[[], object]) -> int:
        """What `call` takes at most, beyond what is taken already."""


def fitting(estimator: Estimator, x: np.ndarray, y: np.ndarray, memory: DeviceMemory) -> int:
    """As many examples as a gradient's pass has memory for: a multiple of 250, or fewer.

    Some of `x` are tried, which the estimator counts as no passes.
    """
    tried = min(_TRIED, len(x))
    taken = memory.taken_by(lambda: _try(estimator, x, y, tried))
    size = int(_SHARE * memory.free() / max(1.0, taken / tried))
    return min(_MOST, size // CHUNK * CHUNK) if size >= CHUNK else max(1, size)


def smaller(estimator: Estimator, x: np.ndarray, y: np.ndarray) -> int:
    """The first half, quarter, ... of the present size that a gradient's pass has memory for.

    0 where there is none.
    """
    size = min(rows_at_once(), len(x)) // 2
    while size:
        try:
            _try(estimator, x, y, size)
            break
        except Exception as error:
            if not ran_out_of_memory(error):
                raise
        size //= 2
    return size


def _try(estimator: Estimator, x: np.ndarray, y: np.ndarray, size: int) -> None:
    before = estimator.passes.forwards, estimator.passes.backwards
    try:
        with asking(size):
            estimator.loss_gradient(x[:size], y[:size])
    finally:
        estimator.passes.forwards, estimator.passes.backwards = before

"""Inputs as the wrappers around a cell's model encode them."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark.attacks.aiming import wrapped_module
from benchmark.cells import Cell
from defenses.inputs import Inputs
from defenses.wrappers import encoded_shape


def encoded(cell: Cell, x: Inputs) -> Inputs:
    """What the cell's model trains on: `x`, unless a wrapper encodes it."""
    shape = encoded_shape(cell.wrapped_in, x.shape[1:])
    return (
        x if shape == x.shape[1:] else Encoded(x, shape, wrapped_module().stages(cell.wrapped_in))
    )


class Encoded(Inputs):
    """Inputs as a wrapper's `stages` encode them, of `shape` each."""

    def __init__(self, x: Inputs, shape: tuple[int, ...], stages: Any) -> None:
        self._x, self._stages = x, stages
        self.shape, self.slow = (len(x), *shape), x.slow

    def __getitem__(self, index: Any) -> np.ndarray:
        x = self._x[index]
        encoded = self._stages.encode(x.reshape(-1, *self._x.shape[1:]))[-1]
        return np.asarray(encoded).reshape(*x.shape[: x.ndim - self._x.ndim + 1], *self.shape[1:])

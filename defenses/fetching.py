"""The losses of an epoch, fetched from the device some at a time: a fetch waits for the device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from defenses.errors import TrainingDivergedError

AT_ONCE = 20


class Losses:
    """What updates lost, in their order.

    Args:
        first: the number of the epoch's first update, from 0.
        explain: what a training's end is told with, given a loss and the number of its update.
    """

    def __init__(self, first: int, explain: Callable[[float, int], str]) -> None:
        self._first, self._explain = first, explain
        self._fetched: list[float] = []
        self._waiting: list[Any] = []

    def add(self, loss: Any) -> None:
        """Takes a number, or a framework's scalar; see `values` for what is raised."""
        self._waiting.append(loss)
        if len(self._waiting) == AT_ONCE:
            self.values()

    def values(self) -> list[float]:
        """All of them; raises `TrainingDivergedError` for the first that isn't finite."""
        waiting, self._waiting = self._waiting, []
        for loss in map(float, waiting):
            if not math.isfinite(loss):
                raise TrainingDivergedError(
                    self._explain(loss, self._first + len(self._fetched) + 1)
                )
            self._fetched.append(loss)
        return self._fetched

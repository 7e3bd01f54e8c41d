"""Extra training data: a share of each batch, as in Gowal et al. 2021 and Rebuffi et al. 2021.

An epoch has as many updates as without them, so that trainings with and without cost the same
(their "CIFAR-10-equivalent epochs").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from defenses.data import checked_data
from defenses.errors import DefenseError
from defenses.inputs import Inputs, as_stored


@dataclass(frozen=True, eq=False)
class Extra:
    """Labelled examples that are mixed into the training data.

    Args:
        x: inputs in [0, 1], shaped as those that they are mixed with.
        y: labels 0 .. classes-1, (n,).
        share: of each batch that is drawn from them, above 0 and below 1; at least one example is
            of each kind.
    """

    x: np.ndarray | Inputs
    y: np.ndarray
    share: float = 0.5

    def checked(self, shape: tuple[int, ...], batch: int) -> Extra:
        """With arrays of the types that are trained on; DefenseError where they don't fit."""
        if not 0 < self.share < 1:
            raise DefenseError(
                f"extra data: a share of {self.share:g} is not allowed; give one above 0 and below "
                "1, such as 0.5"
            )
        if batch < 2:
            raise DefenseError(
                "extra data: an update takes 1 example, which can't be of both kinds; give at "
                "least 2"
            )
        x, y = checked_data(self.x, self.y)
        if x.shape[1:] != shape:
            raise DefenseError(
                f"extra data: an example is {x.shape[1:]}, and one of the training data {shape}; "
                "both must have the same shape"
            )
        return Extra(x, y, self.share)


class Joined(Inputs):
    """Two sets of inputs as one, the second behind the first."""

    def __init__(self, first: np.ndarray | Inputs, second: np.ndarray | Inputs) -> None:
        self._parts = first, second
        self.shape = (len(first) + len(second), *first.shape[1:])
        self.slow = any(getattr(part, "slow", False) for part in self._parts)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self._read(index, lambda part, rows: part[rows], np.float32)

    def as_stored(self, index: Any) -> np.ndarray:
        """Bytes where both parts have bytes."""
        kinds = [as_stored(part, slice(0, 1)).dtype for part in self._parts]
        if any(kind != np.uint8 for kind in kinds):
            return self[index]
        return self._read(index, as_stored, np.uint8)

    def _read(self, index: Any, read: Callable[..., np.ndarray], kind: type) -> np.ndarray:
        places = np.arange(len(self))[index]
        flat, (first, second) = places.ravel(), self._parts
        found: np.ndarray = np.empty((len(flat), *self.shape[1:]), kind)
        behind = flat >= len(first)
        found[~behind] = read(first, flat[~behind])
        found[behind] = read(second, flat[behind] - len(first))
        return found.reshape(*places.shape, *self.shape[1:])


class Mixture:
    """The training data with extra ones behind them, and which of both a batch takes."""

    def __init__(self, x: np.ndarray | Inputs, y: np.ndarray, extra: Extra) -> None:
        self.x = Joined(x, extra.x)
        self.y = np.concatenate([y, extra.y])
        self._own, self._extra, self._share = len(y), len(extra.y), extra.share

    def batches(
        self, generator: np.random.Generator, order: np.ndarray, size: int, steps: int
    ) -> Iterator[np.ndarray]:
        """Places of `steps` batches, each in random order.

        `order` is that of the training data; the extra ones follow an order that is drawn here.
        """
        taken = min(max(1, round(self._share * size)), size - 1)
        own = size - taken
        extra = self._own + self._drawn(generator, taken * steps)
        for step in range(steps):
            parts = order[step * own :][:own], extra[step * taken :][:taken]
            yield generator.permutation(np.concatenate(parts))

    def pool(self, generator: np.random.Generator) -> np.ndarray:
        """Places to draw from freely: all training data, and extra ones in proportion."""
        count = max(1, round(self._own * self._share / (1 - self._share)))
        return np.concatenate([np.arange(self._own), self._own + self._drawn(generator, count)])

    def _drawn(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """So many places of extra data: each once before any comes twice."""
        return np.resize(generator.permutation(self._extra), count)

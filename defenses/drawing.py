"""What a training's updates are made on: examples and random draws, in NumPy.

Everything random comes from one generator, in this order at each step: the epoch's permutation
(first step only), which extra data go into its batches, how the examples are augmented, then what
the defense draws. A kernel draws nothing, so that both frameworks see the same examples, tasks and
attack starts.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np

from defenses.ahead import ahead
from defenses.extra import Extra, Mixture
from defenses.inputs import Chosen, Inputs
from defenses.kernel import Arrays, Kernel
from defenses.length import Length
from defenses.recipe import Recipe
from defenses.resident.spec import Held, Rows, chunks, size

# Keeps the training's draws apart from other uses of the same seed.
TRAINING_STREAM = 0x7124


class Drawing:
    """Draws for one epoch after the other.

    Args:
        kernel: that the draws are for.
        x, y: the training data.
        seed: of the generator.
        extra: what a share of each batch is drawn from instead.
    """

    def __init__(
        self,
        defense: Recipe,
        kernel: Kernel,
        x: np.ndarray | Inputs,
        y: np.ndarray,
        *,
        length: Length,
        seed: int,
        extra: Extra | None,
    ) -> None:
        self._defense, self._steps, self._examples = defense, length.steps, len(x)
        self._mixture = None if extra is None else Mixture(x, y, extra)
        self._x, self._y = (x, y) if self._mixture is None else (self._mixture.x, self._mixture.y)
        room = kernel.room()
        # Where the host would wait for a disk, or a device for the host
        self._ahead = room > 0 or getattr(self._x, "slow", False)
        goes_round = length.steps * defense.examples_per_step >= len(self._x)
        if goes_round and not defense.rand_augment and room >= size(self._x):
            self._x = Rows(Held(self._x, kernel.upload(chunks(self._x))), np.arange(len(self._x)))
        self.generator = np.random.default_rng([seed, TRAINING_STREAM])

    def epoch(self, steps: range) -> Generator[tuple[int, Arrays], None, None]:
        """Each of an epoch's steps with its draws, made ahead in a thread where that pays.

        Nothing is drawn ahead of an epoch, so that after it the generator is where its steps left
        it. Close it where it is left before its end.
        """
        drawn = self._drawn(steps, self._pools(len(steps)))
        return ahead(drawn) if self._ahead else drawn

    def _drawn(
        self, steps: range, pools: Iterator[tuple[Any, np.ndarray]]
    ) -> Generator[tuple[int, Arrays], None, None]:
        for step, (x, y) in zip(steps, pools, strict=True):
            draws = self._defense.draw_augmented(self.generator, x, y)
            yield step, self._defense.at(draws, step / self._steps)

    def _pools(self, steps: int) -> Iterator[tuple[Any, np.ndarray]]:
        """What each of an epoch's first `steps` draws from, in an order drawn now."""
        x, y, size = self._x, self._y, self._defense.examples_per_step
        order = self.generator.permutation(self._examples)
        places = [order[step * size :][:size] for step in range(steps)]
        if self._mixture is not None:
            if self._defense.draws_from_all:
                pool = self._mixture.pool(self.generator)
                x, y = Chosen(x, pool), y[pool]
            else:
                places = list(self._mixture.batches(self.generator, order, size, steps))
        if self._defense.draws_from_all:
            return iter([(x, y)] * steps)
        return ((x[place], y[place]) for place in places)

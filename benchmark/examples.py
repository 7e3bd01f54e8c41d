"""Which examples of a data set a cell uses beside training: the same for everyone who asks."""

from __future__ import annotations

import numpy as np

from benchmark.cells import Cell
from benchmark.datasets import Dataset
from benchmark.datasets.splits import draw

# Keep the draw of the attacked examples and of the support apart from others of the same seed.
_EXAMPLES_STREAM = 0x7E57
_SUPPORT_STREAM = 0x5089

# Training examples that a defense which adapts is adapted to before it is attacked.
SUPPORT = 100


def attacked_examples(cell: Cell, data: Dataset) -> np.ndarray:
    """Which rows of the test part are attacked, ascending: the same for every cell of a split."""
    generator = np.random.default_rng([cell.split_seed, _EXAMPLES_STREAM])
    return np.sort(draw(data.y_test, cell.examples, generator))


def support_examples(cell: Cell, data: Dataset) -> np.ndarray:
    """Which rows of the training part a defense that adapts is adapted to."""
    generator = np.random.default_rng([cell.seed, _SUPPORT_STREAM])
    return draw(data.y_train, SUPPORT, generator)

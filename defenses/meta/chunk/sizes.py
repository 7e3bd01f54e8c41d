"""Which tasks are computed together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

# Stacking saves the overhead of small operations. Beyond so many numbers a task (weights and what
# its examples activate) an operation is no longer small, and stacking gains nothing on a CPU.
STACKED_NUMBERS = 3 * 2**20
# As many as an ordinary batch holds.
ATTACKED_EXAMPLES = 250


def chunk_size(chosen: int, *, tasks: int, weights: int, activations: int, examples: int) -> int:
    """Tasks of a chunk.

    Args:
        chosen: by the user; 0 leaves it to the model's size.
        tasks: of a meta-batch.
        weights: of the model.
        activations: numbers that one example leaves between the layers.
        examples: of a task.
    """
    fitting = STACKED_NUMBERS // (weights + activations * examples)
    return min(chosen or max(1, fitting), tasks)


def attacked_at_once(examples: int) -> int:
    """Tasks whose supports, of so many examples each, are attacked in one batch."""
    return max(1, ATTACKED_EXAMPLES // examples)


def groups(attacks: np.ndarray, at_most: int) -> Iterator[np.ndarray]:
    """Indices of tasks under the same attack, `at_most` at a time; every task once."""
    for attack in np.unique(attacks):
        of_attack = np.flatnonzero(attacks == attack)
        for first in range(0, len(of_attack), at_most):
            yield of_attack[first : first + at_most]

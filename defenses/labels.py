"""The labels that a model's outputs stand for, in one place."""

from __future__ import annotations

import numpy as np

# Of an output that is not finite: it is no class, so that it is wrong whatever the true label.
NO_LABEL = -1


def labels_of(outputs: np.ndarray) -> np.ndarray:
    """The class of the largest output of each row, (n,) int64, of outputs (n, classes).

    `NO_LABEL` where an output is NaN or infinite: a model that doesn't answer is wrong.
    """
    outputs = np.asarray(outputs)
    finite = np.isfinite(outputs).all(axis=1)
    return np.where(finite, outputs.argmax(axis=1), NO_LABEL).astype(np.int64)

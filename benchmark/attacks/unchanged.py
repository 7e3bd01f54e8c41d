"""Sees to it that an attack leaves the weights of the model alone that it works on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmark import frameworks
from benchmark.estimators.estimator import Estimator
from benchmark.estimators.passes import rows_at_once

_CHANGED = "the attack changed the model's weights, so that what it found is of another model"


@contextmanager
def unchanged(estimator: Estimator, framework: str, x: np.ndarray) -> Iterator[None]:
    """Puts weights back that an attack changes meanwhile, and fails it by a `ValueError`.

    A model may change them itself whenever it is asked: one that draws them, or that follows its
    inputs' statistics. So the model is asked about some of `x`, (n, ...), with the weights that it
    had: where it changes them then, what it became is its own doing, and left as it is.
    """
    keep = frameworks.part(frameworks.WEIGHTS, framework).Kept
    before, told = keep(estimator.model), ""
    try:
        yield
    finally:
        if before.changed():
            told = _put_back(before, keep, estimator, x)
    if told:
        raise ValueError(told)


def _put_back(before: Any, keep: Callable[[Any], Any], estimator: Estimator, x: np.ndarray) -> str:
    """What to tell of the change; empty where it was the model's own."""
    after = keep(estimator.model)
    before.put_back()
    if before.changed():
        return f"{_CHANGED}; not all can be put back, and attacks that follow meet what it left"
    estimator.predict(x[: rows_at_once()])
    if before.changed():
        after.put_back()
        return ""
    return f"{_CHANGED}; they are put back for the attacks that follow"

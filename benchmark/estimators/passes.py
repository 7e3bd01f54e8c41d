"""What an attack asked of a model, counted in examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from defenses.subject import preprocessing

# Small enough for the activations of a small network to stay in the cache.
CHUNK = 250
_rows = [CHUNK]  # the last counts

# Told of every pass: the points, (n, ...), NumPy's or tensors that the estimator keeps, and the
# model's outputs for them, (n, classes), or None where the pass didn't compute them.
Observer = Callable[[Any, np.ndarray | None], None]


class NoCopyError(Exception):
    """No copy of a model can be made that was asked nothing before; says why."""


@dataclass
class Passes:
    """Forward and backward passes of single examples; `draws` of them for each one asked for."""

    forwards: int = 0
    backwards: int = 0
    draws: int = 1

    def add(self, *, forwards: int = 0, backwards: int = 0) -> None:
        """Count passes that ran."""
        self.forwards += forwards * self.draws
        self.backwards += backwards * self.draws

    def counts(self, since: Passes | None = None) -> dict[str, int]:
        """The passes, or those since an earlier copy, as a record has them."""
        before = since or Passes()
        return {
            "forwards": self.forwards - before.forwards,
            "backwards": self.backwards - before.backwards,
        }


def announce(estimator: object, rows: np.ndarray) -> None:
    """Tell an observer which of the attacked examples each point of the next query is about.

    An observer that isn't told has to guess. `rows` (m,) are places in the array under attack.
    """
    expect = getattr(getattr(estimator, "observer", None), "expect", None)
    if expect is not None:
        expect(rows)


def placed(estimator: object, x: np.ndarray) -> Any:
    """Points, (n, ...), where the model computes: tensors if the estimator keeps such, else `x`."""
    place = getattr(estimator, "placed", None)
    return x if place is None else place(x)


def outputs_of(estimator: Any, points: Any) -> np.ndarray:
    """The model's outputs for points as `placed` gives them, (n, classes)."""
    ask = estimator.predict if isinstance(points, np.ndarray) else estimator.outputs
    return np.asarray(ask(points))


def gradient_of_open(estimator: Any, x: Any, y: Any) -> Any:
    """The loss gradient at the points that an observer still wants asked about, and 0 at others.

    None where it wants all of them. Only its `open_rows`, if it has that, tells otherwise.

    Args:
        estimator: with `loss_gradient`.
        x: points, (n, ...), NumPy's or torch's.
        y: their labels.
    """
    open_rows = getattr(getattr(estimator, "observer", None), "open_rows", None)
    rows = None if open_rows is None else open_rows(len(x))
    if rows is None:
        return None
    gradient = x - x
    if len(rows):
        announce(estimator, rows)
        # Of the mean loss, which is one of all points.
        gradient[rows] = estimator.loss_gradient(x[rows], y[rows]) * (len(rows) / len(x))
    return gradient


@contextmanager
def asking(rows: int) -> Iterator[None]:
    """While entered, attacks and estimators of this process take so many examples at a time."""
    _rows.append(rows)
    try:
        yield
    finally:
        _rows.pop()


def rows_at_once() -> int:
    """How many examples these take at a time; `CHUNK` unless `asking` says otherwise."""
    return _rows[-1]


def chunks(size: int) -> list[slice]:
    """Slices that cover `size` rows, some at a time; one empty slice where there are none."""
    each = rows_at_once()
    return [slice(first, first + each) for first in range(0, max(size, 1), each)]


def is_identity(classifier: object) -> bool:
    """Whether an ART classifier has no defenses and no preprocessing of its own."""
    return not getattr(classifier, "postprocessing_defences", None) and not preprocessing(
        classifier
    )

"""What the harness and its attacks ask of a classifier, in either framework; loads none.

Inputs are NHWC or (n, d), float32 in the box; labels are classes, (n,), or one-hot rows. An
estimator may have `placed`, which gives inputs as it best takes them, such as tensors on its GPU,
and `outputs`, which is `predict` for those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from benchmark.estimators.passes import Observer, Passes
from benchmark.models.model import Model

# Logits (rows, classes) and where these rows stand among the inputs, to the gradient of a function
# with respect to these logits, of their shape.
Weights = Callable[[np.ndarray, slice], np.ndarray]

# Of class gradients: every class, one for all inputs, one for each, or, of ours, (n, k) of them.
Label = int | Sequence[int] | np.ndarray | None


class Classifier(Protocol):
    """Any of ART's classifiers that gives logits."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(H, W, C) or (d,)."""

    @property
    def nb_classes(self) -> int:
        """How many there are."""

    @property
    def clip_values(self) -> tuple[float, float] | None:
        """The box; None for none."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Logits, (n, classes)."""

    def loss_gradient(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The gradient of the mean cross-entropy with respect to `x`, of its shape."""

    def class_gradient(self, x: np.ndarray, label: Label = None) -> np.ndarray:
        """The gradients of logits with respect to `x`, (n, classes or 1, ...)."""


class Estimator(Classifier, Protocol):
    """One of this project's: it counts what it is asked for, and an observer can look on."""

    observer: Observer | None
    # Whether it answers, or is judged, by the mean of some draws: then the first point that is
    # misclassified may be so by chance, and a search goes on.
    is_random: bool
    # What is given out for logits, (n, classes), where something else is that decides; or None.
    scores: Callable[[np.ndarray], np.ndarray] | None

    @property
    def model(self) -> Model:
        """What it wraps."""

    @property
    def passes(self) -> Passes:
        """What was asked for so far."""

    def compute_loss(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The cross-entropy of each example, (n,)."""

    def logits_and_gradient(self, x: np.ndarray, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
        """Logits, and the gradient of any function of them; see `benchmark.estimators.vjp`."""


class BareEstimator(Estimator, Protocol):
    """Of a model with nothing around it."""

    def copies(self) -> Callable[[], BareEstimator]:
        """What makes estimators of the model as it is now; raises `NoCopyError`."""

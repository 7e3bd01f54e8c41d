"""A classifier of logits, as one of probabilities: what a few of ART's attacks ask for."""

from __future__ import annotations

import numpy as np
from art.estimators.classification.classifier import ClassGradientsMixin, ClassifierMixin
from art.estimators.estimator import BaseEstimator, LossGradientsMixin, NeuralNetworkMixin

from benchmark.estimators.estimator import Estimator, Label
from benchmark.estimators.vjp import softmax


class Around(
    ClassGradientsMixin, ClassifierMixin, LossGradientsMixin, NeuralNetworkMixin, BaseEstimator
):
    """An estimator around another, in either framework: trained already, and of NumPy alone.

    Args:
        inner: an estimator of `benchmark.estimators` that gives logits.
        input_shape: (H, W, C) or (d,).
        clip_values: the box; its ends may be arrays, (d,).
    """

    def __init__(
        self,
        inner: Estimator,
        input_shape: tuple[int, ...],
        clip_values: tuple[float, float] | tuple[np.ndarray, np.ndarray] = (0.0, 1.0),
    ) -> None:
        super().__init__(model=inner.model, clip_values=clip_values, channels_first=False)
        self.nb_classes = inner.nb_classes
        self.is_random, self.scores = inner.is_random, inner.scores
        self._input_shape = tuple(input_shape)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(H, W, C) or (d,)."""
        return self._input_shape

    def fit(self, *args: object, **kwargs: object) -> None:
        """Not for this: the model below is trained already."""
        raise NotImplementedError("train the estimator below")

    def get_activations(self, *args: object, **kwargs: object) -> np.ndarray:
        """Not for this: ask the estimator below."""
        raise NotImplementedError("ask the estimator below")


class Probabilities(Around):
    """The softmax of an estimator's outputs."""

    def __init__(self, inner: Estimator) -> None:
        box = inner.clip_values
        super().__init__(inner, inner.input_shape, (0.0, 1.0) if box is None else box)
        self.scores = None  # they are of logits
        self._inner = inner

    def predict(self, x: np.ndarray, batch_size: int = 128, **kwargs: object) -> np.ndarray:
        """Probabilities, (n, classes)."""
        return softmax(self._inner.predict(x))

    def loss_gradient(self, x: np.ndarray, y: np.ndarray, **kwargs: object) -> np.ndarray:
        """The gradient of the mean loss with respect to `x`, of its shape."""
        return np.asarray(self._inner.loss_gradient(x, y))

    def compute_loss(self, x: np.ndarray, y: np.ndarray, **kwargs: object) -> np.ndarray:
        """The loss of each example."""
        return np.asarray(self._inner.compute_loss(x, y, **kwargs))

    def class_gradient(self, x: np.ndarray, label: Label = None, **kwargs: object) -> np.ndarray:
        """The gradients of the probabilities, (n, classes or 1, ...).

        Args:
            x: inputs.
            label: None for all classes, or one class for all inputs, or a class for each, (n,).
        """
        if label is None:
            every = [self.class_gradient(x, label) for label in range(self.nb_classes)]
            return np.concatenate(every, axis=1)
        labels = np.broadcast_to(np.asarray(label), (len(x),))

        def weights(logits: np.ndarray, part: slice) -> np.ndarray:
            probabilities = softmax(logits)
            hot = np.eye(self.nb_classes, dtype=np.float32)[labels[part]]
            return (probabilities * hot).sum(axis=1, keepdims=True) * (hot - probabilities)

        return np.asarray(self._inner.logits_and_gradient(x, weights)[1])[:, np.newaxis]

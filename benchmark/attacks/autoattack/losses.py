"""What the attacks climb, as functions of the logits, with their gradients at the logits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np

from benchmark.attacks.arrays import Array, namespace
from benchmark.estimators.estimator import Classifier
from benchmark.estimators.vjp import logits_and_gradient, softmax
from defenses.labels import labels_of


class Loss(Protocol):
    """A function of the logits of each example; greater is nearer to misclassification."""

    @property
    def y(self) -> np.ndarray:
        """Labels, (n,)."""

    def take(self, rows: np.ndarray | slice) -> Self:
        """The same of some of the examples."""

    def values(self, logits: np.ndarray) -> np.ndarray:
        """(n,) of (n, classes)."""

    def weights(self, logits: np.ndarray) -> np.ndarray:
        """The gradient of each example's value with respect to its logits, (n, classes)."""


@dataclass(frozen=True)
class CrossEntropy:
    """-log softmax(z)[y].

    Args:
        y: labels, (n,).
    """

    y: np.ndarray

    def take(self, rows: np.ndarray | slice) -> Self:
        """The same of some of the examples."""
        return replace(self, y=self.y[rows])

    def values(self, logits: np.ndarray) -> np.ndarray:
        """(n,) of (n, classes)."""
        shifted = logits - logits.max(axis=1, keepdims=True)
        total = np.log(np.exp(shifted).sum(axis=1))
        return np.asarray(total - shifted[np.arange(len(self.y)), self.y])

    def weights(self, logits: np.ndarray) -> np.ndarray:
        """softmax(z) - onehot(y)."""
        weights = softmax(logits)
        weights[np.arange(len(self.y)), self.y] -= 1
        return weights


@dataclass(frozen=True)
class Margin:
    """The greatest other logit minus the label's.

    Args:
        y: labels, (n,).
    """

    y: np.ndarray

    def take(self, rows: np.ndarray | slice) -> Self:
        """The same of some of the examples."""
        return replace(self, y=self.y[rows])

    def values(self, logits: np.ndarray) -> np.ndarray:
        """(n,) of (n, classes)."""
        rows = np.arange(len(self.y))
        return np.asarray(logits[rows, self.rival(logits)] - logits[rows, self.y])

    def weights(self, logits: np.ndarray) -> np.ndarray:
        """onehot(greatest other) - onehot(y)."""
        weights = np.zeros_like(logits)
        rows = np.arange(len(self.y))
        weights[rows, self.rival(logits)] = 1
        weights[rows, self.y] = -1
        return weights

    def rival(self, logits: np.ndarray) -> np.ndarray:
        """The likeliest class but the label, (n,)."""
        others = logits.copy()
        others[np.arange(len(self.y)), self.y] = -np.inf
        return np.asarray(others.argmax(axis=1))


@dataclass(frozen=True)
class ProbabilityMargin(Margin):
    """The greatest other probability minus the label's (Xie et al. 2024, arXiv 2411.15210)."""

    def values(self, logits: np.ndarray) -> np.ndarray:
        """(n,) of (n, classes)."""
        return super().values(softmax(logits))

    def weights(self, logits: np.ndarray) -> np.ndarray:
        """Through the softmax p: p * (w - w.p), with w the weights of the margin."""
        weights, p = super().weights(logits), softmax(logits)
        return np.asarray(p * (weights - np.einsum("nc,nc->n", weights, p)[:, np.newaxis]))


@dataclass(frozen=True)
class Difference:
    """z[target] - z[y].

    Args:
        y: labels, (n,).
        target: other classes, (n,).
    """

    y: np.ndarray
    target: np.ndarray

    def take(self, rows: np.ndarray | slice) -> Self:
        """The same of some of the examples."""
        return replace(self, y=self.y[rows], target=self.target[rows])

    def values(self, logits: np.ndarray) -> np.ndarray:
        """(n,) of (n, classes)."""
        rows = np.arange(len(self.y))
        return np.asarray(logits[rows, self.target] - logits[rows, self.y])

    def weights(self, logits: np.ndarray) -> np.ndarray:
        """onehot(target) - onehot(y)."""
        weights = np.zeros_like(logits)
        rows = np.arange(len(self.y))
        weights[rows, self.target] += 1
        weights[rows, self.y] -= 1
        return weights


class _ScaleFree:
    """A loss divided by a difference of logits, so that no factor on all of them changes it."""

    def values(self, logits: np.ndarray) -> np.ndarray:
        """(n,) of (n, classes)."""
        return np.asarray(super().values(logits) / self._scale(logits)[0])  # type: ignore[misc]

    def weights(self, logits: np.ndarray) -> np.ndarray:
        """By the quotient rule."""
        scale, scale_weights = self._scale(logits)
        value = super().values(logits) / scale  # type: ignore[misc]
        weights = super().weights(logits) - value[:, np.newaxis] * scale_weights  # type: ignore[misc]
        return np.asarray(weights / scale[:, np.newaxis])

    def _scale(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The divisor, (n,), and its gradient, (n, classes)."""
        n, classes = logits.shape
        shares = self._shares(classes)
        weights = np.zeros_like(logits)
        if not shares:
            return np.ones(n, dtype=logits.dtype), weights
        largest = np.argsort(-logits, axis=1)[:, : len(shares)]
        np.put_along_axis(weights, largest, np.asarray(shares, dtype=logits.dtype), axis=1)
        return np.einsum("nc,nc->n", weights, logits) + 1e-12, weights

    @staticmethod
    def _shares(classes: int) -> tuple[float, ...]:
        """Of the largest logits in the divisor; none where it is 1."""
        raise NotImplementedError


@dataclass(frozen=True)
class DLR(_ScaleFree, Margin):
    """The greatest other logit minus the label's, over z(1) - z(3) (2020, eq. 6).

    With two classes, where that is not there, the divisor is 1.
    """

    @staticmethod
    def _shares(classes: int) -> tuple[float, ...]:
        return () if classes == 2 else (1, 0, -1)


@dataclass(frozen=True)
class TargetedDLR(_ScaleFree, Difference):
    """(z[target] - z[y]) / (z(1) - (z(3) + z(4)) / 2), z(k) the k-th largest (2020, eq. 10).

    The same whatever the logits are multiplied by. With three classes the divisor is z(1) - z(3);
    with two, where it would be the numerator again, it is 1.
    """

    @staticmethod
    def _shares(classes: int) -> tuple[float, ...]:
        return {2: (), 3: (1, 0, -1)}.get(classes, (1, 0, -0.5, -0.5))


def query(estimator: Classifier, x: Array, loss: Loss) -> tuple[np.ndarray, np.ndarray, Array]:
    """Logits of `x`, (n, ...), each example's loss, and its gradient, (n, d), where `x` is.

    Rows that are not finite lose nothing and point nowhere.
    """
    if isinstance(loss, CrossEntropy) and not hasattr(estimator, "logits_and_gradient"):
        logits = np.asarray(estimator.predict(x))
        hot = np.eye(logits.shape[1], dtype=np.float32)[loss.y]
        gradient = np.array(estimator.loss_gradient(x, hot))  # the caller changes it
    else:
        logits, gradient = logits_and_gradient(
            estimator, x, lambda found, rows: loss.take(rows).weights(found.astype(np.float64))
        )
    values = loss.values(logits.astype(np.float64))
    gradient = gradient.reshape(len(x), -1)
    xp = namespace(gradient)
    if not xp.isfinite(gradient).all():  # which takes a tenth of the time of what follows
        gradient = xp.nan_to_num(gradient, posinf=0, neginf=0)
    return logits, np.where(np.isfinite(values), values, -np.inf), gradient


def other_classes(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Each example's classes but its own, most likely first, (n, classes - 1)."""
    own_first = logits.astype(np.float64).copy()
    own_first[np.arange(len(y)), y] = np.inf
    return np.argsort(-own_first, axis=1, kind="stable")[:, 1:]


def fooled(estimator: Classifier | None, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which rows are given another label than `y`, or none, a logit not being finite.

    By what is given out for the logits, where the estimator has output defenses; None has none.
    """
    scores = getattr(estimator, "scores", None)
    return np.asarray(labels_of(logits if scores is None else scores(logits)) != y)


def closeness(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The greatest other logit minus the label's, (n,); -infinite where one is not finite."""
    margins = Margin(y).values(logits)
    return np.where(np.isfinite(margins), margins, -np.inf)

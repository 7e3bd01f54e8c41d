"""Heads on a model's features f(x), the input of its last layer, fitted to a support set.

    u(x)       = f(x) / |f(x)|                                           (step 1)
    centroid   c_k = mean of u over class k, w_k = c_k / |c_k|           (step 2)
    ridge      W = U^T (U U^T + p I)^-1 Y, Y in {0, 1}, one-hot          (step 2)
    logits     s u(x) W                                                  (step 3)

The centroid is that of prototypical networks (Snell et al. 2017) under cosine similarity, ridge
regression that of Bertinetto et al. 2019 ("Meta-learning with differentiable closed-form solvers",
R2-D2, eq. (6)). p and s are the penalty and the scale. U is (n, d), one row an example; n is small,
so the system is solved in its n x n form.

Both frameworks have these steps as functions of tensors, which gradients go through to the
support; here they are in NumPy, for any leading axes, as is a linear head, which gradient descent
fits to fixed features:

    linear     W, b from 0 down the mean cross-entropy of f(x) W + b, with the rates r / mean |f|^2
               and r, so that the scale of features changes no answer
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CLOSED_FORMS = ("centroid", "ridge")

# Under a root, so that features of zero have a gradient.
TINY = 1e-12
# Features above it are brought to 1 before they are squared, which would overflow in float32: the
# answers of a model that scales its features by 1e20 would have no gradient, and look robust.
LARGE = 1e15


@dataclass(frozen=True)
class Heads:
    """Heads of E episodes on the features of one body.

    Args:
        weights: (E, d, ways).
        biases: (E, ways).
        unit: whether they take unit features.
    """

    weights: np.ndarray
    biases: np.ndarray
    unit: bool

    def __len__(self) -> int:
        return len(self.weights)

    def scaled(self, scale: float) -> Heads:
        """With logits so many times as large."""
        return Heads(scale * self.weights, scale * self.biases, self.unit)

    def spread(self, scale: float, features: np.ndarray) -> Heads:
        """With logits that on these features, (E, n, d), are so far apart.

        That is, their standard deviation over the classes is `scale` in the mean of an episode's
        finite rows. Heads whose logits don't differ, or are not finite, stay as they are.
        """
        with np.errstate(all="ignore"):
            factors = spreading(scale, self.logits(features))[:, None]
        return Heads(factors[..., None] * self.weights, factors * self.biases, self.unit)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(E, n, ways) of (E, n, d)."""
        rows = unit(features) if self.unit else features
        return rows @ self.weights + self.biases[:, None]


def spreading(scale: float, logits: np.ndarray) -> np.ndarray:
    """What logits (E, n, ways) are to be multiplied by for a standard deviation of `scale`, (E,).

    That is over the classes, in the mean of an episode's finite rows; 1 where they don't differ,
    or none is finite.
    """
    with np.errstate(all="ignore"):
        apart = logits.std(axis=-1)  # (E, n)
        finite = np.isfinite(apart)
        mean = np.where(finite, apart, 0).sum(axis=-1) / finite.sum(axis=-1)
        factors = scale / mean
    return np.where(np.isfinite(factors), factors, 1.0)


def unit(features: np.ndarray) -> np.ndarray:
    """Step 1."""
    return features / np.sqrt((features**2).sum(axis=-1, keepdims=True) + TINY)


def one_hot(y: np.ndarray, ways: int) -> np.ndarray:
    """(n, ways)."""
    return np.eye(ways)[y]


def centroid(features: np.ndarray, y: np.ndarray, ways: int) -> Heads:
    """Step 2, of supports (E, n, d) with the same labels (n,) in each.

    The column of a class without examples is 0.
    """
    targets = one_hot(y, ways)
    shares = targets / np.maximum(targets.sum(axis=0), 1)
    means = shares.T @ unit(features)  # (E, ways, d)
    return _heads(np.swapaxes(unit(means), -1, -2), is_unit=True)


def ridge(features: np.ndarray, y: np.ndarray, ways: int, *, penalty: float) -> Heads:
    """Step 2, likewise."""
    rows = unit(features)
    across = np.swapaxes(rows, -1, -2)  # (E, d, n)
    kernel = rows @ across + penalty * np.eye(rows.shape[-2])
    return _heads(across @ np.linalg.solve(kernel, one_hot(y, ways)), is_unit=True)


def linear(features: np.ndarray, y: np.ndarray, ways: int, *, steps: int, rate: float) -> Heads:
    """The linear head, likewise."""
    episodes, count, width = features.shape
    weights, biases = np.zeros((episodes, width, ways)), np.zeros((episodes, ways))
    targets, across = one_hot(y, ways), np.swapaxes(features, -1, -2)
    size = rate / np.maximum((features**2).sum(axis=-1).mean(axis=-1), TINY)  # (E,)
    for _ in range(steps):
        wrong = (_softmax(features @ weights + biases[:, None]) - targets) / count
        weights -= size[:, None, None] * (across @ wrong)
        biases -= rate * wrong.sum(axis=1)
    return Heads(weights, biases, unit=False)


FIT: dict[str, Callable[..., Heads]] = {"centroid": centroid, "ridge": ridge, "linear": linear}


def of(kind: str, features: np.ndarray, y: np.ndarray, ways: int, *, penalty: float) -> Heads:
    """The closed form of that name, of one support (n, d)."""
    settings = {"penalty": penalty} if kind == "ridge" else {}
    return FIT[kind](features[None].astype(np.float64), y, ways, **settings)


def _heads(weights: np.ndarray, *, is_unit: bool) -> Heads:
    return Heads(weights, np.zeros((len(weights), weights.shape[-1])), is_unit)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    found: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return found

"""Randomised smoothing: certificates in L2, from answers to noise alone.

Cohen, Rosenfeld & Kolter, "Certified adversarial robustness via randomized smoothing", 2019. The
smoothed classifier's class of x is the one that the model gives most often for x + noise, noise of
N(0, sigma^2). Where a lower bound of that class's probability is p > 1/2, no point within
sigma * Phi^-1(p) has another class, with probability 1 - alpha. Inputs aren't clipped: the theorem
is about all of space, of which the box is a part.

The arithmetic is that of ART's `PyTorchRandomizedSmoothing` and `TensorFlowV2RandomizedSmoothing`
(tests hold them together). They aren't called themselves: they draw from NumPy's global generator,
which models and attacks draw from too, hold all noise of an example at once, count an answer that
is not finite as a class, keep no counts, and take a model without what stands around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import beta, binom, norm

from defenses.labels import NO_LABEL, labels_of

ABSTAINED = -1  # in the place of a class

_CHUNK = 2**24  # numbers of noise at a time
_STEPS, _DRAWS = 20, 8  # of the attack: steps, and noise of each
_ATTACKED = 50  # examples at a time
_STEP = 2.5  # times the radius, over all steps together

Predict = Callable[[np.ndarray], np.ndarray]
Gradient = Callable[[np.ndarray, np.ndarray], np.ndarray]


def counts(
    predict: Predict, x: np.ndarray, rng: np.random.Generator, *, sigma: float, draws: int
) -> np.ndarray:
    """How often each class is given for `x` with noise, (classes,) int64.

    An answer that is not finite counts for none.

    Args:
        predict: scores, (n, classes).
        x: one example, of any shape.
        rng: gives the same noise whatever the chunks.
    """
    found: np.ndarray | None = None
    for size in _chunks(draws, max(1, _CHUNK // max(1, x.size))):
        noise = rng.standard_normal((size, *x.shape), dtype=np.float32)
        outputs = np.asarray(predict(x + np.float32(sigma) * noise))
        labels = labels_of(outputs)
        here = np.bincount(labels[labels != NO_LABEL], minlength=outputs.shape[1])
        found = here if found is None else found + here
    assert found is not None
    return found.astype(np.int64)


def certificates(
    selection: np.ndarray, estimation: np.ndarray, *, draws: int, sigma: float, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """CERTIFY of the paper for many examples.

    Args:
        selection: counts of the n0 draws that choose each example's class, (n, classes).
        estimation: counts of the other draws, which bound that class's probability.
        draws: of each of the latter.
        alpha: how likely the bound of one example fails, at most.

    Returns:
        Classes, (n,) int64, `ABSTAINED` where nothing is certified; L2 radii, (n,) float64.
    """
    chosen = selection.argmax(axis=1)
    given = np.take_along_axis(estimation, chosen[:, None], axis=1)[:, 0]
    # The one-sided bound of Clopper & Pearson.
    low = np.where(given > 0, beta.ppf(alpha, np.maximum(given, 1), draws - given + 1), 0.0)
    certain = low > 0.5
    radius = np.where(certain, sigma * norm.ppf(np.where(certain, low, 0.5)), 0.0)
    return np.where(certain, chosen, ABSTAINED).astype(np.int64), radius


def decided(found: np.ndarray, *, alpha: float) -> np.ndarray:
    """PREDICT of the paper: the class of each row of counts (n, classes), (n,) int64.

    `ABSTAINED` where the two most frequent ones can't be told apart at level `alpha`.
    """
    second, first = np.sort(found, axis=1)[:, -2:].T
    p = np.minimum(1.0, 2 * binom.sf(first - 1, first + second, 0.5))
    return np.where(p <= alpha, found.argmax(axis=1), ABSTAINED).astype(np.int64)


def attacked(
    gradient: Gradient,
    x: np.ndarray,
    labels: np.ndarray,
    radius: np.ndarray,
    rng: np.random.Generator,
    *,
    sigma: float,
) -> np.ndarray:
    """Points where the smoothed classifier is least sure of its class, within each radius.

    Projected gradient ascent in L2 of the mean loss under noise (Salman et al., "Provably robust
    deep learning via adversarially trained smoothed classifiers", 2019).

    Args:
        gradient: of the loss with respect to inputs (n, ...), for labels (n,).
        x: (n, ...), float32.
        labels: the smoothed classifier's, (n,).
        radius: how far each may go, (n,).

    Returns:
        (n, ...), float32, not clipped to the box.
    """
    parts = [slice(first, first + _ATTACKED) for first in range(0, len(x), _ATTACKED)]
    found = [_attacked(gradient, x[p], labels[p], radius[p], rng, sigma) for p in parts]
    return np.concatenate(found) if found else x


def _attacked(
    gradient: Gradient,
    x: np.ndarray,
    labels: np.ndarray,
    radius: np.ndarray,
    rng: np.random.Generator,
    sigma: float,
) -> np.ndarray:
    flat = (len(x), -1)
    delta = np.zeros((len(x), x[0].size))
    most = radius[:, None] * (1 - 1e-6)  # for the rounding of the sum
    repeated = np.repeat(labels, _DRAWS)
    for _ in range(_STEPS):
        noise = rng.standard_normal((len(x), _DRAWS, *x.shape[1:]), dtype=np.float32)
        moved = (x + delta.reshape(x.shape))[:, None] + sigma * noise
        along = gradient(moved.reshape(-1, *x.shape[1:]).astype(np.float32), repeated)
        # One noise whose gradient isn't finite must not end the attack on its example.
        along = np.where(np.isfinite(along), along, 0.0).astype(np.float64)
        mean = along.reshape(len(x), _DRAWS, -1).mean(axis=1)
        length = np.linalg.norm(mean, axis=1, keepdims=True)
        delta += _STEP / _STEPS * most * mean / np.maximum(length, 1e-30)
        delta *= np.minimum(1.0, most / np.maximum(np.linalg.norm(delta, axis=1), 1e-30)[:, None])
    return np.asarray((x.reshape(flat) + delta).reshape(x.shape), np.float32)


def greatest(*, draws: int, sigma: float, alpha: float) -> float:
    """The radius of an example whose draws all have the same class: no other has a greater one."""
    return float(max(0.0, sigma * norm.ppf(alpha ** (1 / draws))))


def needed(
    threat_norm: str, eps: float, shape: Sequence[int], weights: np.ndarray | None = None
) -> float:
    """The least L2 radius whose ball holds that of a threat, for inputs of a shape.

    `weights`: of features whose budgets differ, (d,).
    """
    if weights is not None:
        return eps * float(np.linalg.norm(weights, 2 if threat_norm == "linf" else np.inf))
    return eps * math.sqrt(math.prod(shape)) if threat_norm == "linf" else eps


def effort(*, n0: int, draws: int) -> float:
    """Gradient evaluations, roughly, that an example takes; a forward alone is a third of one."""
    return (n0 + draws + judged(draws)) / 3 + _STEPS * _DRAWS


def judged(draws: int) -> int:
    """How many draws decide on an attacked point."""
    return min(draws, 1000)


def _chunks(whole: int, size: int) -> list[int]:
    return [min(size, whole - first) for first in range(0, whole, size)]

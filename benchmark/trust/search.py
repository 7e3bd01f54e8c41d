"""A small gradient attack of the checks' own, and random noise: NumPy, in either framework.

It ascends the difference of the largest other logit and the label's, so that it works where the
cross-entropy is too small for float32.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmark.attacks.geometry import BUDGET_TOLERANCE, lengths, onto_ball, spread
from benchmark.attacks.judging import ask
from benchmark.attacks.measure import measure
from benchmark.trust.subject import Subject

# A step, as a share of the budget, at the first and at the last iteration.
_FIRST_STEP, _LAST_STEP = 0.25, 0.02

Query = Callable[[np.ndarray], None]


def ascend(
    subject: Subject,
    rows: np.ndarray,
    *,
    eps: float,
    steps: int,
    generator: np.random.Generator,
    copies: int = 0,
) -> np.ndarray:
    """Which examples projected gradient ascent breaks within `eps`, (len(rows),) bool.

    Args:
        subject: whose estimator gives gradients, and whose pipeline judges.
        rows: of the subject's examples.
        eps: the budget under the subject's norm.
        steps: forward and backward passes, at most; an example that is broken takes no more.
        generator: of the random start, and of noise.
        copies: noisy ones of each point, whose mean gradient is followed; 0 for the point's own.
    """
    if not len(rows):
        return np.zeros(0, dtype=bool)
    x, y = subject.x[rows], subject.y[rows]
    norm, weights = subject.norm, subject.weights
    points = inside(x, x + noise(x, norm, eps, generator, weights), norm, eps, weights)
    broken = np.zeros(len(rows), dtype=bool)
    for step in range(steps):
        left = np.flatnonzero(~broken)
        if not len(left):
            break
        margin, gradient = subject.margin_gradient(points[left], y[left])
        over = left[~(margin >= 0)]  # what is no number is wrong too
        broken[over] = judged(subject, rows[over], points[over], eps)
        if copies:
            where = points[left], y[left]
            gradient = averaged_gradient(subject, *where, copies=copies, generator=generator)
        size = _FIRST_STEP * (_LAST_STEP / _FIRST_STEP) ** (step / max(1, steps - 1)) * eps
        moved = points[left] + size * direction(gradient, points[left], eps, norm, weights)
        points[left] = inside(x[left], moved, norm, eps, weights)
    left = np.flatnonzero(~broken)
    broken[left] = judged(subject, rows[left], points[left], eps)
    return broken


def averaged_gradient(
    subject: Subject,
    x: np.ndarray,
    y: np.ndarray,
    *,
    copies: int,
    generator: np.random.Generator,
    size: float = 0.5,
) -> np.ndarray:
    """The margin's gradient down, summed over copies with noise of `size` times the budget."""
    total = np.zeros(x.shape)
    for _ in range(copies):
        around = noise(x, subject.norm, subject.eps, generator, subject.weights)
        moved = np.clip(x + size * around, 0, 1)
        gradient = subject.margin_gradient(moved.astype(np.float32), y)[1]
        total += np.nan_to_num(gradient, posinf=0, neginf=0)
    return total


def judged(subject: Subject, rows: np.ndarray, points: np.ndarray, eps: float) -> np.ndarray:
    """Which points fool the pipeline within `eps`, measured as those of the suite are."""
    if not len(rows):
        return np.zeros(0, dtype=bool)
    draws = 1 if subject.clean is None else subject.clean.draws
    answers = ask(subject.pipeline, points, subject.y[rows], draws=draws)
    before = None if subject.clean is None else subject.clean.take(rows)
    return measure(
        subject.x[rows],
        points,
        answers.outputs,
        clean_prediction=subject.clean_prediction[rows],
        label=subject.y[rows],
        norm=subject.norm,
        eps=eps,
        beyond_chance=None if before is None else answers.worse_than(before),
        weights=subject.weights,
    ).success


def noise(
    x: np.ndarray,
    norm: str,
    eps: float,
    generator: np.random.Generator,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Random perturbations in the ball of `eps`: anywhere in it under linf, near its edge else."""
    if weights is not None:
        return (weights * noise(x, norm, eps, generator)).astype(np.float32)
    if norm == "linf":
        return generator.uniform(-eps, eps, x.shape).astype(np.float32)
    draws = generator.standard_normal(x.shape)
    return (eps * draws / _length(draws, norm)).astype(np.float32)


def probe_noise(subject: Subject, generator: np.random.Generator) -> np.ndarray:
    """Random perturbations of the probed examples within the subject's budgets."""
    return noise(subject.probe, subject.norm, subject.eps, generator, subject.weights)


def inside(
    x: np.ndarray, points: np.ndarray, norm: str, eps: float, weights: np.ndarray | None = None
) -> np.ndarray:
    """The points moved into the ball around `x`, then into [0, 1]; float32."""
    change = (points - x).reshape(len(x), -1).astype(np.float64)
    if weights is None:
        change = onto_ball(change, norm, eps).reshape(x.shape)
    else:
        change = weights * onto_ball(change / np.where(weights > 0, weights, 1), norm, eps)
    return np.clip(x + change / (1 + BUDGET_TOLERANCE / 10), 0, 1).astype(np.float32)


def direction(
    gradient: np.ndarray,
    points: np.ndarray,
    eps: float,
    norm: str,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """The steepest way up, of length 1 in the norm; steps under l1 as `defenses.perturbation`'s."""
    gradient = np.nan_to_num(gradient, posinf=0, neginf=0)
    if weights is not None:
        return weights * direction(weights * gradient, points, eps, norm)
    if norm == "linf":
        return np.asarray(np.sign(gradient))
    if norm == "l2":
        return np.asarray(gradient / np.maximum(_length(gradient, norm), 1e-30))
    # Entries that would leave the box are passed over.
    stuck = ((gradient > 0) & (points >= 1)) | ((gradient < 0) & (points <= 0))
    usable = np.where(stuck, 0, gradient)
    flat = np.abs(usable).reshape(len(usable), -1)
    count = min(max(1, round(eps)), flat.shape[1])
    least = spread(np.partition(flat, -count, axis=1)[:, -count], points)
    signs = np.sign(usable) * (np.abs(usable) >= np.maximum(least, 1e-30))
    return np.asarray(signs / np.maximum(_length(signs, "l1"), 1))


def _length(values: np.ndarray, norm: str) -> np.ndarray:
    """The norm of each row in float64, shaped to broadcast against `values`."""
    return spread(lengths(values.reshape(len(values), -1).astype(np.float64), norm), values)

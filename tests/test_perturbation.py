"""Projected gradient ascent in both frameworks against a NumPy reference, norm by norm."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import tensorflow as tf  # noqa: E402
import torch  # noqa: E402

import defenses.perturbation.pytorch as in_torch  # noqa: E402
import defenses.perturbation.tensorflow as in_tensorflow  # noqa: E402
from defenses.perturbation.spec import Ascent  # noqa: E402
from defenses.threat import Threat  # noqa: E402

SIZE, CLASSES, COUNT = 40, 4, 16
ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}
EPS = {"linf": 0.2, "l2": 0.9, "l1": 2.5}


def project_reference(difference, norm, eps):
    """The nearest point of the ball; for l1 by bisection of the threshold (KKT)."""
    if norm == "linf":
        return difference.clip(-eps, eps)
    length = np.linalg.norm(difference, ord=ORDERS[norm])
    if length <= eps:
        return difference
    if norm == "l2":
        return difference * eps / length
    low, high = 0.0, np.abs(difference).max()
    for _ in range(200):
        middle = (low + high) / 2
        above = np.maximum(np.abs(difference) - middle, 0).sum() > eps
        low, high = (middle, high) if above else (low, middle)
    return np.sign(difference) * np.maximum(np.abs(difference) - high, 0)


def direction_reference(gradient, x_adv, norm):
    if norm == "linf":
        return np.sign(gradient)
    if norm == "l2":
        return gradient / np.linalg.norm(gradient)
    open_ = ~(((x_adv == 1) & (gradient > 0)) | ((x_adv == 0) & (gradient < 0)))
    order = np.argsort(-np.abs(gradient) * open_, kind="stable")[: math.ceil(0.05 * SIZE)]
    direction = np.zeros_like(gradient)
    direction[order] = np.sign(gradient[order]) * open_[order]
    return direction / max(np.abs(direction).sum(), 1)


def problem(seed=0):
    generator = np.random.default_rng(seed)
    x = generator.uniform(-0.4, 1.4, (COUNT, SIZE)).clip(0, 1)
    weights = generator.normal(0, 1, (SIZE, CLASSES))
    y = generator.integers(0, CLASSES, COUNT)
    return x, y, weights


def gradient_reference(x, y, weights):
    logits = x @ weights
    error = np.exp(logits - logits.max(axis=1, keepdims=True))
    error /= error.sum(axis=1, keepdims=True)
    error[np.arange(len(y)), y] -= 1
    return error @ weights.T


def perturb_reference(x, y, weights, start, norm, eps, steps, relative_step):
    x_adv = (x + eps * start).clip(0, 1)
    for _ in range(steps):
        gradient = gradient_reference(x_adv, y, weights)
        for row in range(len(x)):
            step = direction_reference(gradient[row], x_adv[row], norm)
            moved = x_adv[row] + relative_step * eps * step
            x_adv[row] = (x[row] + project_reference(moved - x[row], norm, eps)).clip(0, 1)
    return x_adv


def perturb(framework, x, y, weights, start, norm, eps, steps, relative_step):
    ascent = Ascent(norm, steps, relative_step)
    if framework == "torch":
        matrix = torch.tensor(weights)
        arguments = [torch.tensor(value) for value in (x, y, start)]
        found = in_torch.perturb(lambda z: z @ matrix, *arguments, eps=eps, ascent=ascent)
        return found.numpy()
    matrix = tf.constant(weights)
    arguments = [tf.constant(value) for value in (x, y, start)]
    run = tf.function(in_tensorflow.perturb)
    scaled = tf.constant(eps, tf.float64)
    return run(lambda z: z @ matrix, *arguments, eps=scaled, ascent=ascent).numpy()


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize(("steps", "relative_step"), [(1, 1.25), (7, 0.4)])
@pytest.mark.parametrize("norm", ORDERS)
def test_ascent_is_that_of_the_reference(norm, steps, relative_step, framework):
    x, y, weights = problem()
    start = Threat(norm, 1).random_starts(np.random.default_rng(1), x.shape).astype(np.float64)
    settings = (norm, EPS[norm], steps, relative_step)

    found = perturb(framework, x, y, weights, start, *settings)

    assert np.abs(found - perturb_reference(x, y, weights, start, *settings)).max() < 1e-10
    distances = np.linalg.norm(found - x, ord=ORDERS[norm], axis=1)
    assert distances.max() <= EPS[norm] * (1 + 1e-9)
    assert distances.max() > 0.6 * EPS[norm]
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize(
    ("inside", "eps"), [(True, 3.0), (False, 3.0), (False, 1e-6), (False, 0.0)]
)
def test_the_l1_projection_is_exact(inside, eps, framework):
    difference = np.random.default_rng(2).normal(0, 0.03 if inside else 1, (5, 3, 4, 2))
    difference[0] = 0
    module = {"torch": in_torch, "tensorflow": in_tensorflow}[framework]
    convert = torch.tensor if framework == "torch" else tf.constant

    found = np.asarray(module._onto_l1_ball(convert(difference), eps))

    expected = [project_reference(row.reshape(-1), "l1", eps) for row in difference]
    assert np.abs(found.reshape(5, -1) - expected).max() < 1e-12
    assert np.array_equal(found[0], difference[0])
    assert np.array_equal(found, difference) is inside


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_an_l1_step_passes_over_pixels_at_the_edge(framework):
    gradient = np.zeros((1, SIZE))
    gradient[0, :4] = [9.0, -8.0, 7.0, -6.0]
    x_adv = np.full((1, SIZE), 0.5)
    x_adv[0, :2] = [1.0, 0.0]  # both can only move outwards
    module = {"torch": in_torch, "tensorflow": in_tensorflow}[framework]
    convert = torch.tensor if framework == "torch" else tf.constant

    found = np.asarray(module._direction(convert(gradient), convert(x_adv), "l1"))

    assert found[0, :5].tolist() == [0, 0, 0.5, -0.5, 0]

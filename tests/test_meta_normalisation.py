"""Normalisation in meta-training: whose statistics run, and which derivatives are right."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402

import defenses  # noqa: E402
from defenses.meta.chunk.pytorch import Chunk  # noqa: E402
from defenses.subject import recognise  # noqa: E402

INPUTS, CLASSES, TASKS, SHOTS, QUERIES = 5, 3, 3, 6, 4
SETTINGS = {"tasks": TASKS, "support": SHOTS, "query": QUERIES, "inner_steps": 2}
SETTINGS |= {"inner_rate": 0.5, "query_attack_steps": 2}


def build(framework):
    """Normalisation, dense, normalisation, dense, in float64."""
    if framework == "torch":
        torch.manual_seed(0)
        hidden = [torch.nn.Linear(INPUTS, 4), torch.nn.BatchNorm1d(4), torch.nn.Tanh()]
        return torch.nn.Sequential(
            torch.nn.BatchNorm1d(INPUTS), *hidden, torch.nn.Linear(4, CLASSES)
        ).double()
    keras.utils.set_random_seed(0)
    normalisation = functools.partial(
        keras.layers.BatchNormalization, momentum=0.9, dtype="float64"
    )
    layers = [keras.Input((INPUTS,), dtype="float64"), normalisation()]
    layers += [keras.layers.Dense(4, dtype="float64"), normalisation()]
    layers += [keras.layers.Activation("tanh", dtype="float64")]
    return keras.Sequential([*layers, keras.layers.Dense(CLASSES, dtype="float64")])


def kernel_of(framework, settings):
    defense = defenses.create("meta-adv", defenses.Threat("linf", 0.1), {**SETTINGS, **settings})
    return defense.kernel(recognise(build(framework)))


def batch(seed=0):
    generator = np.random.default_rng(seed)
    count = TASKS * (SHOTS + QUERIES)
    return generator.random((count, INPUTS), np.float32), generator.integers(0, CLASSES, count)


def running(kernel):
    """Mean and variance of the first layer, which sees the inputs themselves."""
    if isinstance(kernel.model, torch.nn.Module):
        first = kernel.model[0]
        return first.running_mean.numpy().copy(), first.running_var.numpy().copy()
    first = kernel.model.layers[0]
    return np.array(first.moving_mean), np.array(first.moving_variance)


RUNNING = {
    "torch, maml": ("torch", {"chunk": 1}),
    "torch, maml in chunks": ("torch", {"chunk": 2}),
    "torch, fomaml": ("torch", {"algorithm": "fomaml", "chunk": 3}),
    "torch, crossed": ("torch", {"inner_loss": "crossed"}),
    "tensorflow, fomaml": ("tensorflow", {"algorithm": "fomaml"}),
    "tensorflow, anil": ("tensorflow", {"algorithm": "anil"}),
    "tensorflow, reptile": ("tensorflow", {"algorithm": "reptile"}),
}


@pytest.mark.parametrize("case", RUNNING)
def test_running_statistics_are_those_of_the_initialisation_on_its_supports(case):
    framework, settings = RUNNING[case]
    kernel = kernel_of(framework, settings)
    expected = [np.zeros(INPUTS), np.ones(INPUTS)]
    generator = np.random.default_rng(1)
    for seed in range(2):
        draws = kernel.defense.draw(generator, *batch(seed))
        # A budget of zero, so that the supports are known.
        kernel.step(draws, learning_rate=0.1, eps=0.0)
        supports = draws["x"][:, : kernel.defense.inner_examples].astype(float)
        unbiased = 1 if framework == "torch" else 0
        of_batch = (supports.mean(axis=1), supports.var(axis=1, ddof=unbiased))
        expected = [
            0.9 * r + 0.1 * new.mean(axis=0) for r, new in zip(expected, of_batch, strict=True)
        ]

    for found, wanted in zip(running(kernel), expected, strict=True):
        assert np.abs(found - wanted).max() < 1e-7
    if framework == "torch":
        assert kernel.model[0].num_batches_tracked == 2


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_statistics_behind_weights_are_those_before_the_first_inner_step(framework):
    """Behind a layer that the inner steps move, each of their passes has others."""
    kernel = kernel_of(framework, {"algorithm": "fomaml", "tasks": 1})
    generator = np.random.default_rng(3)
    x, y = generator.random((SHOTS, INPUTS)), np.arange(SHOTS) % CLASSES
    if framework == "torch":
        weight, epsilon = kernel.model[1].weight.detach().numpy().T, kernel.model[0].eps
        buffers = kernel.inner.adapt(torch.tensor(x)[None], torch.tensor(y)[None]).buffers
        found = buffers["2.running_var"][0].detach().numpy()
    else:
        first, dense, second = kernel.model.layers[:3]
        weight, epsilon = np.array(dense.kernel), first.epsilon
        with tf.GradientTape() as outer:
            buffers = kernel.inner.adapt(tf.constant(x), tf.constant(y), outer).buffers
        names = [variable.path for variable in kernel.model.non_trainable_variables]
        found = np.array(buffers[names.index(second.moving_variance.path)])
    hidden = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + epsilon) @ weight
    variance = hidden.var(axis=0, ddof=1 if framework == "torch" else 0)
    assert np.abs(found - (0.9 + 0.1 * variance)).max() < 1e-12


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_derivatives_through_normalisation_are_those_of_finite_differences(framework):
    """In torch of second order; in Keras of "anil", whose inner gradient ends before it."""
    kernel = kernel_of(framework, {"algorithm": "maml" if framework == "torch" else "anil"})
    generator = np.random.default_rng(2)
    x = generator.random((SHOTS + QUERIES, INPUTS))
    y = generator.integers(0, CLASSES, SHOTS + QUERIES)
    run = functools.partial(loss_and_gradient, kernel, x, y)
    if framework == "tensorflow":
        run = tf.function(run)
    _, gradient = run()
    gradient = [np.array(value) for value in gradient]

    largest = max(np.abs(value).max() for value in gradient)
    for index, parameter in enumerate(kernel.parameters):
        values = np.array(parameter.detach() if framework == "torch" else parameter)
        for position in list(np.ndindex(values.shape))[:6]:
            losses = []
            for sign in (1, -1):
                moved = values.copy()
                moved[position] += sign * 1e-5
                assign(parameter, moved)
                losses.append(float(run()[0]))
            assign(parameter, values)
            expected = (losses[0] - losses[1]) / 2e-5
            assert gradient[index][position] == pytest.approx(expected, abs=1e-7 * largest)


def loss_and_gradient(kernel, x, y):
    """Of one task whose examples no attack moves."""
    attack = kernel.defense.task_distribution.attacks[0]
    start = np.zeros_like(x)
    if isinstance(kernel.model, torch.nn.Module):
        tensors = (torch.tensor(value)[None] for value in (x, y, x[:SHOTS], start))
        chunk = Chunk(*tensors, None, torch.zeros(1, dtype=torch.float64), 0)
        found = kernel.meta_gradient(chunk, np.eye(2)[-1])
        return found.loss, found.parts[0]
    arrays = (np.eye(2)[-1], x, y, x[:SHOTS], start, np.zeros(QUERIES), np.zeros(()))
    loss, *rest = kernel.meta_gradient(attack, *(tf.constant(value) for value in arrays))
    return loss, rest[: len(kernel.parameters)]


def assign(parameter, values):
    if isinstance(parameter, torch.Tensor):
        with torch.no_grad():
            parameter.copy_(torch.tensor(values))
    else:
        parameter.assign(values)


def test_a_trained_model_with_normalisation_adapts_and_predicts():
    x, y = batch()
    defense = defenses.create("meta-adv", defenses.Threat("linf", 0.1), SETTINGS)
    fitted = defense.fit(build("torch"), x, y, epochs=2)
    before = fitted.predict(x)
    adapted = fitted.adapt(x, y, steps=2)
    assert np.isfinite(adapted.predict(x)).all()
    assert np.array_equal(fitted.predict(x), before)

"""The generators that are learned beside a model: their gradients and updates, held to references.

Finite differences in float64 on a small smooth network; a first-order result fails them.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402

import defenses  # noqa: E402
import defenses.losses.pytorch as losses_in_torch  # noqa: E402
import defenses.losses.tensorflow as losses_in_tensorflow  # noqa: E402
from defenses.subject import recognise  # noqa: E402

FRAMEWORKS = ("torch", "tensorflow")
INPUTS, HIDDEN, CLASSES, EPS = 12, 10, 4, 0.1


def build(framework):
    generator = np.random.default_rng(5)
    shapes = [(INPUTS, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,)]
    arrays = [generator.normal(0, 0.7, shape) for shape in shapes]
    if framework == "torch":
        layers = [torch.nn.Linear(INPUTS, HIDDEN), torch.nn.Tanh()]
        model = torch.nn.Sequential(*layers, torch.nn.Linear(HIDDEN, CLASSES)).double()
        with torch.no_grad():
            for parameter, array in zip(model.parameters(), arrays, strict=True):
                parameter.copy_(torch.tensor(array.T))
        return model
    layers = [
        keras.Input((INPUTS,), dtype="float64"),
        keras.layers.Dense(HIDDEN, activation="tanh", dtype="float64"),
        keras.layers.Dense(CLASSES, dtype="float64"),
    ]
    model = keras.Sequential(layers)
    model.set_weights(arrays)
    return model


def made(name, framework, **parameters):
    defense = defenses.create(name, defenses.Threat("linf", EPS), parameters)
    return defense, defense.kernel(recognise(build(framework)))


def batch(count=6, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.uniform(0.2, 0.8, (count, INPUTS))
    return x, generator.integers(0, CLASSES, count), generator.standard_normal(x.shape)


def array(value):
    return value.detach().numpy().copy() if isinstance(value, torch.Tensor) else np.array(value)


def assign(weight, value):
    if isinstance(weight, torch.Tensor):
        with torch.no_grad():
            weight.copy_(torch.from_numpy(value))
    else:
        weight.assign(value)


def finite_differences(weights, loss, places, *, step=1e-5):
    """The slope of `loss()` along single entries, {weight: entries}, by central differences."""
    slopes = {}
    for index, entries in places.items():
        before = array(weights[index])
        for entry in entries:
            values = []
            for move in (step, -step):
                moved = before.copy()
                moved.flat[entry] += move
                assign(weights[index], moved)
                values.append(loss())
            assign(weights[index], before)
            slopes[index, entry] = (values[0] - values[1]) / (2 * step)
    return slopes


class TestNoise:
    """MNG-AC's look-ahead."""

    RATE = 0.5
    PLACES = {0: (0, 7, 50), 1: (1,), 2: (3, 20), 3: (0, 5)}

    def look_ahead(self, framework, norm, rate=RATE):
        """The kernel's gradient, and the same loss as a function of the generator's weights."""
        _, kernel = made("mng-ac", framework, eps_l2=0.3, eps_l1=0.6, lookahead_rate=rate, width=4)
        generator = kernel.prepared((INPUTS,))
        x, y, z = batch()
        x_adv = kernel.images(x + EPS * np.sign(z))
        given = [kernel.images(x), kernel.labels(y), x_adv, kernel.images(z)]
        eps = EPS if framework == "torch" else kernel.scalar(EPS)
        gradient = [array(g) for g in kernel.noise_gradient(*given, norm=norm, eps=eps)]
        start = kernel.weights()

        def loss():
            """Train on the noisy examples in plain steps, then look at the attacked ones."""
            x_aug = array(kernel.augmented(given[0], given[3], norm=norm, eps=eps))
            kernel.descend(x_aug, y, steps=1, rate=rate)
            logits = kernel.predict(array(x_adv))
            kernel.load_weights(start)
            shifted = logits - logits.max(axis=1, keepdims=True)
            log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
            return -log_p[np.arange(len(y)), y].mean()

        return gradient, finite_differences(generator.weights, loss, self.PLACES)

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    @pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
    def test_its_gradient_is_that_of_finite_differences(self, norm, framework):
        gradient, slopes = self.look_ahead(framework, norm)
        assert max(map(abs, slopes.values())) > 1e-4
        for (index, entry), slope in slopes.items():
            assert gradient[index].flat[entry] == pytest.approx(slope, rel=1e-4, abs=1e-8)

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    def test_noise_stays_in_ball_and_box(self, framework):
        _, kernel = made("mng-ac", framework, eps_l2=0.3, eps_l1=0.6)
        kernel.prepared((INPUTS,))
        x, _, z = batch()
        x[:, :3] = [0, 1, 0.01]
        for norm, order, eps in (("linf", np.inf, 0.1), ("l2", 2, 0.3), ("l1", 1, 0.6)):
            scaled = eps if framework == "torch" else kernel.scalar(eps)
            x_aug = array(
                kernel.augmented(kernel.images(x), kernel.images(9 * z), norm=norm, eps=scaled)
            )
            assert np.linalg.norm(x_aug - x, ord=order, axis=1).max() <= eps * (1 + 1e-9)
            assert x_aug.min() >= 0
            assert x_aug.max() <= 1
            assert np.abs(x_aug - x).max() > 1e-3

    @pytest.mark.parametrize(("number", "norm"), [(0.0, "linf"), (0.34, "l2"), (0.999, "l1")])
    def test_the_norm_is_drawn_evenly(self, number, norm):
        threat = defenses.Threat("linf", EPS)
        defense = defenses.create("mng-ac", threat, {"eps_l2": 0.3, "eps_l1": 0.6})
        assert defense.norm_of(number) == norm


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_jensen_shannon_in_closed_form(framework):
    logits = [np.log([[0.5, 0.5]]), np.log([[1.0, 1e-300]]), np.log([[0.5, 0.5]])]
    # m = (2/3, 1/3): two thirds of KL((1/2, 1/2) || m), and a third of KL((1, 0) || m)
    half = 0.5 * np.log(0.5 / (2 / 3)) + 0.5 * np.log(0.5 / (1 / 3))
    expected = (2 * half + np.log(1.5)) / 3
    if framework == "torch":
        found = losses_in_torch.jensen_shannon([torch.from_numpy(one) for one in logits])
    else:
        found = losses_in_tensorflow.jensen_shannon([tf.constant(one) for one in logits])
    assert float(found[0]) == pytest.approx(expected)

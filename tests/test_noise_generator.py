"""The generator of noise of MNG-AC: its look-ahead held to finite differences, and its noise."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402
from small_generators import (  # noqa: E402
    EPS,
    FRAMEWORKS,
    INPUTS,
    PLACES,
    array,
    batch,
    finite_differences,
    made,
)

import defenses  # noqa: E402
import defenses.losses.pytorch as losses_in_torch  # noqa: E402
import defenses.losses.tensorflow as losses_in_tensorflow  # noqa: E402
from defenses.subject import recognise  # noqa: E402


class TestNoise:
    """MNG-AC's look-ahead."""

    def look_ahead(self, framework, norm, rate=0.5, **settings):
        """The kernel's gradient, and the same loss as a function of the generator's weights."""
        _, kernel = made("mng-ac", framework, eps_l2=0.3, eps_l1=0.6, lookahead_rate=rate, width=4)
        kernel.generator.fit_to((INPUTS,))
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

        return gradient, finite_differences(kernel.generator.weights, loss, PLACES)

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    @pytest.mark.parametrize(
        ("norm", "normalised"), [("linf", False), ("l2", False), ("l1", False), ("l2", True)]
    )
    def test_its_gradient_is_that_of_finite_differences(self, norm, normalised, framework):
        gradient, slopes = self.look_ahead(framework, norm, normalised=normalised)
        assert max(map(abs, slopes.values())) > 1e-4
        for (index, entry), slope in slopes.items():
            assert gradient[index].flat[entry] == pytest.approx(slope, rel=1e-4, abs=1e-8)

    @pytest.mark.parametrize(
        ("name", "settings"),
        [
            ("mng-ac", {"eps_l2": 0.3}),
            ("meta-gen", {"generator": "network", "algorithm": "maml"}),
        ],
        ids=["mng-ac", "meta-gen"],
    )
    def test_wrong_second_derivatives_are_refused(self, name, settings):
        layers = [keras.Input((6, 6, 2)), keras.layers.GroupNormalization(2)]
        model = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(3)])
        defense = defenses.create(name, defenses.Threat("linf", EPS), settings)
        with pytest.raises(defenses.DefenseError, match="second derivatives are wrong in Keras"):
            defense.kernel(recognise(model))

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    def test_noise_stays_in_ball_and_box(self, framework):
        _, kernel = made("mng-ac", framework, eps_l2=0.3, eps_l1=0.6)
        kernel.generator.fit_to((INPUTS,))
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

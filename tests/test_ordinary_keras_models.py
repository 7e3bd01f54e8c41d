"""Keras models as people bring them: each trains, or one line says what does."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from ordinary_models import META_GEN, SETTINGS, THREAT, data, fit, sequential  # noqa: E402

import defenses  # noqa: E402


class Subclass(keras.Model):
    """Flatten and dense, with a layer that is never called."""

    def __init__(self):
        super().__init__()
        self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(3)
        self.unused = keras.layers.Dense(2)
        self.unused.build((None, 5))

    def call(self, x):
        return self.dense(self.flatten(x))


def under_logits():
    inputs = keras.Input((6, 6, 1))
    flat = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, {"logits": keras.layers.Dense(3)(flat)})


def mixed(policy):
    return lambda: keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Flatten(dtype=policy),
            keras.layers.Dense(3, dtype=policy),
        ]
    )


KERAS = {
    "unbuilt": lambda: sequential(shape=None),
    "unbuilt subclass, unused layer": Subclass,
    "mixed_float16": mixed("mixed_float16"),
    "mixed_bfloat16": mixed("mixed_bfloat16"),
    "float64": lambda: sequential("float64"),
    "under logits": under_logits,
    "regularised": lambda: sequential(kernel_regularizer="l2", bias_regularizer="l1"),
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("case", KERAS)
def test_a_keras_model_trains_and_adapts(case, name):
    x, y = data()
    fitted = fit(name, KERAS[case](), x, y, **(META_GEN if name == "meta-gen" else {}))
    outputs = fitted.predict(x)
    assert outputs.shape == (len(x), 3)
    assert outputs.dtype == (np.float64 if case == "float64" else np.float32)
    assert np.isfinite(outputs).all()
    adapted = fitted.adapt(x[:9], y[:9], rate=0.5)
    assert np.array_equal(fitted.predict(x), outputs)
    assert np.abs(adapted.predict(x) - outputs).max() > 1e-3


class Needs(Subclass):
    def __init__(self, work):
        super().__init__()
        self.work = work


def frozen_keras():
    model = sequential()
    model.trainable = False
    return model


class GivesShares(Subclass):
    def call(self, x):
        return tf.nn.softmax(super().call(x))


KERAS_REFUSED = {
    "frozen": (frozen_keras, "no weight of the model is trainable"),
    "float16": (lambda: sequential("float16"), "float16, whose updates underflow; .*mixed_float16"),
    "activity": (lambda: sequential(activity_regularizer="l2"), "has an activity_regularizer"),
    "softmax subclass": (GivesShares, "gives probabilities"),
}


@pytest.mark.parametrize(("build", "message"), KERAS_REFUSED.values(), ids=KERAS_REFUSED)
def test_a_keras_model_is_refused_in_one_line(build, message):
    with pytest.raises(defenses.DefenseError, match=message) as caught:
        fit("pgd-at", build(), *data())
    assert "\n" not in str(caught.value)


def test_a_model_that_keras_can_not_make_again_is_not_adapted():
    x, y = data()
    fitted = fit("none", Needs(lambda x: x), x, y)
    with pytest.raises(defenses.DefenseError, match="can't make Needs again; give the class get_c"):
        fitted.adapt(x[:9], y[:9])


@pytest.mark.parametrize("name", SETTINGS)
def test_a_keras_constraint_holds_after_training_as_after_keras_s_own(name):
    x, y = data()
    model = sequential(kernel_constraint=keras.constraints.MaxNorm(0.5, axis=0))
    fitted = fit(name, model, x, y)
    adapted = fitted.adapt(x[:9], y[:9], steps=20, rate=0.5)
    for one in (model, adapted.model):
        assert 0.4 < np.linalg.norm(one.get_weights()[0], axis=0).max() < 0.5001


@pytest.mark.parametrize("name", ["none", "pgd-at", "trades", "awp", "free-at", "meta-adv"])
def test_a_keras_penalty_is_part_of_the_loss(name):
    """`l2` adds 0.01 w^2: in plain gradient descent, a step more by 0.02 w and nothing else."""
    x, y = data()
    strength, settings = 0.01, {"optimizer": "sgd", "learning_rate": 0.5, "schedule": "constant"}
    if name == "free-at":
        settings["replays"] = 1
    if name == "awp":
        settings["gamma"] = 0.0
    moved = []
    for regularizer in (None, keras.regularizers.L2(strength)):
        keras.utils.set_random_seed(0)
        model = sequential(kernel_regularizer=regularizer)
        before = model.get_weights()[0]
        defense = defenses.create(name, THREAT, {**SETTINGS[name], **settings})
        defense.fit(model, x, y, budget_ge=int(defense.step_cost().gradient_evaluations) + 1)
        moved.append(model.get_weights()[0])
    if name == "meta-adv":  # through the inner step as well, which has the penalty too
        rate = 0.05
        assert np.abs(moved[1] - moved[0]).max() > 0.4 * 2 * strength * np.abs(before).max()
        assert np.abs(moved[1] - moved[0]).max() < 0.5 * 2 * strength * (1 + rate)
        return
    assert np.allclose(moved[1] - moved[0], -0.5 * 2 * strength * before, atol=1e-5)

"""Models that give one sigmoid a class are attacked through what stands before it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

from benchmark.attacks.running import run_attack  # noqa: E402
from benchmark.attacks.suites import AttackSpec  # noqa: E402
from benchmark.attacks.target import Target  # noqa: E402
from benchmark.errors import ModelError  # noqa: E402
from benchmark.estimators import pytorch, tensorflow  # noqa: E402
from benchmark.external import pytorch as given_torch  # noqa: E402
from benchmark.external import tensorflow as given_keras  # noqa: E402
from benchmark.external import trial as trials  # noqa: E402
from benchmark.external.model import ExternalModel  # noqa: E402

SHAPE, CLASSES = (6, 6, 1), 10
G = np.random.default_rng(3)
KERNEL = G.normal(0, 2, (36, CLASSES)).astype(np.float32)
X = G.random((60, *SHAPE), dtype=np.float32)
SATURATED = 8  # what logits are multiplied by: most sigmoids are 0 or 1 in float32 then


class Net(nn.Module):
    def __init__(self, after=lambda z: z):
        super().__init__()
        self.after = after

    def forward(self, x):
        return self.after(SATURATED * x.flatten(1) @ torch.from_numpy(KERNEL))


class KerasNet(keras.Model):
    def __init__(self, after=lambda z: z):
        super().__init__()
        self.after = after

    def call(self, x, training=False):
        return self.after(SATURATED * tf.reshape(x, (-1, 36)) @ tf.constant(KERNEL))


def outputs(model, kind):
    """What attacks see of a given model."""
    given = ExternalModel("theirs", outputs=kind)
    if isinstance(model, nn.Module):
        adapted = given_torch.adapted(model, given, input_shape=SHAPE, device="cpu")
        return pytorch.wrap(adapted, input_shape=SHAPE, classes=CLASSES, device="cpu")
    adapted = given_keras.adapted(model, given, input_shape=SHAPE, device="cpu")
    return tensorflow.wrap(adapted, input_shape=SHAPE, classes=CLASSES, device="cpu")


ENDS = {
    "torch.sigmoid": Net(torch.sigmoid),
    "nn.Sigmoid": Net(nn.Sigmoid()),
    "method": Net(lambda z: z.sigmoid()),
    "functional": Net(nn.functional.sigmoid),
    "Keras's": KerasNet(keras.activations.sigmoid),
    "Keras's layer": KerasNet(keras.layers.Activation("sigmoid")),
    "tf.sigmoid": KerasNet(tf.sigmoid),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_logits_below_a_saturated_sigmoid_are_seen(end):
    model = ENDS[end]
    found = outputs(model, "sigmoids")
    plain = outputs(type(model)(), "logits")
    assert np.array_equal(found.predict(X), plain.predict(X))
    y = np.arange(len(X)) % CLASSES
    assert np.array_equal(found.loss_gradient(X, y), plain.loss_gradient(X, y))
    assert np.abs(found.loss_gradient(X, y)).max() > 0


@pytest.mark.parametrize(
    "model",
    [Net(lambda z: torch.sigmoid(z / 20) * 1), KerasNet(lambda z: tf.sigmoid(z / 20) * 1)],
    ids=["torch", "tensorflow"],
)
def test_sigmoids_that_are_hidden_are_inverted(model):
    plain = outputs(type(model)(), "logits").predict(X) / 20
    seen = np.abs(plain) < 8  # beyond, float32 rounds
    assert seen.mean() > 0.5
    assert np.allclose(outputs(model, "sigmoids").predict(X)[seen], plain[seen], atol=1e-2)


@pytest.mark.parametrize("end", ["torch.sigmoid", "Keras's"])
def test_the_same_classifier_shows_the_same_robustness(end):
    success = []
    for model, kind in ((ENDS[end], "sigmoids"), (type(ENDS[end])(), "logits")):
        estimator = outputs(model, kind)
        y = estimator.predict(X).argmax(axis=1)
        target = Target(estimator, X, y, y, np.arange(len(X)))
        spec = AttackSpec("apgd", "apgd-targeted", {"max_iter": 10})
        _, arrays = run_attack(spec, target, key="k", norm="linf", eps=0.1, seed=0)
        success.append(arrays["success"])
    assert np.array_equal(*success)
    assert success[0].mean() > 0.2


KINDS = {
    "logits": [[-1.0, 2.0], [0.5, 0.1]],
    "probabilities": [[0.25, 0.75], [1.0, 0.0]],
    "sigmoids": [[0.9, 0.8], [0.01, 0.99]],
}


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_told_apart(kind):
    assert trials.kind_of(np.array(KINDS[kind])) == kind


@pytest.mark.parametrize(
    ("given", "chosen"), [("auto", "sigmoids"), ("logits", "logits"), ("sigmoids", "sigmoids")]
)
def test_sigmoids_are_told_and_chosen(given, chosen):
    trial = trials.Trial(
        ExternalModel("theirs", model="a:b", outputs=given), X, np.zeros(60, int), 10
    )
    assert trials._chosen(trial.external, "sigmoids") == chosen
    told = " ".join(trials._notices(trial, "sigmoids", 1.0))
    assert ("the model gives sigmoids" in told) == (given != "sigmoids")


@pytest.mark.parametrize(
    ("given", "found"), [("probabilities", "sigmoids"), ("sigmoids", "logits")]
)
def test_outputs_of_another_kind_are_refused(given, found):
    with pytest.raises(ModelError, match=f"--outputs {given}: .*--outputs {found}"):
        trials._chosen(ExternalModel("theirs", model="a:b", outputs=given), found)

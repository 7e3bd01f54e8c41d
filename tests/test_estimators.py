"""Our estimators against ART's own: the same numbers, counted passes, fewer surprises."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import frameworks, models

frameworks.import_torch_first()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402
from art.estimators.classification import PyTorchClassifier, TensorFlowV2Classifier  # noqa: E402

import benchmark.estimators.pytorch as on_torch  # noqa: E402
import benchmark.estimators.tensorflow as on_tensorflow  # noqa: E402
import benchmark.models.pytorch as in_torch  # noqa: E402
import benchmark.models.tensorflow as in_tensorflow  # noqa: E402
from benchmark.estimators.vjp import logits_and_gradient  # noqa: E402

SHAPE, CLASSES = (9, 9, 2), 4


def pair(framework, **settings):
    """(ours, ART's own) around one model."""
    specification = models.specification("cnn", SHAPE, CLASSES)
    weights = specification.initial_weights(0)
    common = {"nb_classes": CLASSES, "input_shape": SHAPE, "clip_values": (0.0, 1.0)} | settings
    if framework == "torch":
        model = on_torch.ChannelsLast(in_torch.build(specification, weights))
        common |= {"model": model, "channels_first": False, "device_type": "cpu"}
        common.setdefault("loss", torch.nn.CrossEntropyLoss())
        return on_torch.FastPyTorchClassifier(**common), PyTorchClassifier(**common)
    common["model"] = in_tensorflow.build(specification, weights)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    common.setdefault("loss_object", loss)
    return on_tensorflow.FastTensorFlowV2Classifier(**common), TensorFlowV2Classifier(**common)


def data(count):
    generator = np.random.default_rng(0)
    x = generator.random((count, *SHAPE), dtype=np.float32)
    return x, np.eye(CLASSES, dtype=np.float32)[generator.integers(0, CLASSES, count)]


CASES = {
    "plain": {},
    "with preprocessing": {"preprocessing": (0.5, 0.5)},
}


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize("count", [1, 251], ids=["one", "two chunks"])
def test_agrees_with_art(framework, count, settings):
    ours, theirs = pair(framework, **settings)
    x, y = data(count)
    assert np.allclose(ours.predict(x), theirs.predict(x), atol=1e-6)
    gradient = theirs.loss_gradient(x, y)
    assert np.allclose(ours.loss_gradient(x, y), gradient, atol=1e-5 * np.abs(gradient).max())
    # ART's TensorFlow losses name a Keras 2 reduction; its mean and sum are those of ours.
    if framework == "torch":
        for reduction in ("none", "mean", "sum"):
            found = ours.compute_loss(x, y, reduction=reduction)
            assert np.allclose(found, theirs.compute_loss(x, y, reduction=reduction), rtol=1e-5)


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_tensors_give_tensors(framework):
    ours, _ = pair(framework)
    x, y = data(5)
    expected = ours.loss_gradient(x, y)
    convert = torch.tensor if framework == "torch" else tf.constant
    gradient = ours.loss_gradient(convert(x), convert(y))
    assert type(gradient) is type(convert(x))
    assert np.allclose(gradient.numpy(), expected)


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_float64_is_taken_and_labels_may_be_indices(framework):
    ours, _ = pair(framework)
    x, y = data(5)
    assert np.array_equal(ours.predict(x.astype(np.float64)), ours.predict(x))
    expected = ours.loss_gradient(x, y)
    assert np.array_equal(ours.loss_gradient(x.astype(np.float64), y.argmax(axis=1)), expected)


LABELS = {
    "all classes": lambda count: None,
    "one class": lambda count: 2,
    "a class each, as an array": lambda count: np.arange(count) % CLASSES,
    "a class each, as a list": lambda count: [i % CLASSES for i in range(count)],
}


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_class_gradients_agree_with_art(framework, labels, settings):
    ours, theirs = pair(framework, **settings)
    x, _ = data(251)
    label = labels(len(x))
    expected = theirs.class_gradient(x, label)
    found = ours.class_gradient(x, label)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    backwards = len(x) * (CLASSES if label is None else 1)
    assert (ours.passes.forwards, ours.passes.backwards) == (len(x), backwards)


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_class_gradients_of_many_classes(framework, monkeypatch):
    ours, theirs = pair(framework)
    monkeypatch.setattr(on_tensorflow, "UNROLLED_CLASSES", CLASSES - 1)
    x, _ = data(3)
    assert np.allclose(ours.class_gradient(x), theirs.class_gradient(x), atol=1e-6)


@pytest.mark.parametrize("label", [CLASSES, [0, 1]], ids=["no such class", "too few"])
def test_class_gradients_refuse_other_labels(label):
    ours, _ = pair("torch")
    with pytest.raises(ValueError, match="out of range"):
        ours.class_gradient(data(3)[0], label)


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_the_gradient_of_a_function_of_the_logits(framework, settings):
    ours, theirs = pair(framework, **settings)
    x, y = data(251)
    halves = y / 2 - 1 / CLASSES  # the weights of a linear function
    logits, gradient = logits_and_gradient(ours, x, lambda logits, rows: halves[rows])
    assert np.allclose(logits, theirs.predict(x), atol=1e-6)
    expected = np.einsum("nc,nc...->n...", halves, theirs.class_gradient(x))
    assert np.allclose(gradient, expected, atol=1e-5 * np.abs(expected).max())
    assert np.allclose(
        logits_and_gradient(theirs, x, lambda logits, rows: halves[rows])[1], gradient, atol=1e-6
    )


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_passes_are_counted_in_examples(framework):
    ours, _ = pair(framework)
    x, y = data(7)
    ours.predict(x)
    ours.loss_gradient(x[:3], y[:3])
    ours.compute_loss(x[:2], y[:2])
    assert (ours.passes.forwards, ours.passes.backwards) == (7 + 3 + 2, 3)


def test_the_weights_can_be_trained_afterwards():
    ours, _ = pair("torch")
    x, y = data(3)
    ours.loss_gradient(x, y)
    ours.predict(x)
    assert all(parameter.requires_grad for parameter in ours.model.parameters())


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_a_loss_of_ones_own_is_left_to_art(framework):
    if framework == "torch":
        settings = {"loss": torch.nn.CrossEntropyLoss(label_smoothing=0.3)}
    else:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.3)
        settings = {"loss_object": loss}
    ours, theirs = pair(framework, **settings)
    x, y = data(4)
    gradient = theirs.loss_gradient(x, y)
    assert np.allclose(ours.loss_gradient(x, y), gradient, atol=1e-6)
    plain, _ = pair(framework)
    assert not np.allclose(plain.loss_gradient(x, y), gradient, atol=1e-5)


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize("query", ["predict", "loss_gradient", "compute_loss", "class_gradient"])
def test_an_observer_is_told_of_every_point(framework, query, settings):
    if framework == "tensorflow" and query == "compute_loss" and settings:
        pytest.skip("ART's own loss names a Keras 2 reduction")
    ours, _ = pair(framework, **settings)
    x, y = data(251)
    expected, told = ours.predict(x), []
    ours.observer = lambda points, outputs: told.append((points, outputs))
    getattr(ours, query)(x, *([y] if "loss" in query else []))
    ((points, outputs),) = told
    assert np.array_equal(points, x)
    assert outputs is None or np.allclose(outputs, expected, atol=1e-6)
    assert (outputs is None) == (query != "predict" and bool(settings))

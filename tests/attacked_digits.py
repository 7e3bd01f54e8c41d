"""A small model trained on digits, in both frameworks, for tests of attacks."""

from __future__ import annotations

import functools

import numpy as np

from benchmark import datasets, frameworks, models

frameworks.import_torch_first()

import torch  # noqa: E402

import benchmark.estimators.pytorch as on_torch  # noqa: E402
import benchmark.estimators.tensorflow as on_tensorflow  # noqa: E402
import benchmark.models.pytorch as in_torch  # noqa: E402
import benchmark.models.tensorflow as in_tensorflow  # noqa: E402
import defenses  # noqa: E402


@functools.cache
def trained():
    """The data and a model's NumPy weights."""
    data = datasets.load("digits")
    specification = models.specification("cnn-small", data.input_shape, data.classes)
    model = in_torch.build(specification, specification.initial_weights(0))
    defense = defenses.create("fgsm-at", defenses.Threat("linf", 0.1), {})
    defense.fit(model, data.x_train, data.y_train, epochs=3, seed=0)
    return data, specification, in_torch.get_weights(model)


@functools.cache
def estimator(framework="torch"):
    data, specification, weights = trained()
    build, wrap = {
        "torch": (in_torch.build, on_torch.wrap),
        "tensorflow": (in_tensorflow.build, on_tensorflow.wrap),
    }[framework]
    shape = {"input_shape": data.input_shape, "classes": data.classes}
    return wrap(build(specification, weights), **shape, device="cpu")


def right(count):
    """So many examples that it gets right."""
    data, *_ = trained()
    correct = estimator().predict(data.x_test[:]).argmax(axis=1) == data.y_test
    return data.x_test[correct][:count], data.y_test[correct][:count]


def broken(found, y, model=None):
    return (model or estimator()).predict(found).argmax(axis=1) != y


def abstaining(above):
    """One that gives no number where the mean of a point is above this, and no gradient at all."""

    class Abstaining(type(estimator())):
        def predict(self, x, **kwargs):
            mean = x.mean(axis=(1, 2, 3))[:, np.newaxis]
            return np.where(mean > above, np.nan, 0) + np.eye(10)[:1]

        def logits_and_gradient(self, x, weights):
            return self.predict(x), np.full_like(x, np.nan)

    data, specification, weights = trained()
    return Abstaining(
        on_torch.ChannelsLast(in_torch.build(specification, weights)), torch.nn.CrossEntropyLoss(),
        data.input_shape, 10, channels_first=False, clip_values=(0.0, 1.0), device_type="cpu",
    )  # fmt: skip

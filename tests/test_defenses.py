"""The library API: what `fit` and `adapt` do, take and continue."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402
from art.estimators.classification import PyTorchClassifier, TensorFlowV2Classifier  # noqa: E402
from small_defenses import BUILDERS, ORDERS, SMALL, THREAT, build, data  # noqa: E402

import defenses  # noqa: E402
from defenses.checkpoints import Checkpoint  # noqa: E402


def recorded_inputs(model, monkeypatch):
    """A list that receives the inputs, NHWC or (n, d), of every pass through the model."""
    seen = []
    if isinstance(model, torch.nn.Module):

        def record(_, inputs):
            x = inputs[0].detach().numpy()
            seen.append((x.transpose(0, 2, 3, 1) if x.ndim == 4 else x).copy())

        model.register_forward_pre_hook(record)
        return seen
    call = model.call

    def recording(x, *arguments, **keywords):
        tf.numpy_function(lambda x: seen.append(x.copy()), [x], [])
        return call(x, *arguments, **keywords)

    monkeypatch.setattr(model, "call", recording)
    return seen


class Killed(BaseException):
    """Ends a training."""


def trained(name, shape, framework, **more):
    """A small training of which all is asked: a class is told by the first pixel."""
    x, _ = data(shape)
    y = (x.reshape(len(x), -1)[:, 0] * 2.999).astype(int)
    defense = defenses.create(name, THREAT, SMALL[name])
    model = build(framework, shape)
    return defense.fit(model, x, y, epochs=3, seed=5, validation=(x, y), **more), x, y


@functools.cache
def unbroken(name, shape, framework):
    """The same with what was told of its progress, once for all tests, which don't change it."""
    seen = []
    return *trained(name, shape, framework, progress=seen.append), seen


@pytest.fixture(scope="module", autouse=True)
def _forgotten():
    """What was trained for these tests goes with them."""
    yield
    unbroken.cache_clear()


@pytest.mark.parametrize("framework", BUILDERS)
@pytest.mark.parametrize("shape", [(6, 6, 1), (7,)], ids=["images", "tabular"])
@pytest.mark.parametrize("name", SMALL)
class TestConformance:
    """Every defense, in both frameworks, on images and on tabular data."""

    def test_learns_and_reports(self, name, shape, framework):
        fitted, x, y, seen = unbroken(name, shape, framework)
        assert [entry["epoch"] for entry in fitted.history] == [1, 2, 3]
        assert all(math.isfinite(entry["loss"]) for entry in fitted.history)
        assert fitted.history[-1]["validation_accuracy"] == pytest.approx(
            (fitted.predict(x).argmax(axis=1) == y).mean()
        )
        assert seen == sorted(seen)
        assert seen[-1] == 1
        assert fitted.cost.gradient_evaluations == pytest.approx(
            fitted.defense.length(len(x), epochs=3, validation=len(x)).gradient_evaluations
        )

    def test_an_interrupted_fit_continues_to_the_same_weights(
        self, name, shape, framework, tmp_path
    ):
        whole, x, *_ = unbroken(name, shape, framework)

        def kill(done):
            if done > 0.7:
                raise Killed

        checkpoint = Checkpoint(tmp_path / "checkpoint.npz", "this one")
        with pytest.raises(Killed):
            trained(name, shape, framework, checkpoint=checkpoint, progress=kill)
        seen = []
        continued, *_ = trained(name, shape, framework, checkpoint=checkpoint, progress=seen.append)

        assert seen[0] > 0.6, "it started from the beginning"
        assert continued.history == whole.history
        assert np.array_equal(continued.predict(x), whole.predict(x))

    def test_adapting_leaves_the_fitted_model_alone(self, name, shape, framework):
        fitted, x, y, _ = unbroken(name, shape, framework)
        before = fitted.predict(x)
        adapted = fitted.adapt(x[:9], y[:9], steps=3, rate=0.5)
        assert np.array_equal(fitted.predict(x), before)
        assert np.abs(adapted.predict(x) - before).max() > 1e-3
        assert adapted.cost.forwards >= 9 * 4

    def test_stays_within_its_budget_while_training(self, name, shape, framework, monkeypatch):
        x, y = data(shape)
        # Inputs of several tasks at once can't be looked at.
        alone = {"chunk": 1} if name == "meta-adv" else {}
        defense = defenses.create(name, THREAT, {**SMALL[name], **alone})
        model = build(framework, shape)
        seen = recorded_inputs(model, monkeypatch)
        kernel = defense.kernel(defenses.defense.recognise(model))
        generator = np.random.default_rng(0)
        size = defense.examples_per_step
        eps = THREAT.eps / 2  # as if it were still rising
        for _ in range(2):
            index = generator.permutation(len(x))[:size]
            del seen[:]
            kernel.step(defense.draw(generator, x[index], y[index]), learning_rate=0.01, eps=eps)
            inputs = np.concatenate([part.reshape(len(part), -1) for part in seen])
            natural = x[index].reshape(size, -1)
            # Each input belongs to the nearest example: random ones are far apart.
            used = budget_used(name, inputs[:, None] - natural[None], eps).min(axis=1)
            assert name == "gaussian" or used.max() <= 1 + 1e-5
            assert name == "none" or used.max() > 0.9
            # What is trained on comes last; fgsm-rs attacks from starts outside of the box.
            assert seen[-1].min() >= 0
            assert seen[-1].max() <= 1


def budget_used(name, differences, eps):
    """The share of the budget that each perturbation takes, in the norm that it takes least of."""
    rise = eps / THREAT.eps
    others = {norm: SMALL[name].get(f"eps_{norm}") for norm in ("l2", "l1")}
    budgets = {"linf": eps} | {norm: full * rise for norm, full in others.items() if full}
    lengths = [
        np.linalg.norm(differences.astype(np.float64), ord=ORDERS[norm], axis=-1) / budget
        for norm, budget in budgets.items()
    ]
    return np.min(lengths, axis=0)


class TestSubjects:
    """What `fit` accepts as a model."""

    def test_art_classifiers(self):
        x, y = data()
        plain = build("torch")
        wrapped = build("torch")
        classifier = PyTorchClassifier(
            wrapped, torch.nn.CrossEntropyLoss(), input_shape=(1, 6, 6), nb_classes=3
        )
        defense = defenses.create("pgd-at", THREAT, SMALL["pgd-at"])
        ours = defense.fit(plain, x, y, epochs=1).predict(x)
        channels_first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        theirs = defense.fit(classifier, channels_first, y, epochs=1)
        assert np.array_equal(theirs.predict(channels_first), ours)
        assert np.allclose(classifier.predict(channels_first), ours, atol=1e-6)

    def test_keras_classifier(self):
        x, y = data()
        classifier = TensorFlowV2Classifier(
            build("tensorflow"), nb_classes=3, input_shape=(6, 6, 1), clip_values=(0, 1)
        )
        fitted = defenses.create("none", THREAT, SMALL["none"]).fit(classifier, x, y, epochs=1)
        assert fitted.model is classifier.model

    def refused(self, model, name="none"):
        with pytest.raises(defenses.DefenseError) as caught:
            defenses.create(name, THREAT, SMALL[name]).fit(model, *data(), epochs=1)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_other_objects_are_refused(self):
        assert "can't train a builtins.object; allowed: torch.nn.Module" in self.refused(object())

    def test_preprocessing_is_refused(self):
        classifier = PyTorchClassifier(
            build("torch"),
            torch.nn.CrossEntropyLoss(),
            input_shape=(1, 6, 6),
            nb_classes=3,
            preprocessing=(0.5, 0.5),
        )
        assert "make the normalisation a layer" in self.refused(classifier)

    def test_a_softmax_is_refused(self):
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3), torch.nn.Softmax(1))
        assert "need logits" in self.refused(model)
        layers = [keras.Input((6, 6, 1)), keras.layers.Flatten()]
        layers.append(keras.layers.Dense(3, activation="softmax"))
        assert "need logits" in self.refused(keras.Sequential(layers))

    @pytest.mark.parametrize("layer", ["BatchNormalization", "GroupNormalization"])
    def test_keras_normalisation_is_refused_in_second_order(self, layer):
        normalisation = getattr(keras.layers, layer)(
            **({"groups": 1} if layer == "GroupNormalization" else {})
        )
        layers = [keras.Input((6, 6, 1)), normalisation, keras.layers.Flatten()]
        layers.append(keras.layers.Dense(3))
        message = self.refused(keras.Sequential(layers), "meta-adv")
        assert f"({layer}) in second order: Keras stops the gradient of its mean" in message


def test_divergence_is_an_error_that_helps():
    x, y = data()
    defense = defenses.create("none", THREAT, {"optimizer": "sgd", "learning_rate": 1e18})
    with pytest.raises(defenses.TrainingDivergedError, match="try a learning_rate below 1e\\+18"):
        defense.fit(build("torch"), x, y, epochs=50)


@pytest.mark.parametrize("content", [b"", b"not a zip file", b"PK\x03\x04broken"])
def test_a_broken_checkpoint_starts_the_training_anew(content, tmp_path):
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(content)
    x, y = data()
    defense = defenses.create("none", THREAT, SMALL["none"])
    fitted = defense.fit(build("torch"), x, y, epochs=2, checkpoint=Checkpoint(path, "a"))
    assert np.array_equal(fitted.predict(x), defense.fit(build("torch"), x, y, epochs=2).predict(x))


def test_a_checkpoint_of_another_training_is_not_taken_up(tmp_path):
    path = tmp_path / "checkpoint.npz"
    x, y = data()
    defense = defenses.create("none", THREAT, SMALL["none"])
    defense.fit(build("torch"), x, y, epochs=2, checkpoint=Checkpoint(path, "a"))
    again = defense.fit(build("torch"), x, y, epochs=3, seed=1, checkpoint=Checkpoint(path, "b"))
    plain = defense.fit(build("torch"), x, y, epochs=3, seed=1)
    assert np.array_equal(again.predict(x), plain.predict(x))

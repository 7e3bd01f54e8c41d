"""An attack that changes the model has failed, and the attacks that follow meet it as it was."""

from __future__ import annotations

from dataclasses import replace

import broken_parts
import fakes
import keras
import numpy as np
import pytest
import torch

from benchmark.attacks import lookup
from benchmark.attacks.running import run_attack
from benchmark.attacks.suites import AttackSpec
from benchmark.estimators.weights import pytorch, tensorflow

NOISE = AttackSpec("noise", "sound-noise", {})
KEPT = {"torch": pytorch.Kept, "tensorflow": tensorflow.Kept}


class Trains(broken_parts.Noise):
    """Asks the model itself, in training mode, so that its statistics drift."""

    def generate(self, x, y):
        model = self.estimator.model
        if isinstance(model, torch.nn.Module):
            model.train()
            model(torch.from_numpy(x))
        else:
            model(x, training=True)
        return super().generate(x, y)


class Ends(broken_parts.Spoiler):
    def generate(self, x, y):
        super().generate(x, y)
        raise ValueError("of its own")


TRAINS, ENDS = (
    replace(broken_parts.SOUND_NOISE, target=f"{__name__}:{name}") for name in ("Trains", "Ends")
)
CHANGED = "the attack changed the model's weights"
ATTACKS = {
    "spoils": (broken_parts.SPOILER, CHANGED),
    "trains": (TRAINS, CHANGED),
    "ends": (ENDS, "of its own"),
}


def networks(framework, *, first=None):
    """One with normalisation; `first` is put before it."""
    if framework == "torch":
        torch.manual_seed(0)
        layers = [torch.nn.Flatten(), torch.nn.BatchNorm1d(64), torch.nn.Linear(64, fakes.CLASSES)]
        return torch.nn.Sequential(*([first()] if first else []), *layers)
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Flatten(), keras.layers.BatchNormalization()]
    layers.append(keras.layers.Dense(fakes.CLASSES))
    shape = keras.Input(fakes.SHAPE)
    return keras.Sequential([shape, *([first()] if first else []), *layers])


def ran(target):
    return run_attack(NOISE, target, key="k", norm="linf", eps=0.3, seed=0)


@pytest.fixture
def named(monkeypatch):
    """Makes `sound-noise` an attack of this entry."""

    def name(entry):
        monkeypatch.setattr(lookup, "entry", lambda _: entry)

    return name


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize(("entry", "reason"), ATTACKS.values(), ids=ATTACKS)
def test_it_has_failed_and_the_next_attack_meets_the_model_as_it_was(
    named, framework, entry, reason
):
    target = fakes.target_of(networks(framework))
    outputs = target.estimator.predict(fakes.X)

    named(entry)
    record, arrays = ran(target)

    assert (record["status"], arrays) == ("failed", {})
    assert reason in record["reason"]
    np.testing.assert_array_equal(target.estimator.predict(fakes.X), outputs)


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_an_attack_that_leaves_the_model_alone_has_not(named, framework):
    model = networks(framework)
    if framework == "torch":  # what is no number is equal to itself here
        model[1].bias.data[0] = np.nan
    named(broken_parts.SOUND_NOISE)

    record, _ = ran(fakes.target_of(model))

    assert record["status"] == "ok", record["reason"]


class Draws(torch.nn.Module):
    """Draws its weight anew whenever it is asked."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, x):
        self.scale.data.uniform_(0.5, 2)
        return self.scale * x


class Follows(torch.nn.BatchNorm2d):
    """Normalises by the batch, also when it is evaluated, and follows its statistics."""

    def __init__(self):
        super().__init__(fakes.SHAPE[-1])

    def forward(self, x):
        self.train()
        return super().forward(x)


class FollowsInKeras(keras.layers.BatchNormalization):
    def call(self, x, training=None):
        return super().call(x, training=True)


OF_ITS_OWN = {
    "draws": ("torch", Draws),
    "follows": ("torch", Follows),
    "follows in Keras": ("tensorflow", FollowsInKeras),
}


@pytest.mark.parametrize(("framework", "first"), OF_ITS_OWN.values(), ids=OF_ITS_OWN)
def test_a_model_that_changes_its_own_weights_is_no_fault_of_the_attack(named, framework, first):
    named(broken_parts.SOUND_NOISE)
    target = fakes.target_of(networks(framework, first=first))
    kept = KEPT[framework](target.estimator.model)

    record, _ = ran(target)

    assert record["status"] == "ok", record["reason"]
    assert kept.changed()


class Noisy(torch.nn.Module):
    def forward(self, x):
        return x + 0.3 * torch.randn_like(x)


def test_a_random_models_weights_are_kept_too(named):
    named(broken_parts.SPOILER)
    target = fakes.target_of(networks("torch", first=Noisy))
    kept = pytorch.Kept(target.estimator.model)

    assert target.clean is not None
    assert CHANGED in ran(target)[0]["reason"]
    assert not kept.changed()


class Rebuilds(broken_parts.Noise):
    def generate(self, x, y):
        for one in self.estimator.model.modules():
            if isinstance(one, torch.nn.Sequential):
                one[1] = torch.nn.Identity()
        return super().generate(x, y)


def test_weights_that_are_gone_are_told(named):
    named(replace(broken_parts.SOUND_NOISE, target=f"{__name__}:Rebuilds"))

    record, _ = ran(fakes.target_of(networks("torch")))

    assert "not all can be put back" in record["reason"]


def drift(model):
    model.train()
    model(torch.rand(9, 3))


def double(model):
    with torch.inference_mode():
        for one in model.parameters():
            one.mul_(2)


def normalising():
    return torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))


def made_in_inference_mode():
    with torch.inference_mode():
        return normalising()


def holding(value):
    module = torch.nn.Module()
    module.value = torch.nn.Parameter(value)
    return module


NAN = float("nan")
MODULES = {
    "scripted": (lambda: torch.jit.script(normalising()), drift),
    "compiled": (lambda: torch.compile(normalising(), backend="eager"), double),
    "in inference mode": (made_in_inference_mode, double),
    "sparse": (lambda: holding(torch.eye(3).to_sparse()), double),
    "complex": (lambda: holding(torch.tensor([1 + 1j, complex(NAN, 0)])), double),
    "half": (lambda: holding(torch.tensor([1, NAN], dtype=torch.bfloat16)), double),
}


@pytest.mark.parametrize(("make", "change"), MODULES.values(), ids=MODULES)
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
def test_weights_of_any_kind_are_kept(make, change):
    model = make()
    kept = pytorch.Kept(model)
    assert not kept.changed()

    change(model)
    assert kept.changed()

    kept.put_back()
    assert not kept.changed()


@pytest.mark.parametrize("layers", [slice(None), slice(0, 1)], ids=["all", "one"])
def test_frozen_weights_of_keras_are_kept(layers):
    model = keras.Sequential([keras.Input((3,)), *map(keras.layers.Dense, (3, 2))])
    for layer in model.layers[layers]:
        layer.trainable = False
    kept = tensorflow.Kept(model)
    model.layers[0].kernel.assign(model.layers[0].kernel * 2)

    assert kept.changed()
    kept.put_back()
    assert not kept.changed()


def test_what_a_model_remembers_is_no_weight():
    model = torch.nn.Module()
    model.register_buffer("memory", torch.zeros(1))
    kept = pytorch.Kept(model)
    model.memory += 1

    assert not kept.changed()

    layer = keras.layers.Layer()
    memory = layer.add_weight(shape=(1,), initializer="zeros", trainable=False, name="memory")
    kept = tensorflow.Kept(layer)
    memory.assign_add([1.0])

    assert not kept.changed()

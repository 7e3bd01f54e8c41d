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


def test_a_random_model_that_draws_its_weights_is_no_fault_of_the_attack(named):
    named(broken_parts.SOUND_NOISE)
    target = fakes.target_of(networks("torch", first=Draws))

    assert target.clean is not None
    assert ran(target)[0]["status"] == "ok"


def test_what_a_model_remembers_is_no_weight():
    model = torch.nn.Module()
    model.register_buffer("memory", torch.zeros(1))
    put_back = pytorch.kept(model)
    model.memory += 1

    assert not put_back()
    assert model.memory == 1

    layer = keras.layers.Layer()
    memory = layer.add_weight(shape=(1,), initializer="zeros", trainable=False, name="memory")
    put_back = tensorflow.kept(layer)
    memory.assign_add([1.0])

    assert not put_back()
    assert float(memory.numpy()[0]) == 1

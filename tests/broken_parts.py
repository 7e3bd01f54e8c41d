"""Defenses and attacks that each do one thing otherwise than the benchmark expects."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from benchmark.attacks.entry import AttackEntry
from defenses.attacked import ManyStepTraining
from defenses.parameters import parameter


def _in(framework, **methods):
    """A factory of kernels whose class has these methods in place of its own."""

    def make(model, defense):
        if framework == "torch":
            from torch.nn.functional import cross_entropy

            from defenses.kernels.pytorch import Kernel
        else:
            from defenses.kernels.tensorflow import Kernel, cross_entropy

        def train_on(self, batch, learning_rate, eps):
            x, y = batch["x"], batch["y"]
            x_adv = self.perturbed(
                x, y, batch["start"], eps=defense.reach * eps, ascent=defense.ascent
            )

            def loss():
                return defense.weights[framework] * cross_entropy(self.training_logits(x_adv), y)

            before = self.minimise(loss, learning_rate)
            return None if defense.told is None else defense.told * before

        return type("Own", (Kernel,), {"train_on": train_on, **methods})(model, defense)

    return make


torch_kernel, tensorflow_kernel = _in("torch"), _in("tensorflow")
forgets = {"read_weights": lambda self, folder: None}
torch_forgets, tensorflow_forgets = _in("torch", **forgets), _in("tensorflow", **forgets)


@dataclass(frozen=True, kw_only=True)
class Sound(ManyStepTraining):
    """Adversarial training as it should be."""

    kernels: ClassVar = {
        framework: f"{__name__}:{framework}_kernel" for framework in ("torch", "tensorflow")
    }
    weights: ClassVar = {"torch": 1.0, "tensorflow": 1.0}
    told, reach = 1.0, 1.0


class Unequal(Sound):
    """Its loss has another weight in TensorFlow."""

    weights: ClassVar = {"torch": 1.0, "tensorflow": 1.001}


class Untrue(Sound):
    """It tells another loss than it minimises."""

    told = 2.0


class Mute(Sound):
    """It tells no loss, as where `return` was forgotten."""

    told = None


class Idle(Sound):
    """Its loss weighs nothing."""

    weights: ClassVar = {"torch": 0.0, "tensorflow": 0.0}


class Kernelless(Sound):
    """It is of no framework."""

    kernels: ClassVar = {}


@dataclass(frozen=True, kw_only=True)
class Untold(Sound):
    """It says nothing of a parameter."""

    share: float = parameter(1.0, low=0)


class Seedless(Sound):
    """Its updates are the same for each seed."""

    def draw(self, generator, x, y):
        return {"x": x[:1] * 0, "y": y[:1] * 0, "start": x[:1] * 0}


class Endless(Sound):
    """Its loss is no number."""

    weights: ClassVar = {"torch": float("nan"), "tensorflow": float("nan")}


class Wide(Sound):
    """It trains on twice the budget."""

    reach = 2.0


class Cheap(Sound):
    """It tells a half of its cost."""

    def step_cost(self):
        return super().step_cost() * 0.5


class Costless(Sound):
    """It tells no cost."""

    def step_cost(self):
        return None


class Sizeless(Sound):
    """It can't be made for a number of examples."""

    def sized_for(self, examples):
        raise KeyError("size")


class Unseeded(Sound):
    """Its starts are of no seed."""

    def draw(self, generator, x, y):
        own = np.random.default_rng(int.from_bytes(os.urandom(4)))
        return {"x": x, "y": y, "start": self.ascent.starts(own, x.shape)}


class Forgets(Sound):
    """It can't be loaded again."""

    kernels: ClassVar = {
        framework: f"{__name__}:{framework}_forgets" for framework in ("torch", "tensorflow")
    }


class Halved(Sound):
    """For one framework alone."""

    kernels: ClassVar = {"torch": f"{__name__}:torch_kernel"}


class Misnamed(Sound):
    """Its kernels are of no framework."""

    kernels: ClassVar = {"pytorch": f"{__name__}:torch_kernel"}


class Nameless(Sound):
    __doc__ = None


class Preset(Sound):
    """A recipe of its own is out of range."""

    presets: ClassVar = {"ours": {"batch_size": 0}}


class Noise:
    """Adds noise of the budget, from the estimator's own generator."""

    attack_params = ("eps", "max_iter")
    scale, asks = 1.0, True

    def __init__(self, estimator, *, eps, max_iter=1):
        self.estimator, self.eps, self.max_iter = estimator, eps, max_iter

    def generator(self):
        return np.random.default_rng(0)

    def generate(self, x, y):
        noise = self.generator().choice([-1.0, 1.0], x.shape) * self.eps * self.scale
        x_adv = np.clip(x + noise, 0, 1).astype(np.float32)
        if self.asks:
            self.estimator.predict(x_adv)
        return x_adv


class WideNoise(Noise):
    scale = 2.0


class SilentNoise(Noise):
    asks = False


class UnseededNoise(Noise):
    def generator(self):
        return np.random.default_rng()


class Curious(Noise):
    def generate(self, x, y):
        self.estimator.loss_gradient(x, y)
        return super().generate(x, y)


class Spoiler(Noise):
    def generate(self, x, y):
        model = self.estimator.model
        if hasattr(model, "set_weights"):
            model.set_weights([0.9 * value for value in model.get_weights()])
        else:
            for value in model.parameters():
                value.data *= 0.9
        return super().generate(x, y)


class Apart(Noise):
    def generate(self, x, y):
        if hasattr(self.estimator.model, "set_weights"):
            return super().generate(x, y)
        x_adv = x + self.eps * np.sign(self.estimator.loss_gradient(x, y))
        return np.clip(x_adv, 0, 1)


class Raising(Noise):
    def generate(self, x, y):
        raise ValueError("so")


class Narrow(Noise):
    attack_params = ("eps",)


class Ungiven(Noise):
    attack_params = ("max_iter",)


SOUND_NOISE = AttackEntry(
    target=f"{__name__}:Noise",
    description="noise",
    norms=("linf",),
    arguments=("max_iter",),
    kinds=("score",),
)
WIDE, SILENT, UNSEEDED, CURIOUS, NARROW, ABSENT, UNGIVEN, SPOILER, APART, RAISING = (
    replace(SOUND_NOISE, target=f"{__name__}:{name}")
    for name in (
        "WideNoise",
        "SilentNoise",
        "UnseededNoise",
        "Curious",
        "Narrow",
        "Absent",
        "Ungiven",
        "Spoiler",
        "Apart",
        "Raising",
    )
)
COLOUR = replace(SOUND_NOISE, channels=(3,))
UNKNOWN = replace(SOUND_NOISE, arguments=("max_iter", "unheard_of"))

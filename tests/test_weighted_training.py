"""Trainings under budgets of single features: what they attack with, and what models are shown."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402

import defenses  # noqa: E402
import defenses.perturbation.pytorch as in_torch  # noqa: E402
import defenses.perturbation.tensorflow as in_tensorflow  # noqa: E402
from defenses.perturbation.spec import pgd  # noqa: E402
from defenses.threat import Threat  # noqa: E402

WEIGHTS = (0.0, 0.5, 1.0, 2.0, 0.0, 0.25)
EPS = {"linf": 0.05, "l2": 0.1, "l1": 0.2}
COUNT, CLASSES = 12, 3


def problem():
    """Examples away from the ends of the box, labels, and the rows of a linear model."""
    generator = np.random.default_rng(0)
    x = generator.uniform(0.45, 0.55, (COUNT, len(WEIGHTS)))
    rows = generator.normal(0, 1, (len(WEIGHTS), CLASSES))
    return x, generator.integers(0, CLASSES, COUNT), rows


def perturbed(framework, x, y, rows, bias, start, norm, weights):
    """By ascent on the linear model (x - 0.5) @ rows + bias."""
    ascent = pgd(norm, 5, weights=weights)
    if framework == "torch":
        x, y, rows, bias, start = map(torch.tensor, (x, y, rows, bias, start))
        run, eps = in_torch.perturb, EPS[norm]
    else:
        x, y, rows, bias, start = map(tf.constant, (x, y, rows, bias, start))
        run, eps = in_tensorflow.perturb, tf.constant(EPS[norm], tf.float64)
    return run(lambda z: (z - 0.5) @ rows + bias, x, y, start, eps=eps, ascent=ascent).numpy()


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize("norm", EPS)
def test_ascent_under_weights_is_ordinary_ascent_in_another_scale(norm, framework):
    x, y, rows = problem()
    scale = np.array(WEIGHTS)
    start = Threat(norm, 1.0).random_starts(np.random.default_rng(1), x.shape).astype(np.float64)
    start[:, scale == 0] = 0
    none = np.zeros((COUNT, CLASSES))

    found = perturbed(framework, x, y, rows, none, start * scale, norm, WEIGHTS)

    u = np.where(scale == 0, 0.5, (x - 0.5) / np.where(scale == 0, 1, scale) + 0.5)
    bias = (x - 0.5)[:, scale == 0] @ rows[scale == 0]
    expected = perturbed(framework, u, y, scale[:, np.newaxis] * rows, bias, start, norm, None)
    assert found - x == pytest.approx((expected - u) * scale, abs=1e-9)
    assert np.array_equal(found[:, scale == 0], x[:, scale == 0])


def test_starts_lie_in_the_ball_of_the_weights():
    threat = Threat("linf", 0.1, WEIGHTS)
    starts = np.abs(threat.random_starts(np.random.default_rng(0), (500, len(WEIGHTS))))
    assert starts.max(axis=0) == pytest.approx(WEIGHTS, rel=0.02)


WRONG = {"negative": (-1.0, 1.0), "all 0": (0.0, 0.0), "not finite": (1.0, np.inf)}


@pytest.mark.parametrize("weights", WRONG.values(), ids=WRONG)
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(defenses.DefenseError, match="weights must be"):
        Threat("linf", 0.1, weights)


def test_weights_of_other_data_are_refused():
    defense = defenses.create("pgd-at", Threat("linf", 0.1, WEIGHTS))
    with pytest.raises(defenses.DefenseError, match="weights of 6 features"):
        defense.check_inputs((5,))


HELD, HALF = 0.375, 0.625  # of every example's first and second feature


class Guarded(torch.nn.Module):
    """A network that is no number where the first two features are beyond their budgets."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(len(WEIGHTS), 8), torch.nn.Tanh(), torch.nn.Linear(8, CLASSES)
        )

    def forward(self, x):
        moved = x.detach()
        kept = (moved[:, 0] == HELD) & ((moved[:, 1] - HALF).abs() <= REACH)
        return self.layers(x * torch.where(kept, 1.0, float("nan"))[:, None])


@keras.saving.register_keras_serializable()
class Guard(keras.layers.Layer):
    """The same as a layer: the inputs, or what is no number."""

    def call(self, x):
        moved = tf.stop_gradient(x)
        kept = (moved[:, 0] == HELD) & (tf.abs(moved[:, 1] - HALF) <= REACH)
        return x * tf.where(kept, 1.0, float("nan"))[:, None]


def guarded(framework):
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    if framework == "torch":
        return Guarded()
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((len(WEIGHTS),)), Guard(), layers.Dense(8, "tanh"), layers.Dense(CLASSES)]
    )


REACH = 0.05 * 0.5 + 1e-6
SMALL = {
    "none": None,
    "gaussian": None,  # neither attacks
    "fgsm-at": {},
    "fgsm-rs": {"batch_size": 12},
    "free-at": {"replays": 2},
    "pgd-at": {"attack_steps": 3},
    "trades": {"attack_steps": 3},
    "mart": {"attack_steps": 3},
    "awp": {"attack_steps": 3},
    "random-norm": {"eps_l2": 0.05, "attack_steps": 3},
    "msd": {"eps_l2": 0.05, "attack_steps": 3},
    "meta-gen": {"attack_steps": 2, "batch_size": 6},
    "mng-ac": {"eps_l2": 0.05, "attack_steps": 2},
    "meta-adv": {"tasks": 2, "support": 3, "query": 3},
    "seed-listing": {},
}
VARIANTS = {
    "awp over trades": ("awp", {"base": "trades", "attack_steps": 2}),
    "a network that generates": ("meta-gen", {"generator": "network", "batch_size": 6}),
    "meta-adv, trades on the query": ("meta-adv", {**SMALL["meta-adv"], "outer_loss": "trades"}),
    "meta-adv, attacks drawn": (
        "meta-adv",
        {**SMALL["meta-adv"], "distribution": ("attacks",), "eps_l2": 0.05, "eps_l1": 0.05},
    ),
    "meta-adv, fitted heads": (
        "meta-adv",
        {
            **SMALL["meta-adv"],
            "head": "ridge",
            "distribution": ("few-way",),
            "ways": 3,
            "inner_loss": "clean",
            "pretrain": 0.5,
        },
    ),
}
CASES = {name: (name, one) for name, one in SMALL.items() if one is not None} | VARIANTS


def test_every_defense_that_attacks_is_among_the_cases():
    assert SMALL.keys() == defenses.TABLE.keys()


def examples():
    x = np.random.default_rng(0).random((24, len(WEIGHTS)), dtype=np.float32)
    x[:, 0], x[:, 1] = HELD, HALF
    return x, np.arange(24) % CLASSES


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_a_training_without_such_budgets_is_noticed(framework):
    defense = defenses.create("pgd-at", Threat("linf", 0.05), {"attack_steps": 3})
    with pytest.raises(defenses.TrainingDivergedError):
        defense.fit(guarded(framework), *examples(), epochs=1)


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize("case", CASES)
def test_a_training_shows_the_model_nothing_beyond_the_budgets(case, framework):
    name, parameters = CASES[case]
    x, y = examples()
    defense = defenses.create(name, Threat("linf", 0.05, WEIGHTS), parameters)
    fitted = defense.fit(guarded(framework), x, y, epochs=1)
    assert np.isfinite(fitted.outcome.history[-1]["loss"])
    if defense.adapts:
        assert np.isfinite(fitted.adapt(x[:6], y[:6]).predict(x)).all()

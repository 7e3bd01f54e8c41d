"""The same specification takes the same steps in both frameworks."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import frameworks, models

frameworks.import_torch_first()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

import benchmark.models.pytorch as in_torch  # noqa: E402
import benchmark.models.tensorflow as in_tensorflow  # noqa: E402
import defenses  # noqa: E402

SHAPES = {
    "cnn-28": ("cnn", (28, 28, 1), 10),
    "cnn-odd": ("cnn", (7, 9, 3), 5),
    "cnn-1x1": ("cnn", (1, 1, 1), 2),
    "cnn-small-28": ("cnn-small", (28, 28, 1), 10),
    "cnn-small-odd": ("cnn-small", (7, 9, 3), 5),
    "cnn-small-1x2": ("cnn-small", (1, 2, 1), 2),
    "mlp-image": ("mlp", (5, 4, 2), 3),
    "mlp-tabular": ("mlp", (20,), 3),
}

DEFENSES = {
    "none": {},
    "fgsm-at": {},
    "fgsm-rs": {},
    "pgd-at": {"attack_steps": 3},
    "pgd-at-sgd": {"attack_steps": 3, "optimizer": "sgd", "learning_rate": 0.05},
    "pgd-at-decay": {"attack_steps": 3, "weight_decay": 0.1},
    "pgd-at-sgd-decay": {"optimizer": "sgd", "learning_rate": 0.05, "weight_decay": 0.1},
    "pgd-at-averaging": {"attack_steps": 3, "weight_averaging": 0.9},
    "free-at": {"replays": 3},
    "trades": {"attack_steps": 3},
    "mart": {"attack_steps": 3},
    "awp": {"attack_steps": 3, "gamma": 0.05},
    "awp-trades": {"attack_steps": 3, "base": "trades", "gamma": 0.05},
    "random-norm": {"attack_steps": 3, "eps_linf": 0.1, "eps_l2": 0.3, "eps_l1": 0.6},
    "msd": {"attack_steps": 3, "eps_linf": 0.1, "eps_l2": 0.3, "eps_l1": 0.6},
    "mng-ac": {"attack_steps": 3, "eps_linf": 0.1, "eps_l2": 0.3, "width": 4},
    "meta-gen": {"bank_size": 20, "bank_steps": 2, "attack_steps": 2},
    "meta-gen-reptile": {"generator": "network", "attack_steps": 2, "width": 4},
    "gaussian": {"sigma": 0.1},
    "seed-listing": {"batch_size": 32, "inner_rate": 0.1},
    "meta-adv": {"tasks": 3, "support": 4, "query": 8, "inner_steps": 2, "inner_rate": 0.1},
}

# Parameters on top of those of "meta-adv".
META = {
    "fomaml": {"algorithm": "fomaml"},
    "reptile": {"algorithm": "reptile"},
    "anil": {"algorithm": "anil", "learn_rates": True},
    "rates and all steps": {"learn_rates": True, "multi_step": 0.5},
    "first-order rates and all steps": {
        "algorithm": "fomaml",
        "learn_rates": True,
        "multi_step": 0.5,
    },
    "crossed": {"inner_loss": "crossed", "query_attack": "initial"},
    "two optimisers": {"inner_loss": "clean", "adversarial_rate": 0.01},
    "trades": {"outer_loss": "trades", "query_attack_steps": 3},
    "clean alone": {"clean_weight": 1.0},
    "mixture": {
        "distribution": "attacks,few-way",
        "eps_l2": 0.3,
        "eps_l1": 0.6,
        "held_out": "fgsm,pgd-l1",
    },
    "support under another family": {
        "distribution": "attacks",
        "attacks": "pgd-linf,pgd-l1",
        "eps_l1": 2.4,
        "support_family": "other",
    },
}


def create(case, threat):
    """A case of DEFENSES: a defense's name, and after it what is special about the case."""
    name = max((name for name in defenses.names() if case.startswith(name)), key=len)
    # The threat's own norm has the threat's budget.
    own = f"eps_{threat.norm}"
    parameters = {key: value for key, value in DEFENSES[case].items() if key != own}
    return defenses.create(name, threat, parameters)


def build_both(specification, *, seed=0, dtype="float32"):
    weights = {k: v.astype(dtype) for k, v in specification.initial_weights(seed).items()}
    return in_torch.build(specification, weights), in_tensorflow.build(specification, weights)


def images(shape, count, *, seed=0, classes=10):
    """Random images with flat black and white parts, where pooling meets ties."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(-0.5, 1.5, (count, *shape)).clip(0, 1).astype(np.float32)
    return x, generator.integers(0, classes, count)


@pytest.mark.parametrize(("name", "shape", "classes"), SHAPES.values(), ids=SHAPES)
def test_logits_and_input_gradients_agree(name, shape, classes):
    specification = models.specification(name, shape, classes)
    torch_model, keras_model = build_both(specification)
    x, y = images(shape, 16, classes=classes)

    inputs = torch.tensor(x, requires_grad=True)
    logits = torch_model(inputs.permute(0, 3, 1, 2) if x.ndim == 4 else inputs)
    loss = cross_entropy(logits, torch.tensor(y), reduction="sum")
    (gradient,) = torch.autograd.grad(loss, inputs)

    variable = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        other_logits = keras_model(variable)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, other_logits)
    other_gradient = tape.gradient(losses, variable).numpy()

    assert np.abs(logits.detach().numpy() - other_logits.numpy()).max() <= 1e-5
    assert np.abs(gradient.numpy() - other_gradient).max() <= 1e-5 * np.abs(other_gradient).max()


@pytest.mark.parametrize(("name", "shape", "classes"), SHAPES.values(), ids=SHAPES)
def test_weights_carry_over_in_both_directions(name, shape, classes):
    specification = models.specification(name, shape, classes)
    torch_model, keras_model = build_both(specification)
    others = specification.initial_weights(1)

    in_torch.set_weights(torch_model, others)
    in_tensorflow.set_weights(keras_model, in_torch.get_weights(torch_model))
    there = in_tensorflow.get_weights(keras_model)
    in_torch.set_weights(torch_model, there)
    back = in_torch.get_weights(torch_model)

    assert list(there) == list(back) == list(specification.parameter_shapes())
    assert all(np.array_equal(there[key], others[key]) for key in others)
    assert all(np.array_equal(back[key], others[key]) for key in others)


def smooth_pair(dtype):
    """The same small smooth network, without normalisation, in both frameworks."""
    generator = np.random.default_rng(5)
    shapes = [(12, 10), (10,), (10, 4), (4,)]
    arrays = [generator.normal(0, 0.5, shape).astype(dtype) for shape in shapes]
    torch_model = torch.nn.Sequential(
        torch.nn.Linear(12, 10), torch.nn.Tanh(), torch.nn.Linear(10, 4)
    ).to(getattr(torch, dtype))
    with torch.no_grad():
        for parameter, array in zip(torch_model.parameters(), arrays, strict=True):
            parameter.copy_(torch.tensor(array.T))
    keras_model = keras.Sequential(
        [
            keras.Input((12,), dtype=dtype),
            keras.layers.Dense(10, activation="tanh", dtype=dtype),
            keras.layers.Dense(4, dtype=dtype),
        ]
    )
    keras_model.set_weights(arrays)
    return torch_model, keras_model


def smooth_weights(torch_model, keras_model):
    ours = [value.detach().numpy().T for value in torch_model.parameters()]
    return zip(ours, keras_model.get_weights(), strict=True)


# What a norm and a type have to do with each other, one defense tells for all
SMOOTH = [(case, norm, "float64", 1e-8) for case in DEFENSES for norm in ("linf", "l2", "l1")]
SMOOTH += [(case, "linf", "float32", 1e-3) for case in DEFENSES]
SMOOTH += [("pgd-at", norm, "float32", 1e-3) for norm in ("l2", "l1")]


@pytest.mark.parametrize(("case", "norm", "dtype", "tolerance"), SMOOTH)
def test_ten_steps_on_a_smooth_network_agree(case, norm, dtype, tolerance):
    defense = create(case, defenses.Threat(norm, 0.1))
    x, y = images((12,), 96, classes=4)
    torch_model, keras_model = smooth_pair(dtype)
    start = [value.copy() for value, _ in smooth_weights(torch_model, keras_model)]

    losses = []
    for model in (torch_model, keras_model):
        fitted = defense.fit(model, x, y, budget_ge=ten_steps(defense, len(x)), seed=3)
        assert fitted.outcome.steps == 10
        losses.append([entry["loss"] for entry in fitted.history])

    assert losses[0] == pytest.approx(losses[1], abs=tolerance)
    for before, (ours, theirs) in zip(start, smooth_weights(torch_model, keras_model), strict=True):
        assert np.abs(ours - before).max() > 1e-3
        assert np.abs(ours - theirs).max() <= tolerance


@pytest.mark.parametrize("case", META)
def test_meta_steps_on_a_smooth_network_agree(case):
    threat = defenses.Threat("l2" if case == "mixture" else "linf", 0.1)
    parameters = {**DEFENSES["meta-adv"], **META[case]}
    parameters.pop(f"eps_{threat.norm}", None)
    defense = defenses.create("meta-adv", threat, parameters)
    x, y = images((12,), 96, classes=4)
    pair = smooth_pair("float64")
    start = [value.copy() for value, _ in smooth_weights(*pair)]

    # 8 updates cover the whole length of a `multi_step` and what follows it.
    fitted = [defense.fit(model, x, y, epochs=4, seed=3) for model in pair]

    losses = [[entry["loss"] for entry in value.history] for value in fitted]
    assert losses[0] == pytest.approx(losses[1], abs=1e-8)
    for before, (ours, theirs) in zip(start, smooth_weights(*pair), strict=True):
        assert np.abs(ours - before).max() > 1e-3
        assert np.abs(ours - theirs).max() <= 1e-8
    ours, theirs = (value.learned.get("log_rates", []) for value in fitted)
    assert bool(ours) == defense.learn_rates
    assert np.allclose(ours, theirs, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("case", "dtype", "tolerance"),
    [
        ("none", "float64", 1e-8),
        ("pgd-at", "float64", 1e-8),
        ("free-at", "float64", 1e-8),
        ("awp-trades", "float64", 1e-8),
        ("meta-adv", "float64", 1e-8),
        ("none", "float32", 1e-3),
        ("pgd-at", "float32", 1e-3),
        ("meta-adv", "float32", 1e-3),
    ],
)
@pytest.mark.parametrize("name", ["cnn", "cnn-small"])
def test_ten_steps_of_a_convolutional_network_agree(name, case, dtype, tolerance):
    """In float32 only while no input gradient is so near zero that rounding decides its sign.

    That happens to trades and free-at, whose first gradients are next to nothing.
    """
    specification = models.specification(name, (8, 8, 1), 10)
    defense = create(case, defenses.Threat("linf", 0.15))
    x, y = images((8, 8, 1), 128)
    torch_model, keras_model = build_both(specification, dtype=dtype)

    for model in (torch_model, keras_model):
        defense.fit(model, x, y, budget_ge=ten_steps(defense, len(x)), seed=1)

    ours, theirs = in_torch.get_weights(torch_model), in_tensorflow.get_weights(keras_model)
    initial = specification.initial_weights(0)
    assert max(np.abs(ours[key] - initial[key]).max() for key in ours) > 1e-3
    assert max(np.abs(ours[key] - theirs[key]).max() for key in ours) <= tolerance


def test_adaptation_agrees():
    defense = defenses.create("meta-adv", defenses.Threat("linf", 0.1), DEFENSES["meta-adv"])
    x, y = images((12,), 32, classes=4)
    pair = smooth_pair("float64")

    adapted = [defense.resume(model).adapt(x, y, steps=3, rate=0.5, seed=2) for model in pair]

    for ours, theirs in smooth_weights(*(fitted.model for fitted in adapted)):
        assert np.abs(ours - theirs).max() <= 1e-8
    moved = adapted[0].model[0].weight - pair[0][0].weight
    assert moved.abs().max().item() > 1e-3


@pytest.mark.parametrize("framework", [0, 1], ids=["torch", "tensorflow"])
def test_the_same_seed_gives_the_same_weights(framework):
    defense = defenses.create("meta-adv", defenses.Threat("linf", 0.15), DEFENSES["meta-adv"])
    specification = models.specification("cnn", (8, 8, 1), 10)
    x, y = images((8, 8, 1), 96)
    found = []
    for _ in range(2):
        model = build_both(specification)[framework]
        found.append(defense.fit(model, x, y, epochs=2, seed=4).predict(x))

    assert np.array_equal(found[0], found[1])


def ten_steps(defense, examples):
    """A budget that buys exactly ten updates."""
    return round(10 * defense.sized_for(examples).step_cost().gradient_evaluations + 1)

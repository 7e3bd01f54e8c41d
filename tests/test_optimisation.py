"""Optimiser, schedules, weight decay and clipping, against a reference in NumPy."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from benchmark import frameworks, models

frameworks.import_torch_first()

import tensorflow as tf  # noqa: E402
import torch  # noqa: E402
from small_defenses import BUILDERS  # noqa: E402

import defenses  # noqa: E402
from defenses.schedules import SCHEDULES  # noqa: E402
from defenses.subject import recognise  # noqa: E402

LINF = defenses.Threat("linf", 0.1)
TENSORS = {"torch": torch.from_numpy, "tensorflow": partial(tf.constant, dtype=tf.float64)}
RATES = (0.3, 0.1, 0.2)

OPTIONS = {
    "sgd": {"optimizer": "sgd"},
    "nesterov": {"optimizer": "sgd", "nesterov": True},
    "decay of all": {"optimizer": "sgd", "nesterov": True, "weight_decay": 0.1},
    "decay of weights": {"optimizer": "sgd", "weight_decay": 0.1, "decayed": "weights"},
    "clipped": {"optimizer": "sgd", "gradient_clipping": 0.7, "weight_decay": 0.1},
    "not clipped": {"optimizer": "sgd", "gradient_clipping": 1e3},
    "adam": {"weight_decay": 0.1},
    "adam, decay of weights": {"weight_decay": 0.1, "decayed": "weights"},
    "adam, clipped": {"gradient_clipping": 0.7, "weight_decay": 0.1, "decayed": "weights"},
}


def reference(weights, gradients, defense):
    """The weights after an update with each of the gradients."""
    first, second = ([np.zeros_like(w) for w in weights] for _ in range(2))
    for step, (rate, all_of_them) in enumerate(zip(RATES, gradients, strict=True), 1):
        norm = np.sqrt(sum((g**2).sum() for g in all_of_them))
        clipping = defense.gradient_clipping
        share = min(1, clipping / (norm + 1e-6)) if clipping else 1
        for place, (weight, gradient) in enumerate(zip(weights, all_of_them, strict=True)):
            spared = defense.decayed == "weights" and weight.ndim == 1
            g = share * gradient + (0 if spared else defense.weight_decay) * weight
            if defense.optimizer == "sgd":
                first[place] = 0.9 * first[place] + g
                move = g + 0.9 * first[place] if defense.nesterov else first[place]
            else:
                first[place] = 0.9 * first[place] + 0.1 * g
                second[place] = 0.999 * second[place] + 0.001 * g**2
                root = np.sqrt(second[place] / (1 - 0.999**step))
                move = first[place] / (1 - 0.9**step) / (root + 1e-8)
            weights[place] = weight - rate * move
    return weights


@pytest.mark.parametrize("framework", BUILDERS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_updates(options, framework):
    specification = models.specification("mlp", (5,), 3)
    weights = {k: v.astype("float64") for k, v in specification.initial_weights(0).items()}
    defense = defenses.create("none", LINF, options)
    kernel = defense.kernel(recognise(BUILDERS[framework].build(specification, weights)))
    start = [
        np.array(value.detach() if framework == "torch" else value) for value in kernel.parameters
    ]
    assert {value.ndim for value in start} == {1, 2}

    generator, tensor = np.random.default_rng(0), TENSORS[framework]
    gradients = [[generator.standard_normal(value.shape) for value in start] for _ in RATES]
    for rate, some in zip(RATES, gradients, strict=True):
        kernel.update([tensor(one) for one in some], rate if framework == "torch" else tensor(rate))

    expected = reference(start, gradients, defense)
    for found, value in zip(kernel.parameters, expected, strict=True):
        assert (
            np.abs(np.array(found.detach() if framework == "torch" else found) - value).max()
            < 1e-12
        )


def test_one_cycle_is_that_of_torch():
    steps = 400
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=steps + 2, cycle_momentum=False
    )
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        cycle.step()
    ours = [SCHEDULES["one-cycle"]((step + 0.5) / steps) for step in range(steps)]
    assert np.abs(np.array(rates) - ours).max() < 0.02
    assert ours[0] == pytest.approx(1 / 25, abs=1e-4)
    assert max(ours) == pytest.approx(1, abs=1e-4)
    assert min(ours) == pytest.approx(4e-6, abs=1e-4)


MILESTONES = {
    "default": ({}, [1, 1, 0.1, 0.01]),
    "one": ({"milestones": [0.8]}, [1, 1, 1, 0.1]),
    "text": ({"milestones": "0.2,0.6"}, [1, 0.1, 0.1, 0.01]),
    "three": ({"milestones": [0.1, 0.5, 0.9]}, [1, 0.1, 0.01, 1e-3]),
}


@pytest.mark.parametrize(("parameters", "factors"), MILESTONES.values(), ids=MILESTONES)
def test_milestones(parameters, factors):
    settings = {"schedule": "piecewise", "learning_rate": 0.5, **parameters}
    defense = defenses.create("none", LINF, settings)
    rates = [defense.rate(done) for done in (0.05, 0.45, 0.55, 0.95)]
    assert rates == pytest.approx([0.5 * factor for factor in factors])
    again = defenses.create("none", LINF, defense.parameters())
    assert again == defense


BAD = {
    "nesterov of adam": ({"nesterov": True}, "nesterov is of optimizer sgd, and it is adam"),
    "clipping": ({"gradient_clipping": -1}, "gradient_clipping must be at least 0, got -1"),
    "decayed": ({"decayed": "norms"}, "decayed must be one of all, weights, got 'norms'"),
    **{
        str(given): ({"milestones": given}, "milestones must be rising numbers between 0 and 1")
        for given in ([0.5, 0.2], [0, 0.5], [0.5, 1], [], "half", {"at": 0.5}, [True], 100)
    },
}


@pytest.mark.parametrize(("parameters", "message"), BAD.values(), ids=BAD)
def test_refused(parameters, message):
    with pytest.raises(defenses.DefenseError, match=message):
        defenses.create("pgd-at", LINF, parameters)


def test_what_is_not_in_use_is_not_recorded():
    recorded = defenses.create("pgd-at", LINF, {"decayed": "all", "milestones": [0.5, 0.75]})
    assert recorded.parameters() == defenses.create("pgd-at", LINF).parameters()
    assert not recorded.parameters().keys() & {"decayed", "milestones", "nesterov", "crop"}

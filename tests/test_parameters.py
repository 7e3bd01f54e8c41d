"""Parameters, threats, data and schedules of a defense: what is taken, documented and refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

from small_defenses import ORDERS, THREAT, build, data  # noqa: E402

import defenses  # noqa: E402
from defenses.schedules import SCHEDULES, ramp  # noqa: E402

BAD_PARAMETERS = {
    "unknown defense": ("pgd_at", {}, "unknown defense 'pgd_at'; did you mean 'pgd-at'?"),
    "unknown parameter": ("pgd-at", {"atack_steps": 3}, "did you mean 'attack_steps'?"),
    "out of range": ("pgd-at", {"attack_steps": 0}, "attack_steps must be at least 1, got 0"),
    "not whole": ("pgd-at", {"batch_size": 1.5}, "batch_size must be a whole number, got 1.5"),
    "a flag": ("pgd-at", {"batch_size": True}, "batch_size must be a whole number, got True"),
    "not finite": ("none", {"learning_rate": math.inf}, "learning_rate must be a number, got inf"),
    "no choice": ("none", {"optimizer": "adm"}, "optimizer must be one of adam, sgd, got 'adm'"),
    "one norm": ("msd", {}, "only linf has a budget; give eps_l2 or eps_l1"),
    "one norm, explicitly": ("random-norm", {"eps_l2": 0}, "only linf has a budget"),
    "a budget twice": ("msd", {"eps_linf": 0.2, "eps_l1": 3}, "leave eps_linf out"),
    "unknown preset": (
        "meta-adv",
        {"preset": "rmaml"},
        "unknown preset 'rmaml'; did you mean 'r-maml'?",
    ),
    "preset of another type": ("meta-adv", {"preset": ["aq"]}, "unknown preset ['aq']"),
    "unknown task": ("meta-adv", {"distribution": "subset"}, "did you mean 'subsets'?"),
    "no names": ("meta-adv", {"held_out": 3}, "held_out must be names, such as a,b; got 3"),
    "a name twice": ("meta-adv", {"held_out": ["l1", "l1"]}, "give each one once"),
    "held out": (
        "meta-adv",
        {"distribution": "attacks", "attacks": "pgd-linf,fgsm", "held_out": "momentum"},
        "training on 'pgd-linf' would see the held-out 'momentum'",
    ),
    "threat held out": ("meta-adv", {"held_out": "linf"}, "would see the held-out 'linf'"),
    "all held out": (
        "meta-adv",
        {"distribution": "attacks", "held_out": "linf,l2,l1"},
        "no attack is left to train on",
    ),
    "no budget": (
        "meta-adv",
        {"distribution": "attacks", "attacks": "pgd-l2"},
        "attack 'pgd-l2' has no l2 budget; give eps_l2",
    ),
    "budget of zero": ("meta-adv", {"least_budget": 0}, "least_budget must be from 0.01 to 1"),
    "shots and ways": (
        "meta-adv",
        {"distribution": "few-way", "ways": 3},
        "support 8 can't be divided into 3 classes",
    ),
    "reptile's outer loss": (
        "meta-adv",
        {"algorithm": "reptile", "outer_loss": "trades"},
        "reptile has no outer loss",
    ),
    "trades crossed": (
        "meta-adv",
        {"inner_loss": "crossed", "outer_loss": "trades"},
        "outer_loss trades is one loss",
    ),
    "a step of zero": ("pgd-at", {"relative_step": 0}, "relative_step must be at least 1e-09"),
    "a second rate beside none": (
        "meta-adv",
        {"learning_rate": 0, "adversarial_rate": 0.01},
        "adversarial_rate follows the schedule of learning_rate, which is 0",
    ),
    "no flag": ("meta-adv", {"learn_rates": 1}, "learn_rates must be true or false, got 1"),
    "share": ("none", {"eps_warmup": 2}, "eps_warmup must be from 0 to 1, got 2"),
}


@pytest.mark.parametrize(
    ("name", "parameters", "message"), BAD_PARAMETERS.values(), ids=BAD_PARAMETERS
)
def test_bad_parameters_are_refused(name, parameters, message):
    with pytest.raises(defenses.DefenseError) as caught:
        defenses.create(name, THREAT, parameters)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"ways": 4}, "has 3 classes, 3 of them with so many; lower ways, support or query"),
        ({"ways": 2, "support": 20, "query": 20}, "2 classes with 20 examples each"),
    ],
)
def test_few_way_tasks_need_classes_with_enough_examples(parameters, message):
    x, _ = data(count=45)
    parameters = {"distribution": "few-way", "support": 4, "query": 4, **parameters}
    defense = defenses.create("meta-adv", THREAT, parameters)
    with pytest.raises(defenses.DefenseError, match=message):
        defense.fit(build("torch"), x, np.arange(45) % 3, epochs=1)


@pytest.mark.parametrize("name", defenses.names())
def test_every_parameter_is_documented(name):
    lines = defenses.parameter_help(name)
    assert set(lines) - {"preset"} == set(defenses.parameter_names(name))
    assert [parameter for parameter, line in lines.items() if " " not in line] == []


PRESETS = [(name, preset) for name in defenses.names() for preset in defenses.presets(name)]


@pytest.mark.parametrize(("name", "preset"), PRESETS, ids=map(" ".join, PRESETS))
def test_a_preset_s_parameters_arrive(name, preset):
    recorded = defenses.create(name, THREAT, {"preset": preset}).parameters()
    for parameter, value in defenses.presets(name)[preset].items():
        assert recorded[parameter] == (list(value) if isinstance(value, tuple) else value)
    assert defenses.create(name, THREAT, recorded).parameters() == recorded


def test_no_preset_is_the_default():
    plain = defenses.create("meta-adv", THREAT, {})
    assert defenses.create("meta-adv", THREAT, {"preset": None}) == plain


def test_parameters_go_over_a_preset_s_and_back_to_the_same_defense():
    defense = defenses.create("meta-adv", THREAT, {"preset": "aq", "tasks": 3})
    assert (defense.tasks, defense.support, defense.optimizer) == (3, 75, "sgd")
    assert defenses.create("meta-adv", THREAT, defense.parameters()) == defense


@pytest.mark.parametrize(
    ("norm", "eps", "message"),
    [
        ("l3", 0.1, "unknown norm 'l3'"),
        ("linf", 0, "eps must be a positive number, got 0"),
        ("linf", -1, "eps must be a positive number, got -1"),
        ("linf", math.nan, "eps must be a positive number, got nan"),
    ],
)
def test_bad_threats_are_refused(norm, eps, message):
    with pytest.raises(defenses.DefenseError, match=message):
        defenses.Threat(norm, eps)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((4, 6, 6)), np.zeros(4, int), r"must be \(n, H, W, C\) or \(n, d\)"),
        (np.zeros((4, 6, 6, 1)), np.zeros(3, int), "labels must be whole numbers of shape"),
        (np.zeros((4, 6, 6, 1)), np.zeros(4), "labels must be whole numbers of shape"),
        (np.full((4, 6, 6, 1), 2.0), np.zeros(4, int), r"must lie in \[0, 1\], got \[2.0, 2.0\]"),
        (np.full((4, 6, 6, 1), np.nan), np.zeros(4, int), "inputs hold NaN"),
        (np.zeros((0, 6, 6, 1)), np.zeros(0, int), "no examples"),
    ],
)
def test_bad_data_are_refused(x, y, message):
    with pytest.raises(defenses.DefenseError, match=message):
        defenses.create("none", THREAT).fit(build("torch"), x, y, epochs=1)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_random_starts_fill_the_unit_ball(norm):
    threat = defenses.Threat(norm, 0.1)
    starts = threat.random_starts(np.random.default_rng(0), (4000, 2))
    lengths = np.linalg.norm(starts.astype(np.float64), ord=ORDERS[norm], axis=1)
    assert lengths.max() <= 1 + 1e-6
    assert np.abs(starts.mean(axis=0)).max() < 0.03
    # Uniform in two dimensions: a quarter of the points lies within half of the radius.
    assert (lengths < 0.5).mean() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    ("name", "done", "factor"),
    [
        ("constant", 0.9, 1.0),
        ("cosine", 0.0, 1.0),
        ("cosine", 0.5, 0.5),
        ("cyclic", 0.2, 0.5),
        ("cyclic", 0.4, 1.0),
        ("cyclic", 0.7, 0.5),
        ("triangular", 0.25, 0.5),
        ("triangular", 0.5, 1.0),
        ("one-cycle", 0.0, 0.04),
        ("one-cycle", 0.15, 0.52),
        ("one-cycle", 0.3, 1.0),
        ("one-cycle", 0.65, 0.500002),
        ("piecewise", 0.5, 0.1),
        ("piecewise", 0.6, 0.1),
        ("piecewise", 0.8, 0.01),
    ],
)
def test_schedules(name, done, factor):
    assert SCHEDULES[name](done) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("done", "share", "factor"), [(0.1, 0, 1), (0.1, 0.4, 0.25), (0.9, 0.4, 1)]
)
def test_ramp(done, share, factor):
    assert ramp(done, share) == pytest.approx(factor)

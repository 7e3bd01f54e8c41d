"""Attacks on tables whose features have budgets of their own, against what is known of a line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import torch  # noqa: E402

from benchmark.attacks.geometry import distances  # noqa: E402
from benchmark.attacks.measure import measure  # noqa: E402
from benchmark.attacks.running import run_attack  # noqa: E402
from benchmark.attacks.suites import AttackSpec, load_suite  # noqa: E402
from benchmark.attacks.target import Target  # noqa: E402
from benchmark.attacks.transfers import transfer  # noqa: E402

COUNT = 80
WEIGHTS = np.array([0, 0.5, 1, 2, 0, 1, 0.05, 1.5, 0, 1])
# Half of the examples can be broken within these, of 4 classes and of 2.
EPS = {"linf": 0.019, "l2": 0.037, "l1": 0.047}
EPS_OF_TWO = {"linf": 0.038, "l2": 0.077, "l1": 0.097}
DUAL = {"linf": 1, "l2": 2, "l1": np.inf}


def line(classes):
    """Examples away from the ends of the box, and the rows of a model (x - 0.5) @ rows.T."""
    generator = np.random.default_rng(0)
    x = generator.uniform(0.35, 0.65, (COUNT, len(WEIGHTS))).astype(np.float32)
    # Two examples that differ in what is immutable alone.
    x[1] = np.where(WEIGHTS > 0, x[0], 1 - x[0])
    return x, generator.normal(0, 2, (classes, len(WEIGHTS))).astype(np.float32)


def model_of(framework, rows):
    if framework == "torch":
        made = torch.nn.Linear(rows.shape[1], len(rows))
        made.weight.data = torch.from_numpy(rows.copy())
        made.bias.data = torch.from_numpy(-0.5 * rows.sum(axis=1))
        return made
    made = keras.Sequential([keras.Input((rows.shape[1],)), keras.layers.Dense(len(rows))])
    made.layers[0].set_weights([rows.T, -0.5 * rows.sum(axis=1)])
    return made


def target_of(framework, weights=WEIGHTS, classes=4):
    x, rows = line(classes)
    kernel = frameworks.part(frameworks.ESTIMATORS, framework)
    estimator = kernel.wrap(
        model_of(framework, rows), input_shape=x.shape[1:], classes=classes, device="cpu"
    )
    label = ((x - 0.5) @ rows.T).argmax(axis=1)
    return Target(
        estimator, x, label, label, np.arange(COUNT), framework=framework, weights=weights
    )


def known(norm, weights=WEIGHTS, classes=4):
    """How far each example's nearest boundary is in the scale of the weights, (n,)."""
    x, rows = line(classes)
    logits = (x.astype(np.float64) - 0.5) @ rows.T
    label = logits.argmax(axis=1)
    slopes = (rows[np.newaxis] - rows[label][:, np.newaxis]) * weights  # (n, classes, d)
    gaps = logits[np.arange(COUNT), label][:, np.newaxis] - logits
    steepness = np.linalg.norm(slopes, DUAL[norm], axis=2)
    steepness[np.arange(COUNT), label] = 1
    gaps[np.arange(COUNT), label] = np.inf
    return (gaps / steepness).min(axis=1)


def attacked(spec, target, norm, eps):
    record, arrays = run_attack(spec, target, key="", norm=norm, eps=eps, seed=0)
    assert record["status"] == "ok", record["reason"]
    return record, arrays


ITERATED = {"max_iter": 40, "eps_step": "0.1 eps", "num_random_init": 1}
# Ascent without a target may go to a class that is not the nearest: of two there is but one.
WITHIN = {
    "pgd": (AttackSpec("pgd", "pgd", ITERATED), 2),
    "momentum": (AttackSpec("momentum", "momentum", {"max_iter": 40}), 2),
    "apgd": (AttackSpec("apgd", "apgd", {"max_iter": 50}), 2),
    "apgd on a margin": (AttackSpec("apgd", "apgd", {"max_iter": 50, "loss": "margin"}), 2),
    "apgd-targeted": (AttackSpec("apgd-targeted", "apgd-targeted", {"max_iter": 200}), 4),
    "fab-targeted": (AttackSpec("fab-targeted", "fab-targeted", {"max_iter": 20}), 4),
    "autoattack": (AttackSpec("autoattack", "autoattack", {"max_iter": 40}), 4),
    "fab": (AttackSpec("fab", "fab", {"max_iter": 20}), 4),
    "fmn": (AttackSpec("fmn", "fmn", {"max_iter": 200}), 2),
}
# ART's steps under l1 are no steepest ones.
EXACT = [
    (name, norm)
    for name in WITHIN
    for norm in EPS
    if norm != "l1" or name not in ("pgd", "momentum")
]


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize(("name", "norm"), EXACT)
def test_an_attack_breaks_what_can_be_broken_on_a_line(name, norm, framework):
    spec, classes = WITHIN[name]
    target, near = target_of(framework, classes=classes), known(norm, classes=classes)
    eps = (EPS if classes == 4 else EPS_OF_TWO)[norm]
    _, arrays = attacked(spec, target, norm, eps)
    clear = np.abs(near / eps - 1) > 0.03
    breakable = near < eps
    assert 0.4 < breakable.mean() < 0.6
    assert np.flatnonzero((arrays["success"] != breakable) & clear).tolist() == []
    samples = np.abs(arrays["sample_adversarial"] - arrays["sample_clean"])
    assert samples[:, WEIGHTS == 0].max() == 0


NEAREST = {"fab": "linf", "fmn": "l1", "ddn": "l2", "deepfool": "l2"}


@pytest.mark.parametrize(("name", "norm"), NEAREST.items())
def test_nearest_points_are_as_near_as_they_can_be_in_the_scale_of_the_budgets(name, norm):
    arguments = {"max_iter": 200 if name in ("fmn", "ddn") else 30}
    target, near = target_of("torch"), known(norm)
    _, arrays = attacked(AttackSpec(name, name, arguments), target, norm, EPS[norm])
    found = arrays["adversarial"]
    assert found.mean() > 0.9
    assert np.median(arrays[norm][found] / near[found]) == pytest.approx(1, abs=0.1)
    assert (arrays[norm][found] > near[found] * (1 - 1e-3)).all()


OTHERS = {
    "hop-skip-jump": ("linf", {"max_iter": 5, "max_eval": 200, "init_eval": 50}),
    "sparse-rs": ("l0", {"max_iter": 50}),
    "jsma": ("l0", {}),
    "newtonfool": ("l2", {"max_iter": 20}),
    "cw-l2": ("l2", {"max_iter": 20, "binary_search_steps": 2, "learning_rate": 0.1}),
    "elastic-net": ("l1", {"max_iter": 20, "binary_search_steps": 2, "learning_rate": 0.1}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_attacks_leave_immutable_features_alone(name):
    norm, arguments = OTHERS[name]
    target = target_of("torch").part(np.arange(6))
    eps = {"linf": 0.2, "l2": 0.5, "l1": 1.0, "l0": 3.0}[norm]
    record, arrays = attacked(AttackSpec(name, name, arguments), target, norm, eps)
    assert record["violations"] == {"budget": 0, "box": 0, "non_finite": 0}
    assert arrays["success"].any()
    changed = arrays["sample_adversarial"] != arrays["sample_clean"]
    assert not changed[:, WEIGHTS == 0].any()


@pytest.mark.parametrize("suite", ["quick", "standard", "autoattack"])
def test_a_suite_leaves_nothing_whole_that_can_be_broken(suite):
    target, near, robust = (
        target_of("torch", classes=2),
        known("linf", classes=2),
        np.ones(COUNT, bool),
    )
    eps = EPS_OF_TWO["linf"]
    applicable = load_suite(suite).applicable("linf", target.x.shape[1:], features=True)
    for spec in [spec for spec, reason in applicable if not reason]:
        few = replace(spec, examples=5) if spec.entry.rows == "one" else spec
        if spec.attack == "hop-skip-jump":
            few = replace(spec, examples=3, arguments={"max_iter": 3, "max_eval": 100})
        _, arrays = attacked(few, target, "linf", eps)
        robust &= ~arrays["success"]
    clear = np.abs(near / eps - 1) > 0.01
    assert (robust == (near > eps))[clear].all()


def test_weights_of_1_are_the_ordinary_threat():
    spec = AttackSpec("apgd", "apgd", {"max_iter": 20})
    ones, none = (target_of("torch", weights) for weights in (np.ones(len(WEIGHTS)), None))
    (_, with_ones), (_, without) = (attacked(spec, one, "linf", 0.04) for one in (ones, none))
    assert np.array_equal(with_ones["success"], without["success"])


POINTS = {
    "within its budget": ({2: 0.04, 1: 0.02}, True),
    "beyond it": ({1: 0.021}, False),
    "within a small one, to rounding": ({6: 0.002 + 1e-7}, True),
    "of an immutable feature": ({0: 1e-5, 2: 0.04}, False),
    "of an immutable feature, by rounding": ({0: 1e-7, 2: 0.04}, True),
}


@pytest.mark.parametrize(("moves", "counts"), POINTS.values(), ids=POINTS)
def test_a_change_counts_within_the_budget_of_each_feature_alone(moves, counts):
    x = np.full((1, len(WEIGHTS)), 0.5, np.float32)
    x_adv = x.copy()
    for place, by in moves.items():
        x_adv[0, place] += by
    wrong = np.array([[0.0, 1.0]])
    none = np.zeros(1, np.int64)
    found = measure(
        x, x_adv, wrong, clean_prediction=none, label=none, norm="linf", eps=0.04, weights=WEIGHTS
    )
    assert (found.success[0], found.violations["budget"]) == (counts, not counts)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_distances_are_those_of_the_features_divided_by_their_weights(norm):
    generator = np.random.default_rng(0)
    x, moved = generator.random((2, 5, len(WEIGHTS)))
    moved[:, WEIGHTS == 0] = x[:, WEIGHTS == 0]
    free = WEIGHTS > 0
    order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    expected = np.linalg.norm(((moved - x)[:, free]) / WEIGHTS[free], order, axis=1)
    assert distances(moved, x, norm, WEIGHTS) == pytest.approx(expected, rel=1e-4)


def test_an_attack_that_knows_no_such_budgets_is_left_out_with_the_reason():
    spec = AttackSpec("it", "universal", {})
    record, arrays = run_attack(spec, target_of("torch"), key="", norm="linf", eps=0.1, seed=0)
    assert record["status"] == "not-applicable"
    assert record["reason"] == "knows no budgets of single features"
    assert not arrays


def test_transfers_between_models_keep_to_the_budgets():
    one, near, eps = target_of("torch", classes=2), known("linf", classes=2), EPS_OF_TWO["linf"]
    pair = (one.estimator, one.estimator)
    fools = transfer(pair, one.x, one.y, norm="linf", eps=eps, seed=0, weights=WEIGHTS)
    clear = np.abs(near / eps - 1) > 0.05
    assert (fools[0, 1] == (near < eps))[clear].all()

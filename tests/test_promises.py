"""What a gradient promises is measured on models whose slopes are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmark.trust import promises
from benchmark.trust.subject import Subject

EPS, SHAPE, COUNT = 0.1, (4, 4, 1), 40
SLOPES = np.random.default_rng(1).choice([-1.0, 1.0], SHAPE)


class Linear:
    """Two logits that move with `slopes`; its gradients are what `told` makes of the true ones.

    `noticed` is added to an answer where a gradient is asked for, `level` to every one.
    """

    def __init__(self, told=lambda gradient: gradient, *, slopes=SLOPES, noticed=0.0, level=0.0):
        self.told, self.slopes, self.noticed, self.level = told, slopes, noticed, level
        self.asked = []

    def predict(self, x):
        self.asked.append(x)
        z = 1 + ((x.astype(np.float64) - 0.5) * self.slopes).reshape(len(x), -1).sum(axis=1)
        return np.stack([z, -z], axis=1) + self.level

    def loss_gradient(self, x, y):
        return np.zeros_like(x)

    def logits_and_gradient(self, x, weights):
        logits = self.predict(x)
        way = np.array(weights(logits, slice(None))) @ [1.0, -1.0]
        gradient = way.reshape(-1, *[1] * (x.ndim - 1)) * self.slopes
        return logits + self.noticed * np.array([1.0, -1.0]), self.told(gradient)


def subject(model, *, norm="linf", eps=EPS, weights=None, shape=SHAPE):
    x = np.random.default_rng(0).uniform(0.3, 0.7, (COUNT, *shape)).astype(np.float32)
    y = model.predict(x).argmax(axis=1)
    return Subject(model, model.predict, x, y, y, norm, eps, 0, [], weights=weights)


def half(gradient):
    """Without half of the pixels."""
    return gradient * (np.arange(4) < 2).reshape(1, 4, 1, 1)


def gaps(gradient):
    """No number at every fourth example."""
    return np.where(np.arange(COUNT) % 4, 1, np.nan).reshape(-1, 1, 1, 1) * gradient


# What is told of the gradient: its share that is kept, how much is left out and how near that is
# measured (where directions are drawn it is chance), and the verdict.
TOLD = {
    "all": (lambda g: g, 1, 0, 0.01, "passed"),
    "nearly twice": (lambda g: 1.95 * g, 1 / 1.95, 0.24, 0.01, "passed"),
    "more than twice": (lambda g: 2.05 * g, 1 / 2.05, 0.26, 0.01, "flagged"),
    "little more than half": (lambda g: g / 1.95, 1.95, 0.24, 0.01, "passed"),
    "less than half": (lambda g: g / 2.05, 2.05, 0.26, 0.01, "flagged"),
    "half of the pixels": (half, 1, 0.5, 0.25, "flagged"),
    "the opposite": (lambda g: -g, -1, 4, 0.01, "flagged"),
    "none of every fourth": (gaps, 1, 0.25, 0.13, "passed"),
}


@pytest.mark.parametrize(("told", "kept", "lacking", "within", "status"), TOLD.values(), ids=TOLD)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_small_steps_keep_what_the_gradient_says(told, kept, lacking, within, status, norm):
    eps = EPS if norm == "linf" else EPS * 4
    found = promises.keeps_its_promise(subject(Linear(told), norm=norm, eps=eps))
    assert found.status == status
    assert found.evidence["share_kept"] == pytest.approx(kept, rel=0.02)
    assert found.evidence["share_left_out"] == pytest.approx(lacking, abs=within)


def test_a_gradient_that_lacks_pixels_is_told_by_what_it_leaves_out():
    found = promises.keeps_its_promise(subject(Linear(half)))
    assert found.sentence.startswith("Gradients leave out ")
    assert found.evidence["examples"] == COUNT


def of_rows(slopes):
    """Along one pixel alone, so that random steps all meet the same slope; (COUNT,)."""
    return np.eye(1, 16).reshape(1, *SHAPE) * np.reshape(slopes, (-1, 1, 1, 1))


def without(rows):
    """No gradient at some of the examples."""
    return lambda gradient: gradient * (1 - np.isin(np.arange(COUNT), rows)).reshape(-1, 1, 1, 1)


STEEP = {number: np.where(np.arange(COUNT) < number, 10.0, 1.0) for number in (5, 7)}
# How steep each example is, how many lack a gradient, the share that this leaves out, the verdict.
LEFT_OUT = {
    "less than may be": (np.ones(COUNT), 11, 11 / 40, "passed"),
    "more": (np.ones(COUNT), 13, 13 / 40, "flagged"),
    "much, by a few": (STEEP[5], 5, 500 / 535, "passed"),
    "much, by some": (STEEP[7], 7, 700 / 733, "flagged"),
}


@pytest.mark.parametrize(("slopes", "number", "share", "status"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_is_left_out_is_told_where_it_is_much_and_sure(slopes, number, share, status):
    model = Linear(without(range(number)), slopes=of_rows(slopes))
    found = promises.keeps_its_promise(subject(model))
    assert found.evidence["share_left_out"] == pytest.approx(share, rel=1e-3)
    assert found.evidence["examples"] == COUNT - number
    assert found.status == status


@pytest.mark.parametrize(("low", "high"), [(0.3, 0.7), (0.0, 1.0)], ids=["inside", "at the edge"])
def test_points_lie_half_a_budget_from_the_examples_and_off_the_edges(low, high):
    """Where an input layer that clips, or rounds, is no excuse."""
    model, points = Linear(), []
    x = np.random.default_rng(3).choice([low, high], (COUNT, *SHAPE)).astype(np.float32)
    one = dataclasses.replace(subject(model), x=x, y=np.zeros(COUNT, int))
    one = dataclasses.replace(one, clean_prediction=one.y)
    asked = model.logits_and_gradient
    model.logits_and_gradient = lambda x, weights: points.append(x) or asked(x, weights)
    promises.keeps_its_promise(one)
    away = np.abs(points[0] - x)
    assert 0.45 * EPS < away.max() <= 0.5 * EPS + 1e-6
    assert (points[0].min() >= 0.05, points[0].max() <= 0.95) == (True, True)


SILENT = {
    "no slope": {"told": lambda g: 0 * g},
    "a slope below rounding": {"level": 1e5, "slopes": 1e-4 * SLOPES},
}


@pytest.mark.parametrize("model", SILENT.values(), ids=SILENT)
def test_of_no_promise_nothing_can_be_kept(model):
    found = promises.keeps_its_promise(subject(Linear(**model)))
    assert (found.status, found.sentence) == (
        "not-applicable",
        "No gradient promises anything.",
    )


class Restless(Linear):
    """Other answers to the same question."""

    def predict(self, x):
        return super().predict(x) + len(self.asked) % 2 * np.array([0.0, 3.0])


class Blind(Linear):
    """A model without gradients."""

    def loss_gradient(self, x, y):
        raise NotImplementedError("none")


@pytest.mark.parametrize("check", [promises.keeps_its_promise, promises.same_with_gradients])
@pytest.mark.parametrize(
    ("model", "told"),
    [(Restless(), "Outputs change by themselves"), (Blind(), "Asking for a gradient raised")],
    ids=["restless", "blind"],
)
def test_what_can_not_be_compared_is_told(check, model, told):
    found = check(subject(model))
    assert found.status == "not-applicable"
    assert found.sentence.startswith(told)


@pytest.mark.parametrize(("noticed", "status"), [(0.0, "passed"), (0.5, "flagged")])
def test_answers_are_the_same_where_a_gradient_is_asked_for(noticed, status):
    found = promises.same_with_gradients(subject(Linear(noticed=noticed)))
    assert (found.status, found.evidence["share_of_answers"]) == (status, float(noticed > 0))


def test_one_other_answer_is_enough():
    noticed = np.zeros((COUNT, 1))
    noticed[3] = 0.5
    found = promises.same_with_gradients(subject(Linear(noticed=noticed)))
    assert (found.status, found.evidence["share_of_answers"]) == ("flagged", 1 / COUNT)


def test_a_few_gradients_that_are_far_off_are_no_fault_of_all():
    """Such as where an example lies beside a bend."""

    def few(gradient):
        return np.where(np.arange(COUNT) % 8, 1, 1e-3).reshape(-1, 1, 1, 1) * gradient

    found = promises.keeps_its_promise(subject(Linear(few)))
    assert found.evidence["share_kept"] == pytest.approx(1, rel=1e-2)


@pytest.mark.parametrize(
    ("norm", "eps", "budget"), [("linf", 0.1, 0.1), ("l2", 0.8, 0.2), ("l1", 3.2, 0.2)]
)
def test_steps_are_a_small_share_of_what_a_pixel_may_change(norm, eps, budget):
    one = subject(Linear(slopes=SLOPES / 10), norm=norm, eps=eps)
    assert promises.pixel_budget(one) == pytest.approx(budget)
    start = promises._Start.at(one, one.probe)
    one.estimator.asked.clear()
    promised, kept = promises._along(one, start)
    (moved,) = one.estimator.asked
    steps = np.abs(moved - one.probe)
    assert steps.max() == pytest.approx(0.1 * budget, rel=1e-3)
    assert (promised <= 0.1 * np.abs(start.margin) * (1 + 1e-3)).all()
    np.testing.assert_allclose(kept, promised, rtol=1e-3)
    one.estimator.asked.clear()
    promises._left_out(one, start, np.random.default_rng(0))
    far = {round(float(np.abs(x - one.probe).max()) / budget, 3) for x in one.estimator.asked}
    assert far == set(promises.DISTANCES)
    assert len(one.estimator.asked) == 4 * promises.DIRECTIONS


def test_no_step_goes_beyond_a_tenth_of_the_margin():
    """Where a steep model is nearly undecided, whatever the budget."""
    one = subject(Linear(slopes=50 * SLOPES))
    start = promises._Start.at(one, one.probe)
    promised, _ = promises._along(one, start)
    near = np.abs(start.margin) < 50
    assert near.any()
    np.testing.assert_allclose(promised[near], 0.1 * np.abs(start.margin[near]), rtol=1e-2)


def test_each_feature_goes_as_far_as_its_own_budget_says():
    weights = np.array([1.0, 2.0, 0.0, 0.5])
    model = Linear(slopes=np.array([1.0, -1.0, 30.0, 1.0]))
    one = subject(model, weights=weights, shape=(4,))
    found = promises.keeps_its_promise(one)
    assert found.status == "passed"
    assert found.evidence["share_kept"] == pytest.approx(1, rel=0.01)
    start = promises._Start.at(one, one.probe)
    model.asked.clear()
    promises._along(one, start)
    promises._left_out(one, start, np.random.default_rng(0))
    for points in model.asked:
        steps = np.abs(points - one.probe)
        assert (steps[:, 2] == 0).all()
        np.testing.assert_allclose(steps / steps[:, :1], np.tile(weights, (COUNT, 1)), rtol=1e-3)

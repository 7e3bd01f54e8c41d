"""What a training costs: the passes that ran, memory, and the length that a budget buys."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402
from small_defenses import BUILDERS, SMALL, THREAT, build, data  # noqa: E402

import defenses  # noqa: E402
import defenses.generator.pytorch as generator_in_torch  # noqa: E402
from defenses.trial import EXAMPLES  # noqa: E402


class Counted(torch.autograd.Function):
    """The identity, which counts the examples that go through it forwards and backwards."""

    ran: ClassVar[dict[str, int]] = {}

    @staticmethod
    def forward(x):
        Counted.ran["forwards"] += len(x)
        return x.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        Counted.ran["backwards"] += len(gradient)
        return gradient

    @staticmethod
    def vmap(info, in_dims, x):
        tasks = x.movedim(in_dims[0], 0)  # (tasks, n, ...)
        return Counted.apply(tasks.flatten(0, 1)).unflatten(0, tasks.shape[:2]), 0


class Counter(torch.nn.Module):
    def forward(self, x):
        return Counted.apply(x)


@pytest.fixture
def _counted_generators(monkeypatch):
    """Passes through a generator count as those through the model."""
    generate = generator_in_torch.generate
    monkeypatch.setattr(
        generator_in_torch, "generate", lambda *given: Counted.apply(generate(*given))
    )


class KerasCounter(keras.layers.Layer):
    """`Counter` for Keras; the model that it is in trains one defense."""

    def __init__(self):
        super().__init__()
        self.ran = {"forwards": 0, "backwards": 0}

    def count(self, what, x):
        def run(size):
            self.ran[what] += int(size)

        with tf.control_dependencies([tf.numpy_function(run, [tf.shape(x)[0]], [])]):
            return tf.identity(x)

    def call(self, x):
        @tf.custom_gradient
        def counted(x):
            return self.count("forwards", x), lambda gradient: self.count("backwards", gradient)

        return counted(x)


def counting(framework):
    """A model, and the counts of what goes through it.

    Counted behind the first layer with weights, so that a pass back counts when it reaches all
    weights, or the input.
    """
    if framework == "torch":
        Counted.ran.update(forwards=0, backwards=0)
        first, *rest = build("torch")
        return torch.nn.Sequential(first, Counter(), *rest), Counted.ran
    counter = KerasCounter()
    flatten, first, *rest = build("tensorflow", (7,)).layers
    return keras.Sequential([keras.Input((7,)), flatten, first, counter, *rest]), counter.ran


HEAD = {"distribution": "few-way", "inner_loss": "clean", "support": 4, "query": 4, "ways": 2}
META = {
    "maml": {},
    "fomaml": {"algorithm": "fomaml"},
    "reptile": {"algorithm": "reptile"},
    "anil": {"algorithm": "anil"},
    "rates and all steps": {"learn_rates": True, "multi_step": 0.5},
    "crossed": {"inner_loss": "crossed"},
    "crossed, two optimisers": {"inner_loss": "crossed", "adversarial_rate": 0.01},
    "two optimisers": {"adversarial_rate": 0.01},
    "anil, two optimisers": {"algorithm": "anil", "adversarial_rate": 0.01},
    "clean support": {"inner_loss": "clean", "query_attack": "initial"},
    "trades": {"outer_loss": "trades"},
    "clean query": {"clean_weight": 1.0},
    "adversarial query": {"clean_weight": 0.0},
    "ridge": {**HEAD, "head": "ridge"},
    "centroid, trades": {**HEAD, "head": "centroid", "outer_loss": "trades"},
    "first of two phases": {**HEAD, "head": "centroid", "pretrain": 1.0},
    "mixture": {"distribution": "attacks,few-way", "support": 4, "query": 4, "ways": 2},
}


@pytest.mark.parametrize("framework", BUILDERS)
@pytest.mark.parametrize("case", META)
def test_the_cost_of_a_meta_step_is_that_of_the_passes_that_ran(case, framework):
    shape = {"torch": (6, 6, 1), "tensorflow": (7,)}[framework]
    x, y = data(shape)
    model, ran = counting(framework)
    defense = defenses.create("meta-adv", THREAT, {**SMALL["meta-adv"], **META[case]})

    fitted = defense.fit(model, x, y, budget_ge=int(defense.step_cost().gradient_evaluations) + 1)

    assert fitted.outcome.steps == 1
    # The model is tried before it is trained, and that is not counted.
    assert ran["forwards"] - EXAMPLES == fitted.cost.forwards
    # Differentiating an inner step goes back through it once more.
    assert ran["backwards"] == fitted.cost.backwards + fitted.cost.second_order


@pytest.mark.usefixtures("_counted_generators")
@pytest.mark.parametrize("name", SMALL)
def test_the_cost_is_that_of_the_passes_that_ran(name):
    x, y = data()
    model, _ = counting("torch")
    defense = defenses.create(name, THREAT, SMALL[name])

    fitted = defense.fit(model, x, y, budget_ge=int(defense.step_cost().gradient_evaluations) + 1)

    assert fitted.outcome.steps == 1
    # The model is tried before it is trained, and that is not counted.
    assert Counted.ran["forwards"] - EXAMPLES == fitted.cost.forwards
    # Differentiating an inner step goes back through its logits once more.
    assert Counted.ran["backwards"] == fitted.cost.backwards + fitted.cost.second_order


@pytest.mark.usefixtures("_counted_generators")
@pytest.mark.parametrize("name", SMALL)
def test_the_cost_of_watching_is_that_of_the_passes_that_ran(name):
    x, y = data()
    model, _ = counting("torch")
    defense = defenses.create(name, THREAT, {**SMALL[name], "on_overfit": "restore"})
    fitted = defense.fit(model, x, y, epochs=2, validation=(x, y))
    # Clean accuracy on validation data is looked at in every training, and not counted; nor is the
    # trial of the model.
    assert Counted.ran["forwards"] - 2 * len(x) - EXAMPLES == fitted.cost.forwards
    assert Counted.ran["backwards"] == fitted.cost.backwards + fitted.cost.second_order


def test_memory_grows_linearly_with_differentiated_inner_steps():
    def memory(**parameters):
        settings = {"tasks": 100, "support": 10, "query": 10, **parameters}
        defense = defenses.create("meta-adv", THREAT, settings)
        return defense.memory(weights=421_642, activations=60_000)

    one, two, five = (memory(inner_steps=steps) for steps in (1, 2, 5))
    assert five - two == pytest.approx(3 * (two - one))
    assert two > 1.05 * one
    assert memory(inner_steps=5, algorithm="fomaml") - memory(algorithm="fomaml") < (five - one) / 2
    assert five < 2e9 < memory(inner_steps=5, chunk=100)


class TestLength:
    def test_a_budget_is_never_exceeded(self):
        defense = defenses.create("pgd-at", THREAT, {"batch_size": 10, "attack_steps": 4})
        length = defense.length(100, budget_ge=1234)
        assert length.steps == 24  # an update costs 50
        assert length.epochs == 3
        assert length.gradient_evaluations == 1200

    def test_equal_budgets_buy_equal_work(self):
        budgets = {"eps_l2": 0.5, "eps_l1": 1.0}
        lengths = [
            defenses.create(
                name, THREAT, {k: v for k, v in budgets.items() if k in SMALL[name]}
            ).length(5000, budget_ge=100_000)
            for name in SMALL
        ]
        assert all(98_000 < length.gradient_evaluations <= 100_000 for length in lengths)

    def test_numbers_of_numpy_are_taken(self):
        defense = defenses.create("none", THREAT)
        assert defense.length(100, epochs=np.int64(2)) == defense.length(100, epochs=2)
        assert defense.length(300, budget_ge=np.float32(600)) == defense.length(300, budget_ge=600)

    def test_what_tasks_of_several_costs_are_expected_to_cost_is_a_number_of_python(self):
        settings = {"distribution": "subsets,attacks", "eps_l2": 0.5, "tasks": 2}
        length = defenses.create("meta-adv", THREAT, settings).length(100, budget_ge=9000)
        assert type(length.gradient_evaluations) is float
        assert 8000 < length.gradient_evaluations <= 9000

    @pytest.mark.parametrize("given", [{}, {"epochs": 1, "budget_ge": 9}])
    def test_needs_one_length(self, given):
        with pytest.raises(defenses.DefenseError, match="either epochs or a budget"):
            defenses.create("none", THREAT).length(100, **given)

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ({"epochs": -1}, "epochs must be at least 1, got -1"),
            ({"epochs": 0}, "epochs must be at least 1, got 0"),
            ({"budget_ge": 0}, "budget_ge must be at least 1, got 0"),
            ({"budget_ge": 5}, "a budget of 5 trains nothing"),
        ],
    )
    def test_refuses_to_train_nothing(self, given, told):
        with pytest.raises(defenses.DefenseError, match=told):
            defenses.create("none", THREAT).length(100, **given)

    def test_small_data_shrink_the_updates(self):
        assert defenses.create("none", THREAT).length(7, epochs=2).steps == 2

    def test_a_task_that_can_not_be_filled(self):
        with pytest.raises(defenses.DefenseError, match="lower support or query"):
            defenses.create("meta-adv", THREAT).length(7, epochs=2)

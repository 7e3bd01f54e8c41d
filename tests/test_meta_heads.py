"""Training for heads in closed form: gradients against finite differences, phases, refusals."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import torch  # noqa: E402
from tanh_networks import build, initial_weights, weights_of  # noqa: E402

import defenses  # noqa: E402
from defenses.heads import spec as heads  # noqa: E402
from defenses.subject import recognise  # noqa: E402

FRAMEWORKS = ("torch", "tensorflow")
INPUTS, WIDTH, CLASSES = 6, 5, 7
arrays = functools.partial(initial_weights, INPUTS, WIDTH, CLASSES, scale=0.7)
THREAT = defenses.Threat("linf", 0.1)
BASE = {
    "distribution": "few-way",
    "inner_loss": "clean",
    "ways": 3,
    "tasks": 2,
    "support": 6,
    "query": 6,
    "query_attack_steps": 2,
    "clean_weight": 0.3,
    "optimizer": "sgd",
    "nesterov": False,
    "head_penalty": 0.2,
    "head_scale": 4.0,
}


def create(**settings):
    return defenses.create("meta-adv", THREAT, {**BASE, **settings})


def examples(count=84):
    generator = np.random.default_rng(1)
    y = np.arange(count) % CLASSES
    centres = generator.random((CLASSES, INPUTS))
    x = 0.6 * centres[y] + 0.4 * generator.random((count, INPUTS))
    return x.astype(np.float32), y


def gradient_of(framework, defense, draws):
    """By what one step of rate 1 changes."""
    model = build(framework, arrays())
    kernel = defense.kernel(recognise(model))
    loss = kernel.step(draws, learning_rate=1.0, eps=THREAT.eps)
    return loss, [a - b for a, b in zip(arrays(), weights_of(model), strict=True)]


def cross_entropy(logits, y):
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -logs[np.arange(len(y)), y]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def ascent(losses_of, x, start):
    """Two signed steps of 1.25 eps each, their directions by finite differences."""
    eps = THREAT.eps
    x_adv = np.clip(x + eps * start.astype(float), 0, 1)
    for _ in range(2):
        slopes = np.empty_like(x)
        for pixel in range(INPUTS):
            change = 1e-6 * np.eye(INPUTS)[pixel]
            slopes[:, pixel] = losses_of(x_adv + change) - losses_of(x_adv - change)
        x_adv = np.clip(x_adv + 1.25 * eps * np.sign(slopes), x - eps, x + eps).clip(0, 1)
    return x_adv


def reference(weights, defense, draws, head_from=None):
    """The outer loss of all tasks; heads of other weights where these are given."""
    shots, total = defense.support, 0.0
    for x, y, start in zip(draws["x"].astype(float), draws["y"], draws["start"], strict=True):
        first, bias = weights[:2]
        from_first, from_bias = (head_from or weights)[:2]
        support = np.tanh(x[:shots] @ from_first + from_bias)
        head = heads.of(defense.head, support, y[:shots], 3, penalty=defense.head_penalty)
        column = head.weights[0]

        def losses(x, first=first, bias=bias, column=column, y=y):
            logits = defense.head_scale * unit(np.tanh(x @ first + bias)) @ column
            return cross_entropy(logits, y[shots:])

        query = x[shots:]
        x_adv = ascent(losses, query, start[shots:])
        clean = defense.clean_weight * losses(query).mean()
        total += clean + (1 - defense.clean_weight) * losses(x_adv).mean()
    return total / len(draws["x"])


def finite_differences(function, step=1e-5):
    found = []
    for index, array in enumerate(arrays()[:2]):
        gradient = np.empty_like(array)
        for place in np.ndindex(array.shape):
            sides = []
            for sign in (1, -1):
                moved = arrays()
                moved[index][place] += sign * step
                sides.append(function(moved))
            gradient[place] = (sides[0] - sides[1]) / (2 * step)
        found.append(gradient)
    return found


def distance(ours, theirs):
    largest = max(np.abs(value).max() for value in theirs)
    return max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True)) / largest


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("kind", heads.CLOSED_FORMS)
def test_the_gradient_goes_through_the_head_to_the_support(kind, framework):
    defense = create(head=kind)
    draws = defense.draw(np.random.default_rng(0), *examples())
    loss, (*found, of_head, of_bias) = gradient_of(framework, defense, draws)
    expected = finite_differences(lambda moved: reference(moved, defense, draws))
    assert float(loss) == pytest.approx(reference(arrays(), defense, draws), rel=1e-6)
    assert distance(found, expected) < 1e-6
    assert not of_head.any()
    assert not of_bias.any()
    # With the head as a constant it is another gradient.
    detached = finite_differences(lambda moved: reference(moved, defense, draws, arrays()))
    assert distance(detached, expected) > 1e-2


SETTINGS = {
    "centroid": {"head": "centroid"},
    "ridge, trades": {"head": "ridge", "outer_loss": "trades"},
    "two phases": {"head": "centroid", "pretrain": 0.5},
    "clean": {"head": "ridge", "clean_weight": 1.0},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_both_frameworks_take_the_same_steps(settings):
    defense = create(**settings, learning_rate=0.1)
    found = []
    for framework in FRAMEWORKS:
        model = build(framework, arrays())
        defense.fit(model, *examples(), epochs=2, seed=3)
        found.append(weights_of(model))
    assert np.abs(found[0][0] - arrays()[0]).max() > 1e-3
    assert distance(*found) < 1e-8


@pytest.mark.parametrize("tasks", [2, 3, 4, 5])
def test_the_first_phase_ends_where_it_should_and_costs_no_more(tasks):
    defense = create(head="centroid", pretrain=0.5, tasks=tasks, support=3, query=3)
    draws = defense.draw(np.random.default_rng(0), *examples())
    first, second = (defense.at(draws, done) for done in (0.49, 0.5))
    assert ("base" in first, "x" in first) == (True, False)
    assert ("base" in second, "x" in second) == (False, True)
    most = defense.step_cost().gradient_evaluations
    costs = [defense.cost_of(one).gradient_evaluations for one in (first, second)]
    assert costs[1] == pytest.approx(most)
    assert 0.8 * most < costs[0] <= most


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_adapting_fits_the_last_layer_to_a_clean_support(framework):
    defense = create(head="ridge")
    fitted = defense.resume(build(framework, arrays()))
    x, y = examples(28)
    adapted = fitted.adapt(x, y)
    features = np.tanh(x @ arrays()[0] + arrays()[1])
    head = heads.of("ridge", features, y, CLASSES, penalty=defense.head_penalty)
    expected = features @ head.weights[0] * defense.head_scale
    np.testing.assert_allclose(adapted.predict(x), expected, atol=1e-6)
    assert adapted.cost.gradient_evaluations == pytest.approx(28 / 3)
    np.testing.assert_allclose(weights_of(adapted.model)[0], arrays()[0])


REFUSED = {
    "subsets": ({"head": "ridge", "distribution": "subsets"}, "give distribution few-way"),
    "attacked support": ({"head": "ridge", "inner_loss": "adversarial"}, "give inner_loss clean"),
    "fomaml": ({"head": "centroid", "algorithm": "fomaml"}, "leave algorithm out"),
    "stopped early": ({"head": "centroid", "early_stopping": 2}, "leave early_stopping out"),
    "restored": ({"head": "ridge", "on_overfit": "restore"}, "give on_overfit warn"),
    "a linear head restored": ({"on_overfit": "restore"}, "give on_overfit warn"),
    "phases of a linear head": ({"pretrain": 0.5}, "give head centroid or ridge"),
    "unknown head": ({"head": "svm"}, "head must be one of linear, centroid, ridge"),
    "rotations of subsets": ({"distribution": "subsets", "rotations": True}, "other classes of"),
}


@pytest.mark.parametrize(("settings", "told"), REFUSED.values(), ids=REFUSED)
def test_what_means_nothing_is_refused(settings, told):
    with pytest.raises(defenses.DefenseError, match=told):
        create(**settings)


UNFIT = {
    "torch changes logits": (
        lambda: torch.nn.Sequential(
            torch.nn.Linear(INPUTS, WIDTH), torch.nn.Linear(WIDTH, CLASSES), torch.nn.Softplus()
        ),
        "ends in torch.nn.Linear",
    ),
    "torch one layer": (lambda: torch.nn.Linear(INPUTS, CLASSES), "give a deeper model"),
    "tensorflow one layer": (
        lambda: keras.Sequential([keras.Input((INPUTS,)), keras.layers.Dense(CLASSES)]),
        "give a deeper model",
    ),
}


@pytest.mark.parametrize(("make", "told"), UNFIT.values(), ids=UNFIT)
def test_a_model_that_no_head_can_be_trained_for_is_refused_before_training(make, told):
    x, y = examples()
    with pytest.raises(defenses.DefenseError, match=told):
        create(head="ridge").fit(make(), x, y, epochs=1)


def test_parameters_of_heads_leave_other_trainings_as_they_were():
    recorded = defenses.create("meta-adv", THREAT, {}).parameters()
    assert not {"head", "head_penalty", "head_scale", "rotations", "pretrain"} & set(recorded)

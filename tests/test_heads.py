"""Heads on features: references in NumPy, finite differences, and attacks that go through them."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402

import defenses  # noqa: E402
from defenses.heads import spec  # noqa: E402
from defenses.perturbation.spec import pgd  # noqa: E402
from defenses.subject import recognise  # noqa: E402

FRAMEWORKS = ("torch", "tensorflow")
WAYS, SHOTS, WIDTH = 3, 2, 7
Y = np.repeat(np.arange(WAYS), SHOTS)
PENALTY = 0.3


def features(*leading, seed=0):
    return np.random.default_rng(seed).standard_normal((*leading, len(Y), WIDTH))


def in_framework(framework, kind, rows):
    """The closed form of one support in a framework, (d, ways)."""
    module = importlib.import_module(frameworks.HEADS[framework])
    tensor = torch.tensor(rows) if framework == "torch" else tf.constant(rows)
    labels = torch.tensor(Y) if framework == "torch" else tf.constant(Y)
    return np.asarray(module.closed_form(kind, tensor, labels, WAYS, penalty=PENALTY))


def reference(kind, rows):
    """Class by class, and as a system of the size of the features."""
    rows = np.array([row / np.linalg.norm(row) for row in rows])
    if kind == "ridge":
        targets = np.array([[float(label == k) for k in range(WAYS)] for label in Y])
        return np.linalg.solve(rows.T @ rows + PENALTY * np.eye(WIDTH), rows.T @ targets)
    means = [rows[k == Y].sum(axis=0) / SHOTS for k in range(WAYS)]
    return np.stack([mean / np.linalg.norm(mean) for mean in means], axis=1)


@pytest.mark.parametrize("kind", spec.CLOSED_FORMS)
def test_heads_of_many_supports_are_those_of_each(kind):
    settings = {"penalty": PENALTY} if kind == "ridge" else {}
    several = features(4)
    found = spec.FIT[kind](several, Y, WAYS, **settings)
    expected = np.stack([reference(kind, rows) for rows in several])
    np.testing.assert_allclose(found.weights, expected, atol=1e-9)
    assert found.unit
    assert not found.biases.any()


@pytest.mark.parametrize("kind", spec.CLOSED_FORMS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_closed_forms_are_those_of_the_reference(framework, kind):
    found = in_framework(framework, kind, features())
    np.testing.assert_allclose(found, reference(kind, features()), atol=1e-9)


@pytest.mark.parametrize("kind", spec.CLOSED_FORMS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_gradients_go_through_the_closed_form_to_the_support(framework, kind):
    rows, weights = features(), features(seed=1).T[:, :WAYS]
    module = importlib.import_module(frameworks.HEADS[framework])
    if framework == "torch":
        leaf = torch.tensor(rows, requires_grad=True)
        head = module.closed_form(kind, leaf, torch.tensor(Y), WAYS, penalty=PENALTY)
        (head * torch.tensor(weights)).sum().backward()
        gradient = leaf.grad.numpy()
    else:
        leaf = tf.constant(rows)
        with tf.GradientTape() as tape:
            tape.watch(leaf)
            head = module.closed_form(kind, leaf, tf.constant(Y), WAYS, penalty=PENALTY)
            total = tf.reduce_sum(head * weights)
        gradient = tape.gradient(total, leaf).numpy()

    def value(at):
        return (reference(kind, at) * weights).sum()

    expected, step = np.empty_like(rows), 1e-6
    for place in np.ndindex(rows.shape):
        change = np.zeros_like(rows)
        change[place] = step
        expected[place] = (value(rows + change) - value(rows - change)) / (2 * step)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_large_features_are_brought_to_unit_length_with_their_gradient(framework):
    """Their squares overflow in float32: answers would be 0, and no attack would find a way."""
    rows = features().astype(np.float32)
    module = importlib.import_module(frameworks.HEADS[framework])

    def unit_and_gradient(scale):
        if framework == "torch":
            leaf = torch.tensor(rows, requires_grad=True)
            found = module.unit(scale * leaf)
            found[:, 0].sum().backward()
            return found.detach().numpy(), leaf.grad.numpy()
        leaf = tf.constant(rows)
        with tf.GradientTape() as tape:
            tape.watch(leaf)
            found = module.unit(scale * leaf)
            total = tf.reduce_sum(found[:, 0])
        return found.numpy(), tape.gradient(total, leaf).numpy()

    expected = unit_and_gradient(1.0)
    for found, wanted in zip(unit_and_gradient(1e25), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_linear_head_is_that_of_plain_gradient_descent():
    rows = features()
    weights, bias = np.zeros((WIDTH, WAYS)), np.zeros(WAYS)
    rate = 0.5
    for _ in range(3):
        logits = rows @ weights + bias
        wrong = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True) - np.eye(WAYS)[Y]
        of_weights = rate / np.mean([row @ row for row in rows])
        weights = weights - of_weights * rows.T @ wrong / len(Y)
        bias = bias - rate * wrong.mean(axis=0)
    found = spec.linear(rows[None], Y, WAYS, steps=3, rate=0.5)
    np.testing.assert_allclose(found.weights[0], weights, atol=1e-12)
    np.testing.assert_allclose(found.biases[0], bias, atol=1e-12)


@pytest.mark.parametrize("kind", ["centroid", "ridge", "linear"])
def test_the_scale_of_features_changes_no_answer(kind):
    """Small features were answered by a bias that went up and down with them."""
    settings = {"centroid": {}, "ridge": {"penalty": 1.0}, "linear": {"steps": 100, "rate": 3.0}}
    rows = features()
    expected = spec.FIT[kind](rows[None], Y, WAYS, **settings[kind]).logits(rows[None])
    for scale in (0.01, 100.0):
        heads = spec.FIT[kind](scale * rows[None], Y, WAYS, **settings[kind])
        np.testing.assert_allclose(heads.logits(scale * rows[None]), expected, atol=1e-8)


def body(framework, arrays):
    """Of a network dense tanh, dense in float64."""
    threat = defenses.Threat("linf", 0.1)
    if framework == "torch":
        layers = [torch.nn.Linear(5, WIDTH), torch.nn.Tanh(), torch.nn.Linear(WIDTH, 4)]
        model = torch.nn.Sequential(*layers).double()
        with torch.no_grad():
            for parameter, array in zip(model.parameters(), arrays, strict=True):
                parameter.copy_(torch.tensor(array.T))
    else:
        model = keras.Sequential(
            [
                keras.Input((5,), dtype="float64"),
                keras.layers.Dense(WIDTH, activation="tanh", dtype="float64"),
                keras.layers.Dense(4, dtype="float64"),
            ]
        )
        model.set_weights(arrays)
    kernel = defenses.create("none", threat).kernel(recognise(model))
    return importlib.import_module(frameworks.HEADS[framework]).Body(kernel)


@pytest.fixture
def arrays():
    generator = np.random.default_rng(5)
    return [generator.standard_normal(shape) for shape in ((5, WIDTH), WIDTH, (WIDTH, 4), 4)]


def hidden(x, arrays):
    return np.tanh(x @ arrays[0] + arrays[1])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_features_are_the_input_of_the_last_layer(framework, arrays):
    x = np.random.default_rng(1).random((3, 5))
    made = body(framework, arrays)
    np.testing.assert_allclose(made.features(x), hidden(x, arrays), atol=1e-9)
    np.testing.assert_allclose(made.own(2).weights[0], arrays[2][:, :2])


@pytest.mark.parametrize("kind", spec.CLOSED_FORMS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_attacks_go_through_the_head_of_each_episode(framework, kind, arrays):
    """One signed step is along finite differences of the loss of that episode's head."""
    generator = np.random.default_rng(2)
    settings = {"penalty": PENALTY} if kind == "ridge" else {}
    heads = spec.FIT[kind](features(2), Y, WAYS, **settings).scaled(3.0)
    x, y = 0.3 + 0.4 * generator.random((6, 5)), np.tile(np.arange(3), 2)

    def losses(x):
        logits = heads.logits(hidden(x, arrays).reshape(2, 3, WIDTH)).reshape(6, WAYS)
        return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(6), y]

    signs = np.empty_like(x)
    for pixel in range(5):
        change = 1e-6 * np.eye(5)[pixel]
        signs[:, pixel] = np.sign(losses(x + change) - losses(x - change))
    found = body(framework, arrays).attack(
        x, y, np.zeros_like(x), heads, eps=0.1, ascent=pgd("linf", 1, 1.0)
    )
    np.testing.assert_allclose(found, x + 0.1 * signs, atol=1e-7)


@pytest.mark.parametrize("factor", [1e-5, 1.0, 1e5])
def test_logits_are_as_far_apart_as_asked_whatever_head_gives_them(factor):
    x, first = features(2), spec.centroid(features(2), Y, WAYS)
    found = first.scaled(factor).spread(10.0, x)
    logits = found.logits(x)
    np.testing.assert_allclose(logits.std(axis=-1).mean(axis=-1), [10.0, 10.0])
    assert np.array_equal(logits.argmax(axis=-1), first.logits(x).argmax(axis=-1))
    np.testing.assert_allclose(logits, first.spread(10.0, x).logits(x))


def test_biases_are_spread_with_the_weights():
    """A head of large biases answers as before."""
    x = features(2)
    heads = spec.Heads(
        features(2)[:, :WAYS].swapaxes(1, 2), np.tile([5.0, 0.0, -5.0], (2, 1)), False
    )
    found = heads.spread(10.0, x)
    factors = spec.spreading(10.0, heads.logits(x))
    np.testing.assert_allclose(found.logits(x), factors[:, None, None] * heads.logits(x))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_body_attacks_each_head_as_if_it_had_met_no_other(framework, arrays):
    """Of unit features or of features, and by as many steps as are asked for."""
    generator = np.random.default_rng(2)
    x, y = generator.random((6, 5)), np.tile(np.arange(3), 2)
    heads = [
        spec.centroid(features(2), Y, WAYS),
        spec.linear(features(2), Y, WAYS, steps=9, rate=1),
    ]
    cases = [(head, pgd("linf", steps)) for head in heads for steps in (1, 6)]
    shared = body(framework, arrays)

    def attack(made, head, ascent):
        return made.attack(x, y, np.zeros_like(x), head, eps=0.3, ascent=ascent)

    found = [attack(shared, *case) for case in cases]
    for ours, case in zip(found, cases, strict=True):
        np.testing.assert_array_equal(ours, attack(body(framework, arrays), *case))
    assert len({one.tobytes() for one in found}) == len(cases)


def test_a_last_layer_without_biases_is_a_head_without_them():
    torch_model = torch.nn.Sequential(torch.nn.Linear(5, 4, bias=False))
    dense = keras.layers.Dense(4, use_bias=False)
    for model in (torch_model, keras.Sequential([keras.Input((5,)), dense])):
        subject = recognise(model)
        kernel = defenses.create("none", defenses.Threat("linf", 0.1)).kernel(subject)
        made = importlib.import_module(frameworks.HEADS[subject.framework]).Body(kernel)
        x = np.random.default_rng(0).random((3, 5)).astype(np.float32)
        logits = made.own(4).logits(made.features(x)[None])[0]
        np.testing.assert_allclose(logits, kernel.predict(x), atol=1e-5)
        made.put(spec.centroid(features(1)[..., :5], Y, 4))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_head_that_tells_nothing_apart_stays_as_it_is(value):
    heads = spec.Heads(np.full((1, WIDTH, WAYS), value), np.zeros((1, WAYS)), unit=True)
    found = heads.spread(10.0, features(1))
    assert np.array_equal(found.weights, heads.weights, equal_nan=True)


def test_a_row_that_is_not_finite_changes_no_other_rows_scale():
    logits = np.random.default_rng(5).normal(size=(2, 6, WAYS))
    broken = logits.copy()
    broken[0, 2], broken[1, :] = np.inf, np.nan
    without = np.delete(logits, 2, axis=1)
    found = spec.spreading(10.0, broken)
    assert found[0] == pytest.approx(spec.spreading(10.0, without)[0])
    assert found[1] == 1.0


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_features_that_are_not_finite_are_no_change_of_the_last_layer(framework, arrays):
    made, x = body(framework, arrays), np.full((3, 5), np.nan)
    assert np.isnan(made.features(x)).all()
    x[1] = 0.5
    assert np.isfinite(made.features(x)).all(axis=1).tolist() == [False, True, False]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_fine_tuning_moves_all_weights_and_a_head_from_zero(framework, arrays):
    x = np.random.default_rng(3).random((len(Y), 5))
    made = body(framework, arrays)
    heads = made.descend(x, Y, WAYS, steps=2, rate=0.5)
    first, bias, head, offset = arrays[0], arrays[1], np.zeros((WIDTH, WAYS)), np.zeros(WAYS)
    for _ in range(2):
        rows = np.tanh(x @ first + bias)
        logits = rows @ head + offset
        wrong = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True) - np.eye(WAYS)[Y]
        wrong /= len(Y)
        back = (wrong @ head.T) * (1 - rows**2)
        head, offset = head - 0.5 * rows.T @ wrong, offset - 0.5 * wrong.sum(axis=0)
        first, bias = first - 0.5 * x.T @ back, bias - 0.5 * back.sum(axis=0)
    np.testing.assert_allclose(heads.weights[0], head, atol=1e-9)
    np.testing.assert_allclose(heads.biases[0], offset, atol=1e-9)
    np.testing.assert_allclose(made.features(x), np.tanh(x @ first + bias), atol=1e-9)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_body_with_a_head_is_a_model_of_its_logits(framework, arrays):
    made = body(framework, arrays)
    heads = spec.centroid(features(1), Y, WAYS).scaled(4.0)
    x = np.random.default_rng(4).random((3, 5))
    model = made.with_head(heads)
    found = model(torch.tensor(x)) if framework == "torch" else model(tf.constant(x))
    expected = heads.logits(hidden(x, arrays)[None])[0]
    np.testing.assert_allclose(np.asarray(found.detach() if framework == "torch" else found),
                               expected, atol=1e-9)  # fmt: skip


class Changed(torch.nn.Module):
    """Does something to what its last dense layer gives."""

    def __init__(self, change):
        super().__init__()
        self.change, self.dense = change, torch.nn.Linear(5, 4)

    def forward(self, x):
        return self.change(self.dense(x))


@pytest.mark.parametrize(
    "change", [torch.tanh, lambda logits: logits[:, :3]], ids=["squashed", "cut"]
)
def test_a_model_that_changes_what_its_last_layer_gives_has_no_read_outs(change):
    kernel = defenses.create("none", defenses.Threat("linf", 0.1)).kernel(
        recognise(Changed(change))
    )
    made = importlib.import_module(frameworks.HEADS["torch"]).Body(kernel)
    with pytest.raises(defenses.DefenseError, match="is changed here, or not used"):
        made.features(np.random.default_rng(0).random((3, 5)).astype(np.float32))


@pytest.mark.parametrize(
    "model",
    [torch.nn.Conv2d(1, 2, 3), keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])],
    ids=FRAMEWORKS,
)
def test_a_model_without_a_dense_last_layer_has_no_read_outs(model):
    framework = "torch" if isinstance(model, torch.nn.Module) else "tensorflow"
    module = importlib.import_module(frameworks.HEADS[framework])
    with pytest.raises(defenses.DefenseError, match="last dense layer"):
        module.last_dense(model)


@pytest.mark.parametrize(
    ("make", "name"), [(lambda: "relu", "relu"), (keras.layers.LeakyReLU, "LeakyReLU")]
)
def test_an_activation_of_the_last_dense_layer_changes_what_it_gives(make, name):
    layers = [keras.Input((5,)), keras.layers.Dense(4, activation=make())]
    module = importlib.import_module(frameworks.HEADS["tensorflow"])
    with pytest.raises(defenses.DefenseError, match=f"changed by its activation {name};"):
        module.last_dense(keras.Sequential(layers))

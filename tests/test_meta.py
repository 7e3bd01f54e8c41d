"""The meta-gradient of every algorithm against finite differences, closed forms and each other."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402
from tanh_networks import CLASSES, INPUTS, build, initial_weights  # noqa: E402

import defenses  # noqa: E402
import defenses.meta.inner.pytorch as inner_in_torch  # noqa: E402
import defenses.meta.inner.tensorflow as inner_in_tensorflow  # noqa: E402
from defenses.meta.chunk.pytorch import Chunk  # noqa: E402
from defenses.meta.steps import step_weights  # noqa: E402
from defenses.subject import recognise  # noqa: E402

FRAMEWORKS = ("torch", "tensorflow")
SHOTS, QUERIES = 6, 8
BASE = {
    "tasks": 1,
    "support": SHOTS,
    "query": QUERIES,
    "inner_steps": 3,
    "inner_rate": 0.7,
    "clean_weight": 0.3,
}


def task():
    """Inputs, labels, and an adversarial support that is no matter of chance."""
    generator = np.random.default_rng(9)
    x = generator.random((SHOTS + QUERIES, INPUTS))
    y = generator.integers(0, CLASSES, SHOTS + QUERIES)
    return x, y, (x[:SHOTS] + 0.2 * generator.normal(size=(SHOTS, INPUTS))).clip(0, 1)


def meta_gradient(kernel, task, weights_of_steps):
    """Loss, parts and rates of one task; a budget of zero leaves the queries where they are."""
    x, y, support_adv = task
    start = np.zeros_like(x)
    attack = kernel.defense.task_distribution.attacks[0]
    if isinstance(kernel.model, torch.nn.Module):
        tensors = [torch.tensor(value)[None] for value in (x, y, support_adv, start)]
        chunk = Chunk(*tensors, noise=None, eps=torch.zeros(1, dtype=torch.float64), attack=0)
        found = kernel.meta_gradient(chunk, weights_of_steps)
        parts = [[value.numpy().T for value in part] for part in found.parts]
        return found.loss, parts, None if found.rates is None else found.rates.numpy()
    run = tf.function(functools.partial(kernel.meta_gradient, attack))
    arrays = (weights_of_steps, x, y, support_adv, start, np.zeros(QUERIES), np.zeros(()))
    loss, *rest = (value.numpy() for value in run(*(tf.constant(value) for value in arrays)))
    parts = [rest[4 * part : 4 * part + 4] for part in range(kernel.parts)]
    return float(loss), parts, rest[4 * kernel.parts] if kernel.learned_variables else None


def kernel_of(framework, settings, log_rates=None):
    defense = defenses.create("meta-adv", defenses.Threat("linf", 0.1), {**BASE, **settings})
    kernel = defense.kernel(recognise(build(framework)))
    if log_rates is not None:
        kernel.load_learned({"log_rates": log_rates})
    return kernel


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def loss_and_gradient(weights, x, y):
    """Mean cross-entropy and its gradient, by hand."""
    w1, b1, w2, b2 = weights
    hidden = np.tanh(x @ w1 + b1)
    p = softmax(hidden @ w2 + b2)
    loss = -np.log(p[np.arange(len(y)), y]).mean()
    error = p.copy()
    error[np.arange(len(y)), y] -= 1
    error /= len(y)
    back = (error @ w2.T) * (1 - hidden**2)
    return loss, [x.T @ back, back.sum(0), hidden.T @ error, error.sum(0)]


def adapted(weights, log_rates, x, y, defense):
    """Step 2: theta_1 .. theta_K."""
    steps = []
    for _ in range(defense.inner_steps):
        gradient = loss_and_gradient(weights, x, y)[1]
        rates = defense.inner_rate * np.exp(np.repeat(log_rates, 2))
        if defense.algorithm == "anil":
            rates = np.array([0, 0, *rates[:2]])
        weights = [w - rate * g for w, rate, g in zip(weights, rates, gradient, strict=True)]
        steps.append(weights)
    return steps


def outer_loss(weights, log_rates, defense, weights_of_steps):
    """Steps 2 and 4; queries are not moved, so that both their parts are the same points."""
    x, y, support_adv = task()
    labels, query, of_query = y[:SHOTS], x[SHOTS:], y[SHOTS:]
    inputs = {"adversarial": [support_adv], "clean": [x[:SHOTS]]}
    inputs["crossed"] = [x[:SHOTS], support_adv]
    loops = [adapted(weights, log_rates, s, labels, defense) for s in inputs[defense.inner_loss]]
    total = 0.0
    for k, weight in enumerate(weights_of_steps):
        clean = loss_and_gradient(loops[-1][k], query, of_query)[0]
        adversarial = loss_and_gradient(loops[0][k], query, of_query)[0]
        w = defense.clean_weight
        total += weight * (w * clean + (1 - w) * adversarial)
    return total


def finite_differences(function, arrays, step=1e-5):
    gradients = []
    for index, array in enumerate(arrays):
        gradient = np.zeros_like(array)
        for position in np.ndindex(array.shape):
            moved = []
            for sign in (1, -1):
                other = [value.copy() for value in arrays]
                other[index][position] += sign * step
                moved.append(function(other))
            gradient[position] = (moved[0] - moved[1]) / (2 * step)
        gradients.append(gradient)
    return gradients


def distance(ours, theirs):
    """The largest difference, relative to the largest entry."""
    largest = max(np.abs(value).max() for value in theirs)
    return max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True)) / largest


SECOND_ORDER = {
    "maml": {},
    "maml, clean support": {"inner_loss": "clean"},
    "maml, crossed": {"inner_loss": "crossed"},
    "maml, rates": {"learn_rates": True},
    "maml, all steps": {"multi_step": 0.5},
    "anil": {"algorithm": "anil"},
    "anil, rates": {"algorithm": "anil", "learn_rates": True},
}


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("case", SECOND_ORDER)
def test_second_order_is_that_of_finite_differences(case, framework):
    settings = SECOND_ORDER[case]
    anil, learned = settings.get("algorithm") == "anil", settings.get("learn_rates", False)
    log_rates = np.array([0.3, -0.2][: 1 if anil else 2]) * learned
    kernel = kernel_of(framework, settings, log_rates.tolist() if learned else None)
    weights_of_steps = step_weights(3, settings.get("multi_step", 0.0), done=0.25)

    loss, (gradient,), rates = meta_gradient(kernel, task(), weights_of_steps)

    def function(arrays):
        return outer_loss(arrays[:4], arrays[4], kernel.defense, weights_of_steps)

    arrays = [*initial_weights(), log_rates]
    *expected, by_rates = finite_differences(function, arrays)
    assert loss == pytest.approx(function(arrays), rel=1e-12)
    assert distance(gradient, expected) < 1e-7
    if learned:
        assert distance([rates], [by_rates]) < 1e-7
    # The same weights in first order are something else.
    if not anil:
        first = kernel_of(framework, {**settings, "algorithm": "fomaml"}, log_rates.tolist())
        _, (detached,), _ = meta_gradient(first, task(), weights_of_steps)
        assert distance(detached, expected) > 1e-2


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("multi_step", [0.0, 0.5])
def test_first_order_is_the_detached_form(multi_step, framework):
    """The query's gradients at the adapted weights, and the rates' by the inner product."""
    settings = {"algorithm": "fomaml", "learn_rates": True, "multi_step": multi_step}
    log_rates = np.array([0.3, -0.2])
    kernel = kernel_of(framework, settings, log_rates.tolist())
    weights_of_steps = step_weights(3, multi_step, done=0.25)

    _, (gradient,), rates = meta_gradient(kernel, task(), weights_of_steps)

    x, y, support_adv = task()
    weights = initial_weights()
    expected = [np.zeros_like(value) for value in weights]
    by_rates = np.zeros(2)
    steps = adapted(weights, log_rates, support_adv, y[:SHOTS], kernel.defense)
    for weight, at in zip(weights_of_steps, steps, strict=True):
        for index, value in enumerate(loss_and_gradient(at, x[SHOTS:], y[SHOTS:])[1]):
            expected[index] += weight * value
            by_rates[index // 2] += weight * ((at[index] - weights[index]) * value).sum()
    assert distance(gradient, expected) < 1e-12
    assert distance([rates], [by_rates]) < 1e-12


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("algorithm", ["maml", "fomaml"])
def test_one_step_s_rates_follow_from_the_product_of_both_gradients(algorithm, framework):
    """dL / da = - g_support g_query, summed over the layer; a = inner_rate exp(s)."""
    settings = {"algorithm": algorithm, "learn_rates": True, "inner_steps": 1}
    kernel = kernel_of(framework, settings, [0.0, 0.0])

    _, _, rates = meta_gradient(kernel, task(), np.ones(1))

    x, y, support_adv = task()
    weights = initial_weights()
    of_support = loss_and_gradient(weights, support_adv, y[:SHOTS])[1]
    moved = [w - BASE["inner_rate"] * g for w, g in zip(weights, of_support, strict=True)]
    of_query = loss_and_gradient(moved, x[SHOTS:], y[SHOTS:])[1]
    products = [-(a * b).sum() for a, b in zip(of_support, of_query, strict=True)]
    expected = BASE["inner_rate"] * np.array([sum(products[:2]), sum(products[2:])])
    assert rates == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_two_optimisers_get_the_two_parts(framework):
    kernel = kernel_of(framework, {"adversarial_rate": 0.01, "inner_loss": "crossed"})
    whole = kernel_of(framework, {"inner_loss": "crossed"})

    _, (clean, adversarial), _ = meta_gradient(kernel, task(), np.eye(3)[-1])
    _, (mixed,), _ = meta_gradient(whole, task(), np.eye(3)[-1])

    joined = [0.3 * one + 0.7 * other for one, other in zip(clean, adversarial, strict=True)]
    assert distance(joined, mixed) < 1e-12
    assert distance(clean, adversarial) > 0.01


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_reptile_on_a_quadratic_is_its_closed_form(framework, monkeypatch):
    """Of |x W - onehot|^2 / 2n: theta_K = W* + (I - a H)^K (theta - W*), H = x'x / n."""
    generator = np.random.default_rng(0)
    x, y = generator.random((20, 5)), generator.integers(0, 3, 20)
    weights = generator.normal(size=(5, 3))
    steps, rate = 4, 0.3
    settings = {**BASE, "support": 8, "query": 12, "inner_steps": steps, "inner_rate": rate}
    settings |= {"algorithm": "reptile"}
    defense = defenses.create("meta-adv", defenses.Threat("linf", 0.1), settings)
    if framework == "torch":
        model = torch.nn.Linear(5, 3, bias=False).double()
        with torch.no_grad():
            model.weight.copy_(torch.tensor(weights.T))

        def quadratic(logits, labels):
            wanted = torch.nn.functional.one_hot(labels, 3)
            return ((logits - wanted) ** 2).sum() / (2 * len(logits))

        monkeypatch.setattr(inner_in_torch, "cross_entropy", quadratic)
    else:
        layers = [keras.Input((5,), dtype="float64")]
        layers.append(keras.layers.Dense(3, use_bias=False, dtype="float64"))
        model = keras.Sequential(layers)
        model.set_weights([weights])

        def quadratic(logits, labels):
            wanted = tf.one_hot(labels, 3, dtype=logits.dtype)
            return tf.reduce_sum((logits - wanted) ** 2) / (2 * 20)

        monkeypatch.setattr(inner_in_tensorflow, "cross_entropy", quadratic)
    kernel = defense.kernel(recognise(model))

    if framework == "torch":
        chunk = Chunk(*(torch.tensor(v)[None] for v in (x, y, x, x)), None, torch.zeros(1), 0)
        (found,) = kernel.meta_gradient(chunk, np.ones(steps)).parts[0]
        found = found.numpy().T
    else:
        arrays = (np.ones(steps), x, y, x, x, np.zeros(1), np.zeros(()))
        attack = defense.task_distribution.attacks[0]
        found = kernel.meta_gradient(attack, *(tf.constant(value) for value in arrays))[1].numpy()

    hessian = x.T @ x / 20
    best = np.linalg.solve(hessian, x.T @ np.eye(3)[y] / 20)
    last = best + np.linalg.matrix_power(np.eye(5) - rate * hessian, steps) @ (weights - best)
    assert np.abs(found - (weights - last)).max() < 1e-12
    assert np.abs(found).max() > 0.1


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_anil_s_inner_loop_moves_the_head_alone(framework):
    kernel = kernel_of(framework, {"algorithm": "anil", "learn_rates": True}, [0.5])
    x, y, _ = task()
    if framework == "torch":
        loop = kernel.inner.adapt(torch.tensor(x)[None], torch.tensor(y)[None])
        assert list(loop.steps[-1]) == ["2.weight", "2.bias"]
        moved = [value.detach().numpy()[0].T for value in loop.steps[-1].values()]
    else:
        with tf.GradientTape() as tape:
            steps = kernel.inner.adapt(tf.constant(x), tf.constant(y), tape).steps
        arrays = [np.asarray(value) for value in steps[-1]]
        before = kernel.model.get_weights()
        assert all(np.array_equal(arrays[index], before[index]) for index in (0, 1))
        moved = arrays[2:]
    expected = adapted(initial_weights(), np.array([0.5]), x, y, kernel.defense)[-1][2:]
    assert distance(moved, expected) < 1e-12
    # The adaptation after training moves the head at its learned rate too.
    assert kernel.rate_factors() == pytest.approx([0, 0, np.exp(0.5), np.exp(0.5)])


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(("algorithm", "log_rates"), [("maml", [0.3, -0.2]), ("anil", [0.5])])
def test_adapting_after_training_takes_the_learned_rates(algorithm, log_rates, framework):
    kernel = kernel_of(framework, {"algorithm": algorithm, "learn_rates": True}, log_rates)
    x, y, _ = task()
    kernel.descend(x, y, steps=3, rate=BASE["inner_rate"])
    if framework == "torch":
        moved = [value.detach().numpy().T for value in kernel.model.parameters()]
    else:
        moved = kernel.model.get_weights()
    expected = adapted(initial_weights(), np.array(log_rates), x, y, kernel.defense)[-1]
    assert distance(moved, expected) < 1e-12


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"algorithm": "fomaml", "learn_rates": True, "multi_step": 0.5, "inner_steps": 2},
        {"algorithm": "reptile"},
        {"algorithm": "anil", "adversarial_rate": 0.01},
        {"inner_loss": "crossed"},
    ],
    ids=["maml", "fomaml", "reptile", "anil", "crossed"],
)
def test_chunks_don_t_change_the_meta_gradient(settings):
    generator = np.random.default_rng(0)
    x = generator.random((5 * 14, INPUTS), dtype=np.float32)
    y = generator.integers(0, CLASSES, 5 * 14)
    found = []
    for chunk in (1, 2, 5):
        settings = {**BASE, **settings, "tasks": 5, "chunk": chunk}
        defense = defenses.create("meta-adv", defenses.Threat("linf", 0.1), settings)
        kernel = defense.kernel(recognise(build("torch")))
        draws = defense.draw(np.random.default_rng(1), x, y)
        kernel.step(draws, learning_rate=0.1, eps=0.1)
        found.append([value.detach().numpy().copy() for value in kernel.parameters])
        assert kernel.chunk == chunk
    assert distance(found[0], found[2]) < 1e-12
    assert distance(found[1], found[2]) < 1e-12


def test_the_weights_of_the_losses_move_to_the_last_step():
    assert step_weights(4, 0.0, done=0.1).tolist() == [0, 0, 0, 1]
    assert step_weights(4, 0.5, done=0.0).tolist() == pytest.approx([0.25] * 4)
    assert step_weights(4, 0.5, done=0.25).tolist() == pytest.approx([0.125] * 3 + [0.625])
    assert step_weights(4, 0.5, done=0.9).tolist() == pytest.approx([0.0075] * 3 + [0.9775])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_support_under_another_family_fills_its_own_budget(framework):
    """The queries are attacked within linf 0.1, the supports within l1 1.5."""
    settings = {
        "distribution": "attacks",
        "attacks": "pgd-linf,pgd-l1",
        "support_family": "other",
        "eps_l1": 1.5,
    }
    kernel = kernel_of(framework, settings)
    pairs = kernel.defense.task_distribution.attacks
    (which,) = (i for i, pair in enumerate(pairs) if i and pair.query.norm == "linf")
    x, y, _ = task()
    start = np.zeros_like(x)
    if framework == "torch":
        draws = {
            "x": x[None],
            "y": y[None],
            "start": start[None],
            "attack": np.array([which]),
            "share": np.array([pairs[which].share]),
        }
        (chunk,) = kernel.chunks(draws, 0.1)
        found = chunk.support_adv[0].numpy()
    else:
        tensors = [tf.constant(value)[None] for value in (x, y, start)]
        found = kernel.attack_supports(pairs[which], *tensors, tf.constant([0.1], tf.float64))[0]

    lengths = np.abs(np.asarray(found) - x[:SHOTS]).sum(axis=1)
    assert lengths.max() <= 1.5 + 1e-9
    assert lengths.max() > 1.2 + 1e-9, "no more than linf 0.1 on 12 values could give"

"""Projected gradient ascent in both frameworks against a NumPy reference, norm by norm."""

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
from defenses.perturbation.spec import Ascent  # noqa: E402
from defenses.random_norm.spec import RunningAccuracy  # noqa: E402
from defenses.subject import recognise  # noqa: E402
from defenses.threat import Threat  # noqa: E402

SIZE, CLASSES, COUNT = 40, 4, 16
ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}
EPS = {"linf": 0.2, "l2": 0.9, "l1": 2.5}


def project_reference(difference, norm, eps):
    """The nearest point of the ball; for l1 by bisection of the threshold (KKT)."""
    if norm == "linf":
        return difference.clip(-eps, eps)
    length = np.linalg.norm(difference, ord=ORDERS[norm])
    if length <= eps:
        return difference
    if norm == "l2":
        return difference * eps / length
    low, high = 0.0, np.abs(difference).max()
    for _ in range(200):
        middle = (low + high) / 2
        above = np.maximum(np.abs(difference) - middle, 0).sum() > eps
        low, high = (middle, high) if above else (low, middle)
    return np.sign(difference) * np.maximum(np.abs(difference) - high, 0)


def direction_reference(gradient, x_adv, norm, eps):
    if norm == "linf":
        return np.sign(gradient)
    if norm == "l2":
        return gradient / np.linalg.norm(gradient)
    open_ = ~(((x_adv == 1) & (gradient > 0)) | ((x_adv == 0) & (gradient < 0)))
    order = np.argsort(-np.abs(gradient) * open_, kind="stable")[: max(1, round(float(eps)))]
    direction = np.zeros_like(gradient)
    direction[order] = np.sign(gradient[order]) * open_[order]
    return direction / max(np.abs(direction).sum(), 1)


def problem(seed=0):
    generator = np.random.default_rng(seed)
    x = generator.uniform(-0.4, 1.4, (COUNT, SIZE)).clip(0, 1)
    weights = generator.normal(0, 1, (SIZE, CLASSES))
    y = generator.integers(0, CLASSES, COUNT)
    return x, y, weights


def gradient_reference(x, y, weights):
    logits = x @ weights
    error = np.exp(logits - logits.max(axis=1, keepdims=True))
    error /= error.sum(axis=1, keepdims=True)
    error[np.arange(len(y)), y] -= 1
    return error @ weights.T


def perturb_reference(x, y, weights, start, norm, eps, steps, relative_step, momentum=0.0):
    eps = np.broadcast_to(eps, (len(x), 1))
    x_adv, carried = (x + eps * start).clip(0, 1), np.zeros_like(x)
    for _ in range(steps):
        gradient = gradient_reference(x_adv, y, weights)
        if momentum:
            carried = momentum * carried + gradient / np.abs(gradient).sum(axis=1, keepdims=True)
            gradient = carried
        for row in range(len(x)):
            step = direction_reference(gradient[row], x_adv[row], norm, eps[row, 0])
            moved = x_adv[row] + relative_step * eps[row] * step
            x_adv[row] = (x[row] + project_reference(moved - x[row], norm, eps[row])).clip(0, 1)
    return x_adv


def perturb(framework, x, y, weights, start, norm, eps, steps, relative_step, momentum=0.0):
    ascent = Ascent(norm, steps, relative_step, momentum=momentum)
    if framework == "torch":
        matrix = torch.tensor(weights)
        arguments = [torch.tensor(value) for value in (x, y, start)]
        eps = eps if isinstance(eps, float) else torch.tensor(eps)
        found = in_torch.perturb(lambda z: z @ matrix, *arguments, eps=eps, ascent=ascent)
        return found.numpy()
    matrix = tf.constant(weights)
    arguments = [tf.constant(value) for value in (x, y, start)]
    run = tf.function(in_tensorflow.perturb)
    scaled = tf.constant(eps, tf.float64)
    return run(lambda z: z @ matrix, *arguments, eps=scaled, ascent=ascent).numpy()


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize(("steps", "relative_step"), [(1, 1.25), (7, 0.4)])
@pytest.mark.parametrize("norm", ORDERS)
def test_ascent_is_that_of_the_reference(norm, steps, relative_step, framework):
    x, y, weights = problem()
    start = Threat(norm, 1).random_starts(np.random.default_rng(1), x.shape).astype(np.float64)
    settings = (norm, EPS[norm], steps, relative_step)

    found = perturb(framework, x, y, weights, start, *settings)

    assert np.abs(found - perturb_reference(x, y, weights, start, *settings)).max() < 1e-10
    distances = np.linalg.norm(found - x, ord=ORDERS[norm], axis=1)
    assert distances.max() <= EPS[norm] * (1 + 1e-9)
    assert distances.max() > 0.6 * EPS[norm]
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize("norm", ORDERS)
def test_ascent_with_momentum_is_that_of_the_reference(norm, framework):
    x, y, weights = problem()
    start = np.zeros_like(x)
    settings = (norm, EPS[norm], 7, 0.4)

    found = perturb(framework, x, y, weights, start, *settings, momentum=0.9)

    expected = perturb_reference(x, y, weights, start, *settings, momentum=0.9)
    assert np.abs(found - expected).max() < 1e-10
    assert np.abs(found - perturb_reference(x, y, weights, start, *settings)).max() > 1e-3


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize("norm", ORDERS)
def test_every_example_can_have_a_budget_of_its_own(norm, framework):
    x, y, weights = problem()
    start = Threat(norm, 1).random_starts(np.random.default_rng(1), x.shape).astype(np.float64)
    eps = EPS[norm] * np.linspace(0.1, 1, COUNT)[:, None]
    settings = (norm, eps, 7, 0.4)

    found = perturb(framework, x, y, weights, start, *settings)

    assert np.abs(found - perturb_reference(x, y, weights, start, *settings)).max() < 1e-10


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize(
    ("inside", "eps"), [(True, 3.0), (False, 3.0), (False, 1e-6), (False, 0.0)]
)
def test_the_l1_projection_is_exact(inside, eps, framework):
    difference = np.random.default_rng(2).normal(0, 0.03 if inside else 1, (5, 3, 4, 2))
    difference[0] = 0
    module = {"torch": in_torch, "tensorflow": in_tensorflow}[framework]
    convert = torch.tensor if framework == "torch" else tf.constant

    found = np.asarray(module._onto_l1_ball(convert(difference), eps))

    expected = [project_reference(row.reshape(-1), "l1", eps) for row in difference]
    assert np.abs(found.reshape(5, -1) - expected).max() < 1e-12
    assert np.array_equal(found[0], difference[0])
    assert np.array_equal(found, difference) is inside


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_an_l1_step_passes_over_pixels_at_the_edge(framework):
    gradient = np.zeros((1, SIZE))
    gradient[0, :4] = [9.0, -8.0, 7.0, -6.0]
    x_adv = np.full((1, SIZE), 0.5)
    x_adv[0, :2] = [1.0, 0.0]  # both can only move outwards
    module = {"torch": in_torch, "tensorflow": in_tensorflow}[framework]
    convert = torch.tensor if framework == "torch" else tf.constant

    found = np.asarray(module.direction(convert(gradient), convert(x_adv), convert(2.0), "l1"))

    assert found[0, :5].tolist() == [0, 0, 0.5, -0.5, 0]


@pytest.mark.parametrize("on_gpu", [False, True], ids=["processor", "GPU"])
@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_an_l1_step_has_as_many_entries_as_each_budget(framework, on_gpu, monkeypatch):
    module = {"torch": in_torch, "tensorflow": in_tensorflow}[framework]
    convert = torch.tensor if framework == "torch" else tf.constant
    if on_gpu:  # where the largest budget isn't asked for
        monkeypatch.setattr(module, "_most", lambda counts, size: size)
    gradient = np.random.default_rng(0).normal(size=(3, SIZE))
    x_adv, budgets = np.full((3, SIZE), 0.5), np.array([[2.4], [7.6], [0.1]])

    found = np.asarray(module.direction(convert(gradient), convert(x_adv), convert(budgets), "l1"))

    rows = zip(gradient, x_adv, budgets[:, 0], strict=True)
    expected = [direction_reference(*row[:2], "l1", row[2]) for row in rows]
    assert np.abs(found - expected).max() < 1e-15
    assert np.count_nonzero(found, axis=1).tolist() == [2, 8, 1]


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_an_l1_step_rounds_a_budget_that_rises_in_the_models_type(framework):
    eps = 3.5 - 1e-9  # 3.5 in float32, which rounds to 4; a float64 of it to 3
    gradient = np.random.default_rng(0).normal(size=(2, SIZE)).astype(np.float32)
    x_adv = np.full((2, SIZE), 0.5, np.float32)
    module = {"torch": in_torch, "tensorflow": in_tensorflow}[framework]
    convert = torch.tensor if framework == "torch" else tf.constant
    budget = eps if framework == "torch" else tf.constant(eps, tf.float32)

    found = np.asarray(module.direction(convert(gradient), convert(x_adv), budget, "l1"))

    assert np.count_nonzero(found, axis=1).tolist() == [4, 4]


class TestMultiSteepestDescent:
    """`msd`'s inner maximisation: every step that of the norm with the highest loss."""

    STEPS = 6

    def kernel(self, framework, weights):
        budgets = {f"eps_{norm}": eps for norm, eps in EPS.items() if norm != "l2"}
        defense = defenses.create(
            "msd", Threat("l2", EPS["l2"]), {"attack_steps": self.STEPS, **budgets}
        )
        return defense.kernel(recognise(linear(framework, weights)))

    def reference(self, x, y, weights, norms):
        """Maini et al. 2020, algorithm 1; also how often each norm took the step."""
        x_adv = x.copy()
        taken = np.zeros(len(norms), int)
        for _ in range(self.STEPS):
            gradient = gradient_reference(x_adv, y, weights)
            for row in range(len(x)):
                points, losses = [], []
                for norm in norms:
                    step = direction_reference(gradient[row], x_adv[row], norm, EPS[norm])
                    moved = x_adv[row] + 2.5 / self.STEPS * EPS[norm] * step
                    point = x[row] + project_reference(moved - x[row], norm, EPS[norm])
                    points.append(point.clip(0, 1))
                    logits = points[-1] @ weights
                    losses.append(np.log(np.exp(logits).sum()) - logits[y[row]])
                taken[np.argmax(losses)] += 1
                x_adv[row] = points[np.argmax(losses)]
        return x_adv, taken

    @pytest.mark.parametrize("framework", ["torch", "tensorflow"])
    def test_takes_the_worst_norm_of_each_example(self, framework):
        x, y, weights = problem(seed=3)
        kernel = self.kernel(framework, weights)

        tensors = [kernel.images(x), kernel.labels(y)]
        if framework == "torch":
            found = kernel.steepest(*tensors, EPS["l2"]).numpy()
        else:
            run = tf.function(kernel.steepest)
            found = run(*tensors, kernel.scalar(EPS["l2"])).numpy()

        expected, taken = self.reference(x, y, weights, list(ORDERS))
        assert (taken > 0).all(), "the example is no test: a norm is never the worst"
        assert np.abs(found - expected).max() < 1e-10
        for norm in ORDERS:  # without the maximum over the norms
            alone, _ = self.reference(x, y, weights, [norm])
            assert np.abs(found - alone).max() > 0.05

    @pytest.mark.parametrize("framework", ["torch", "tensorflow"])
    def test_takes_the_first_norm_where_losses_are_equal(self, framework):
        x, y, weights = problem()
        kernel = self.kernel(framework, 0 * weights)
        first, second = kernel.images(x), kernel.images(x / 2)
        found = kernel._worst([first, second], kernel.labels(y))
        assert np.array_equal(found.numpy(), first.numpy())


class TestRandomNorm:
    def running(self, **parameters):
        parameters = {"eps_l2": 0.5, "eps_l1": 1.0, **parameters}
        return RunningAccuracy(defenses.create("random-norm", Threat("linf", 0.1), parameters))

    def test_a_norm_is_drawn_in_proportion_to_its_robust_error(self):
        running = self.running()
        running.values = np.array([0.9, 0.5, 0.6])  # errors .1, .5, .4

        numbers = (np.arange(1000) + 0.5) / 1000
        drawn = [running.pick(number) for number in numbers]

        assert [drawn.count(norm) for norm in ORDERS] == [100, 500, 400]

    def test_a_norm_that_is_resisted_is_not_drawn(self):
        running = self.running()
        running.values = np.array([1.0, 0.5, 0.5])
        assert [running.pick(number) for number in (0.0, 0.5)] == ["l2", "l1"]

    def test_all_norms_are_equal_where_nothing_is_left_to_gain(self):
        running = self.running()
        running.values = np.ones(3)
        assert [running.pick(number) for number in (0.1, 0.5, 0.999999)] == list(ORDERS)

    def test_a_norm_without_a_budget_is_never_drawn(self):
        running = self.running(eps_l2=0)
        assert {running.pick(number) for number in np.linspace(0, 0.999, 50)} == {"linf", "l1"}

    @pytest.mark.parametrize(("momentum", "value"), [(1, 0.5), (0.6, 0.6 * 0.6 + 0.4 * 0.3)])
    def test_the_running_accuracy_moves_for_the_drawn_norm_alone(self, momentum, value):
        """A mean over the norm's batches, which forgets where the momentum is below 1."""
        running = self.running(momentum=momentum)
        for accuracy in (0.8, 0.4, 0.3):
            running.update("l1", accuracy)
        assert running.values.tolist() == pytest.approx([0, 0, value])

    @pytest.mark.parametrize("framework", ["torch", "tensorflow"])
    def test_the_state_survives_a_checkpoint_and_is_that_of_the_other_framework(self, framework):
        x, _, weights = problem(seed=3)
        y = (x @ weights).argmax(axis=1)
        defense = defenses.create("random-norm", Threat("linf", 0.1), {"eps_l2": 0.1, "eps_l1": 1})
        kernels = {}
        for name in ("torch", "tensorflow"):
            kernel = defense.kernel(recognise(linear(name, weights)))
            generator = np.random.default_rng(4)
            for _ in range(12):
                draws = defense.draw(generator, x[:8].astype(np.float32), y[:8])
                kernel.step(draws, learning_rate=0.01, eps=0.1)
            kernels[name] = kernel

        values = kernels["torch"].running.values
        assert np.array_equal(values, kernels["tensorflow"].running.values)
        assert len(set(values)) > 1
        again = defense.kernel(recognise(linear(framework, weights)))
        again.load_state(kernels[framework].state())
        assert np.array_equal(again.running.values, values)


def linear(framework, weights):
    """A linear classifier in float64 with the given weights."""
    if framework == "torch":
        model = torch.nn.Linear(SIZE, CLASSES, bias=False).double()
        with torch.no_grad():
            model.weight.copy_(torch.tensor(weights.T))
        return model
    layers = [keras.Input((SIZE,), dtype="float64")]
    layers.append(keras.layers.Dense(CLASSES, use_bias=False, dtype="float64"))
    model = keras.Sequential(layers)
    model.set_weights([weights])
    return model

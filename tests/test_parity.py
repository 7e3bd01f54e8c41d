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
from defenses.subject import recognise  # noqa: E402

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
    "mng-ac": {"attack_steps": 3, "eps_linf": 0.1, "eps_l2": 0.3, "eps_l1": 0.6, "width": 4},
    "meta-gen": {"bank_size": 20, "bank_steps": 2, "attack_steps": 2},
    "meta-gen-reptile": {"generator": "network", "attack_steps": 2, "width": 4},
    "meta-gen-maml": {"generator": "network", "algorithm": "maml", "attack_steps": 2, "width": 4},
    "gaussian": {"sigma": 0.1},
    "meta-adv": {"tasks": 3, "support": 4, "query": 8, "inner_steps": 2, "inner_rate": 0.1},
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


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-8), ("float32", 1e-3)])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("case", DEFENSES)
def test_ten_steps_on_a_smooth_network_agree(case, norm, dtype, tolerance):
    defense = create(case, defenses.Threat(norm, 0.1))
    x, y = images((12,), 96, classes=4)
    torch_model, keras_model = smooth_pair(dtype)
    start = [value.copy() for value, _ in smooth_weights(torch_model, keras_model)]

    for model in (torch_model, keras_model):
        fitted = defense.fit(model, x, y, budget_ge=ten_steps(defense, len(x)), seed=3)
        assert fitted.outcome.steps == 10

    for before, (ours, theirs) in zip(start, smooth_weights(torch_model, keras_model), strict=True):
        assert np.abs(ours - before).max() > 1e-3
        assert np.abs(ours - theirs).max() <= tolerance


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


META = {"tasks": 1, "support": 6, "query": 8, "inner_steps": 3, "inner_rate": 0.7}


class TestMetaGradient:
    """The meta-gradient against finite differences of the outer loss, in float64.

    The adversarial examples are constants of the meta-gradient, so they are held fixed: attacks of
    zero eps leave every example where it is.
    """

    def task(self):
        x, y = images((12,), 14, classes=4, seed=9)
        return x, y.astype(np.int64), np.zeros_like(x)

    def kernels(self):
        defense = defenses.create("meta-adv", defenses.Threat("linf", 0.1), META)
        return [defense.kernel(recognise(model)) for model in smooth_pair("float64")]

    def gradient(self, kernel, *, first_order=False):
        x, y, start = self.task()
        eps = getattr(kernel, "scalar", float)(0.0)
        arguments = (kernel.images(x), kernel.labels(y), kernel.images(start), eps)
        if first_order:
            return first_order_gradient(kernel, *arguments[:2])
        run = getattr(kernel, "compiled_task", kernel.task_gradient)
        loss, gradients = run(*arguments)
        return float(loss), [np.asarray(value) for value in gradients]

    def finite_differences(self, step=1e-5):
        """Of the outer loss by the weights, in NumPy and torch's order (the reference)."""
        x, y, _ = self.task()
        weights = [value for value, _ in smooth_weights(*smooth_pair("float64"))]
        weights = [np.array(value) for value in weights]
        gradients = []
        for index, weight in enumerate(weights):
            gradient = np.zeros_like(weight)
            for position in np.ndindex(weight.shape):
                losses = []
                for sign in (1, -1):
                    moved = [value.copy() for value in weights]
                    moved[index][position] += sign * step
                    losses.append(outer_loss(moved, x, y, META))
                gradient[position] = (losses[0] - losses[1]) / (2 * step)
            gradients.append(gradient)
        return gradients

    @pytest.mark.parametrize("framework", [0, 1], ids=["torch", "tensorflow"])
    def test_matches_finite_differences(self, framework):
        reference = self.finite_differences()
        _, gradients = self.gradient(self.kernels()[framework])
        if framework == 0:
            gradients = [value.T for value in gradients]
        assert distance(gradients, reference) < 1e-7

    def test_a_first_order_gradient_does_not(self):
        reference = self.finite_differences()
        gradients = [value.T for value in self.gradient(self.kernels()[0], first_order=True)]
        assert distance(gradients, reference) > 1e-2


def distance(ours, theirs):
    """The largest difference, relative to the largest entry."""
    largest = max(np.abs(value).max() for value in theirs)
    return max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True)) / largest


def outer_loss(weights, x, y, settings):
    """Steps 2 and 4 of the specification in NumPy, with the gradient written out by hand."""
    w1, b1, w2, b2 = [value.copy() for value in weights]
    shots = settings["support"]
    for _ in range(settings["inner_steps"]):
        hidden = np.tanh(x[:shots] @ w1 + b1)
        error = softmax(hidden @ w2 + b2)
        error[np.arange(shots), y[:shots]] -= 1
        error /= shots
        back = (error @ w2.T) * (1 - hidden**2)
        steps = [x[:shots].T @ back, back.sum(0), hidden.T @ error, error.sum(0)]
        w1, b1, w2, b2 = [
            value - settings["inner_rate"] * step
            for value, step in zip((w1, b1, w2, b2), steps, strict=True)
        ]
    logits = np.tanh(x[shots:] @ w1 + b1) @ w2 + b2
    # Clean and adversarial query are the same points here, so their weights add up to one.
    return -np.mean(np.log(softmax(logits)[np.arange(len(logits)), y[shots:]]))


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def first_order_gradient(kernel, x, y):
    """FOMAML: the query's gradient at the adapted weights, as if the inner steps were constants."""
    shots, weights = kernel.defense.support, kernel.parameters
    adapted = [value.detach().clone().requires_grad_() for value in weights]
    names = [name for name, _ in kernel.model.named_parameters()]

    def loss(part):
        logits = torch.func.functional_call(
            kernel.model, dict(zip(names, adapted, strict=True)), x[part]
        )
        return cross_entropy(logits, y[part])

    for _ in range(kernel.defense.inner_steps):
        gradients = torch.autograd.grad(loss(slice(None, shots)), adapted)
        adapted = [
            (value - kernel.defense.inner_rate * step).detach().requires_grad_()
            for value, step in zip(adapted, gradients, strict=True)
        ]
    gradients = torch.autograd.grad(loss(slice(shots, None)), adapted)
    return [value.numpy() for value in gradients]

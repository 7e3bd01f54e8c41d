"""Each defense's updates against its equations, written out once more in NumPy and float64.

A small network with gradients by hand; the references have a switch for each distinguishing step,
so that a kernel which leaves that step out is seen.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import tensorflow as tf  # noqa: E402
import torch  # noqa: E402
from tanh_networks import CLASSES, INPUTS, build, initial_weights, weights_of  # noqa: E402

import defenses  # noqa: E402
import defenses.losses.pytorch as losses_in_torch  # noqa: E402
import defenses.losses.tensorflow as losses_in_tensorflow  # noqa: E402
import defenses.mart.pytorch as mart_in_torch  # noqa: E402
import defenses.mart.tensorflow as mart_in_tensorflow  # noqa: E402
from defenses.subject import recognise  # noqa: E402

EPS, RATE, STEPS = 0.1, 0.2, 3
FRAMEWORKS = ("torch", "tensorflow")


class Network:
    """Dense, tanh, dense; its gradients by hand."""

    def __init__(self, weights):
        self.weights = weights

    def logits(self, x):
        w1, b1, w2, b2 = self.weights
        return np.tanh(x @ w1 + b1) @ w2 + b2

    def back(self, x, error):
        """The gradients by the weights and by the input, from that by the logits."""
        w1, b1, w2, _ = self.weights
        hidden = np.tanh(x @ w1 + b1)
        inner = (error @ w2.T) * (1 - hidden**2)
        return [x.T @ inner, inner.sum(0), hidden.T @ error, error.sum(0)], inner @ w1.T


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def one_hot(y):
    return np.eye(CLASSES)[y]


def cross_entropy_error(logits, y):
    """By the logits; of the sum."""
    return softmax(logits) - one_hot(y)


def divergence(logits, others):
    p, q = softmax(logits), softmax(others)
    return (p * np.log(p / q)).sum(axis=1)


def divergence_errors(logits, others):
    """Of KL(p || q), by the logits of p and by those of q."""
    p, q = softmax(logits), softmax(others)
    return p * (np.log(p / q) - divergence(logits, others)[:, None]), q - p


def ascent(network, x, x_adv, error_of, *, steps=3, relative_step=2.5 / 3):
    for _ in range(steps):
        _, gradient = network.back(x_adv, error_of(network.logits(x_adv)))
        x_adv = x_adv + relative_step * EPS * np.sign(gradient)
        x_adv = np.clip(np.clip(x_adv, x - EPS, x + EPS), 0, 1)
    return x_adv


def pgd_examples(network, x, y, draws):
    start = np.clip(x + EPS * draws["start"].astype(float), 0, 1)
    return ascent(network, x, start, lambda logits: cross_entropy_error(logits, y))


def trades_examples(network, x, y, draws):
    start = np.clip(x + draws["noise"].astype(float), 0, 1)
    clean = network.logits(x)
    return ascent(network, x, start, lambda logits: divergence_errors(clean, logits)[1])


def add(ours, theirs, factor=1.0):
    return [one + factor * other for one, other in zip(ours, theirs, strict=True)]


def pgd_gradient(network, x, x_adv, y):
    error = cross_entropy_error(network.logits(x_adv), y) / len(x)
    return network.back(x_adv, error)[0]


def trades_gradient(network, x, x_adv, y, *, beta=6.0):
    clean, adversarial = network.logits(x), network.logits(x_adv)
    by_clean, by_adversarial = divergence_errors(clean, adversarial)
    error = (cross_entropy_error(clean, y) + beta * by_clean) / len(x)
    return add(network.back(x, error)[0], network.back(x_adv, beta * by_adversarial / len(x))[0])


def mart_gradient(network, x, x_adv, y, *, weight=5.0, boosted=True, doubtful=True):
    clean, adversarial = network.logits(x), network.logits(x_adv)
    p, q, true = softmax(clean), softmax(adversarial), one_hot(y)
    by_clean, by_adversarial = divergence_errors(clean, adversarial)
    p_true = (p * true).sum(axis=1, keepdims=True)
    doubt = 1 - p_true if doubtful else np.ones_like(p_true)
    by_doubt = -p_true * (true - p) if doubtful else 0
    error = weight * (doubt * by_clean + by_doubt * divergence(clean, adversarial)[:, None])
    error_adv = q - true + weight * doubt * by_adversarial
    if boosted:
        wrong = one_hot((q - 2 * true).argmax(axis=1))
        q_wrong = (q * wrong).sum(axis=1, keepdims=True)
        error_adv = error_adv + q_wrong / (1 - q_wrong) * (wrong - q)
    return add(network.back(x, error / len(x))[0], network.back(x_adv, error_adv / len(x))[0])


class Sgd:
    """With momentum 0.9, as torch has it."""

    def __init__(self):
        self.velocity = None

    def step(self, network, gradient):
        before = self.velocity or [np.zeros_like(value) for value in gradient]
        self.velocity = [0.9 * v + g for v, g in zip(before, gradient, strict=True)]
        network.weights = add(network.weights, self.velocity, -RATE)


def trades(batches, *, divergent=True):
    network, optimizer = Network(initial_weights()), Sgd()
    for draws in batches:
        x, y = draws["x"].astype(float), draws["y"]
        if divergent:
            x_adv = trades_examples(network, x, y, draws)
        else:  # as ART has it: the attack is on the cross-entropy
            start = np.clip(x + draws["noise"], 0, 1)
            x_adv = ascent(network, x, start, lambda logits, y=y: cross_entropy_error(logits, y))
        optimizer.step(network, trades_gradient(network, x, x_adv, y))
    return network.weights


def mart(batches, **switches):
    network, optimizer = Network(initial_weights()), Sgd()
    for draws in batches:
        x, y = draws["x"].astype(float), draws["y"]
        x_adv = pgd_examples(network, x, y, draws)
        optimizer.step(network, mart_gradient(network, x, x_adv, y, **switches))
    return network.weights


def awp(batches, *, base="pgd-at", gamma=0.05, layerwise=True):
    network, optimizer = Network(initial_weights()), Sgd()
    examples = trades_examples if base == "trades" else pgd_examples
    gradient_of = trades_gradient if base == "trades" else pgd_gradient
    for draws in batches:
        x, y = draws["x"].astype(float), draws["y"]
        x_adv = examples(network, x, y, draws)
        gradient = gradient_of(network, x, x_adv, y)
        whole = np.sqrt(sum((g**2).sum() for g in gradient if g.ndim > 1))
        moved = [
            w + gamma * np.linalg.norm(w) * g / (np.linalg.norm(g) if layerwise else whole)
            if w.ndim > 1
            else w
            for w, g in zip(network.weights, gradient, strict=True)
        ]
        optimizer.step(network, gradient_of(Network(moved), x, x_adv, y))
    return network.weights


def free(batches, *, replays=3, carried=True, moving=True):
    network, optimizer, delta = Network(initial_weights()), Sgd(), 0.0
    for draws in batches:
        x, y = draws["x"].astype(float), draws["y"]
        delta = delta if carried else 0.0
        for _ in range(replays):
            x_adv = np.clip(x + delta, 0, 1)
            error = cross_entropy_error(network.logits(x_adv), y) / len(x)
            gradient, by_input = network.back(x_adv, error)
            optimizer.step(network, gradient)
            if moving:
                delta = np.clip(delta + EPS * np.sign(by_input), -EPS, EPS)
    return network.weights


def seed_listing(batches, *, extra=True, moved=True):
    network, optimizer = Network(initial_weights()), Sgd()
    for draws in batches:
        x, y = draws["x"].astype(float), draws["y"]
        x_adv = ascent(
            network,
            x,
            x,
            lambda logits, y=y: cross_entropy_error(logits, y),
            steps=1,
            relative_step=1.0,
        )
        before = Network(network.weights)
        both = add(pgd_gradient(network, x, x, y), pgd_gradient(network, x, x_adv, y))
        network.weights = add(network.weights, both, -0.1)
        if extra:
            at = network if moved else before
            optimizer.step(network, pgd_gradient(at, x, x_adv, y))
    return network.weights


# Defense, its parameters, its reference, and the references that leave something out.
REFERENCES = {
    "trades": ("trades", {"attack_steps": 3}, trades, {"CE attack": {"divergent": False}}),
    "mart": (
        "mart",
        {"attack_steps": 3},
        mart,
        {"plain CE": {"boosted": False}, "unweighted KL": {"doubtful": False}},
    ),
    "awp": (
        "awp",
        {"attack_steps": 3, "gamma": 0.05},
        awp,
        {"no perturbation": {"gamma": 0.0}, "whole-model norm": {"layerwise": False}},
    ),
    "awp over trades": (
        "awp",
        {"attack_steps": 3, "gamma": 0.05, "base": "trades"},
        lambda batches, **switches: awp(batches, base="trades", **switches),
        {"no perturbation": {"gamma": 0.0}},
    ),
    "free-at": (
        "free-at",
        {"replays": 3},
        free,
        {
            "no replay": {"replays": 1},
            "nothing carried over": {"carried": False},
            "no perturbation": {"moving": False},
        },
    ),
    "seed-listing": (
        "seed-listing",
        {"inner_rate": 0.1},
        seed_listing,
        {"no extra step": {"extra": False}, "extra step from where it began": {"moved": False}},
    ),
}


def updates(name, parameters, framework):
    """The weights after STEPS updates by the kernel, and the draws that it was given."""
    settings = {"optimizer": "sgd", "batch_size": 16, **parameters}
    defense = defenses.create(name, defenses.Threat("linf", EPS), settings)
    model = build(framework)
    kernel = defense.kernel(recognise(model))
    generator = np.random.default_rng(1)
    batches = []
    for _ in range(STEPS):
        x = generator.uniform(-0.2, 1.2, (16, INPUTS)).clip(0, 1).astype(np.float32)
        batches.append(defense.draw(generator, x, generator.integers(0, CLASSES, 16)))
        kernel.step(batches[-1], learning_rate=RATE, eps=EPS)
    return weights_of(model), batches


def distance(ours, theirs):
    return max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("case", REFERENCES)
def test_the_updates_are_those_of_the_equations(case, framework):
    name, parameters, reference, variants = REFERENCES[case]
    weights, batches = updates(name, parameters, framework)
    assert distance(weights, initial_weights()) > 0.1
    assert distance(weights, reference(batches)) < 1e-9
    for left_out, switches in variants.items():
        assert distance(weights, reference(batches, **switches)) > 1e-4, left_out


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_fgsm_rs_keeps_its_random_start_at_the_edge_of_the_box(framework):
    """On black pixels whose gradient is positive, delta is min(eps, start + 1.25 eps), above 0.

    Were the start clipped to the box, every one of them would end at eps, as with FGSM.
    """
    defense = defenses.create("fgsm-rs", defenses.Threat("linf", EPS), {})
    model = build(framework)
    kernel = defense.kernel(recognise(model))
    x, y = np.zeros((8, INPUTS), np.float32), np.zeros(8, int)
    start = np.full_like(x, -0.9)
    x_adv = kernel.attack(x, y, start, eps=EPS, ascent=defense.ascent)
    assert np.unique(x_adv.round(6)).tolist() == pytest.approx([0, 0.35 * EPS])


def logits_pair():
    generator = np.random.default_rng(3)
    return generator.normal(0, 3, (50, 7)), generator.normal(0, 3, (50, 7))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_kl_divergence_in_closed_form(framework):
    logits, others = logits_pair()
    module, tensor = {
        "torch": (losses_in_torch, torch.tensor),
        "tensorflow": (losses_in_tensorflow, tf.constant),
    }[framework]
    found = module.kl_divergence(tensor(logits), tensor(others)).numpy()
    assert np.abs(found - divergence(logits, others)).max() < 1e-12
    # A constant added to all logits changes nothing, however large the logits are.
    shifted = module.kl_divergence(tensor(logits + 1e3), tensor(others - 1e3)).numpy()
    assert np.abs(shifted - found).max() < 1e-9


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_mart_loss_in_closed_form(framework):
    clean, adversarial = logits_pair()
    y = np.random.default_rng(4).integers(0, 7, 50)
    p, q, rows = softmax(clean), softmax(adversarial), np.arange(50)
    others = q.copy()
    others[rows, y] = -1
    boosted = -np.log(q[rows, y]) - np.log(1 - others.max(axis=1))
    expected = boosted + 5 * divergence(clean, adversarial) * (1 - p[rows, y])
    module, tensor = {
        "torch": (mart_in_torch, torch.tensor),
        "tensorflow": (mart_in_tensorflow, tf.constant),
    }[framework]
    found = module.mart_loss(tensor(clean), tensor(adversarial), tensor(y), weight=5.0)
    assert float(found) == pytest.approx(expected.mean(), rel=1e-12)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("gap", [0.0, 50.0, 500.0])
def test_the_boosted_cross_entropy_stays_finite(gap, framework):
    """Two classes, the wrong one ahead by `gap`: BCE = 2 log(1 + e^gap) exactly."""
    logits, y = np.array([[0.0, gap]]), np.array([0])
    if framework == "torch":
        inputs = torch.tensor(logits, requires_grad=True)
        loss = losses_in_torch.boosted_cross_entropy(inputs, torch.tensor(y)).sum()
        (gradient,) = torch.autograd.grad(loss, inputs)
        loss = loss.detach()
    else:
        inputs = tf.constant(logits)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = losses_in_tensorflow.boosted_cross_entropy(inputs, tf.constant(y))[0]
        gradient = tape.gradient(loss, inputs)
    slope = 2 / (1 + np.exp(-gap))
    assert loss.numpy() == pytest.approx(2 * np.logaddexp(0, gap), rel=1e-12)
    assert np.asarray(gradient)[0] == pytest.approx([-slope, slope])

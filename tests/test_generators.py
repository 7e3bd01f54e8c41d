"""The generators that are learned beside a model: their gradients and updates, held to references.

Finite differences in float64 on a small smooth network; a first-order result fails them.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import small_defenses as small  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402

import defenses  # noqa: E402
import defenses.generator.pytorch as generator_in_torch  # noqa: E402
import defenses.losses.pytorch as losses_in_torch  # noqa: E402
import defenses.losses.tensorflow as losses_in_tensorflow  # noqa: E402
from defenses.checkpoints import Checkpoint  # noqa: E402
from defenses.cost import gradients  # noqa: E402
from defenses.meta_gen.bank import Bank, places  # noqa: E402
from defenses.meta_gen.snapshots import Snapshots  # noqa: E402
from defenses.states import Parts  # noqa: E402
from defenses.subject import recognise  # noqa: E402

FRAMEWORKS = ("torch", "tensorflow")
INPUTS, HIDDEN, CLASSES, EPS = 12, 10, 4, 0.1

# Weights of a generator, and entries of each.
PLACES = {0: (0, 7, 50), 1: (1,), 2: (3, 20), 3: (0, 5)}


def build(framework, normalised=False):
    """Dense, batch normalisation where asked for, tanh, dense."""
    generator = np.random.default_rng(5)
    shapes = [(INPUTS, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,)]
    dense = [generator.normal(0, 0.7, shape) for shape in shapes]
    # scale, shift, running mean and running variance
    statistics = list(generator.uniform(0.5, 2, (4, HIDDEN))) if normalised else []
    arrays = [*dense[:2], *statistics, *dense[2:]]
    if framework == "torch":
        between = [torch.nn.BatchNorm1d(HIDDEN, eps=1e-3)] if normalised else []
        model = torch.nn.Sequential(
            torch.nn.Linear(INPUTS, HIDDEN),
            *between,
            torch.nn.Tanh(),
            torch.nn.Linear(HIDDEN, CLASSES),
        ).double()
        held = [value for value in model.state_dict().values() if value.ndim]
        for value, array in zip(held, arrays, strict=True):
            value.copy_(torch.tensor(array.T))
        return model
    between = [keras.layers.BatchNormalization(dtype="float64")] if normalised else []
    model = keras.Sequential(
        [
            keras.Input((INPUTS,), dtype="float64"),
            keras.layers.Dense(HIDDEN, dtype="float64"),
            *between,
            keras.layers.Activation("tanh", dtype="float64"),
            keras.layers.Dense(CLASSES, dtype="float64"),
        ]
    )
    model.set_weights(arrays)
    return model


def made(name, framework, *, normalised=False, **parameters):
    defense = defenses.create(name, defenses.Threat("linf", EPS), parameters)
    return defense, defense.kernel(recognise(build(framework, normalised)))


def batch(count=6, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.uniform(0.2, 0.8, (count, INPUTS))
    return x, generator.integers(0, CLASSES, count), generator.standard_normal(x.shape)


def array(value):
    return value.detach().numpy().copy() if isinstance(value, torch.Tensor) else np.array(value)


def assign(weight, value):
    if isinstance(weight, torch.Tensor):
        with torch.no_grad():
            weight.copy_(torch.from_numpy(value))
    else:
        weight.assign(value)


def finite_differences(weights, loss, places, *, step=1e-5):
    """The slope of `loss()` along single entries, {weight: entries}, by central differences."""
    slopes = {}
    for index, entries in places.items():
        before = array(weights[index])
        for entry in entries:
            values = []
            for move in (step, -step):
                moved = before.copy()
                moved.flat[entry] += move
                assign(weights[index], moved)
                values.append(loss())
            assign(weights[index], before)
            slopes[index, entry] = (values[0] - values[1]) / (2 * step)
    return slopes


class TestNoise:
    """MNG-AC's look-ahead."""

    def look_ahead(self, framework, norm, rate=0.5, **settings):
        """The kernel's gradient, and the same loss as a function of the generator's weights."""
        _, kernel = made("mng-ac", framework, eps_l2=0.3, eps_l1=0.6, lookahead_rate=rate, width=4)
        kernel.generator.fit_to((INPUTS,))
        x, y, z = batch()
        x_adv = kernel.images(x + EPS * np.sign(z))
        given = [kernel.images(x), kernel.labels(y), x_adv, kernel.images(z)]
        eps = EPS if framework == "torch" else kernel.scalar(EPS)
        gradient = [array(g) for g in kernel.noise_gradient(*given, norm=norm, eps=eps)]
        start = kernel.weights()

        def loss():
            """Train on the noisy examples in plain steps, then look at the attacked ones."""
            x_aug = array(kernel.augmented(given[0], given[3], norm=norm, eps=eps))
            kernel.descend(x_aug, y, steps=1, rate=rate)
            logits = kernel.predict(array(x_adv))
            kernel.load_weights(start)
            shifted = logits - logits.max(axis=1, keepdims=True)
            log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
            return -log_p[np.arange(len(y)), y].mean()

        return gradient, finite_differences(kernel.generator.weights, loss, PLACES)

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    @pytest.mark.parametrize(
        ("norm", "normalised"), [("linf", False), ("l2", False), ("l1", False), ("l2", True)]
    )
    def test_its_gradient_is_that_of_finite_differences(self, norm, normalised, framework):
        gradient, slopes = self.look_ahead(framework, norm, normalised=normalised)
        assert max(map(abs, slopes.values())) > 1e-4
        for (index, entry), slope in slopes.items():
            assert gradient[index].flat[entry] == pytest.approx(slope, rel=1e-4, abs=1e-8)

    @pytest.mark.parametrize(
        ("name", "settings"),
        [
            ("mng-ac", {"eps_l2": 0.3}),
            ("meta-gen", {"generator": "network", "algorithm": "maml"}),
        ],
        ids=["mng-ac", "meta-gen"],
    )
    def test_wrong_second_derivatives_are_refused(self, name, settings):
        layers = [keras.Input((6, 6, 2)), keras.layers.GroupNormalization(2)]
        model = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(3)])
        defense = defenses.create(name, defenses.Threat("linf", EPS), settings)
        with pytest.raises(defenses.DefenseError, match="second derivatives are wrong in Keras"):
            defense.kernel(recognise(model))

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    def test_noise_stays_in_ball_and_box(self, framework):
        _, kernel = made("mng-ac", framework, eps_l2=0.3, eps_l1=0.6)
        kernel.generator.fit_to((INPUTS,))
        x, _, z = batch()
        x[:, :3] = [0, 1, 0.01]
        for norm, order, eps in (("linf", np.inf, 0.1), ("l2", 2, 0.3), ("l1", 1, 0.6)):
            scaled = eps if framework == "torch" else kernel.scalar(eps)
            x_aug = array(
                kernel.augmented(kernel.images(x), kernel.images(9 * z), norm=norm, eps=scaled)
            )
            assert np.linalg.norm(x_aug - x, ord=order, axis=1).max() <= eps * (1 + 1e-9)
            assert x_aug.min() >= 0
            assert x_aug.max() <= 1
            assert np.abs(x_aug - x).max() > 1e-3

    @pytest.mark.parametrize(("number", "norm"), [(0.0, "linf"), (0.34, "l2"), (0.999, "l1")])
    def test_the_norm_is_drawn_evenly(self, number, norm):
        threat = defenses.Threat("linf", EPS)
        defense = defenses.create("mng-ac", threat, {"eps_l2": 0.3, "eps_l1": 0.6})
        assert defense.norm_of(number) == norm


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_jensen_shannon_in_closed_form(framework):
    logits = [np.log([[0.5, 0.5]]), np.log([[1.0, 1e-300]]), np.log([[0.5, 0.5]])]
    # m = (2/3, 1/3): two thirds of KL((1/2, 1/2) || m), and a third of KL((1, 0) || m)
    half = 0.5 * np.log(0.5 / (2 / 3)) + 0.5 * np.log(0.5 / (1 / 3))
    expected = (2 * half + np.log(1.5)) / 3
    if framework == "torch":
        found = losses_in_torch.jensen_shannon([torch.from_numpy(one) for one in logits])
    else:
        found = losses_in_tensorflow.jensen_shannon([tf.constant(one) for one in logits])
    assert float(found[0]) == pytest.approx(expected)


class TestNetwork:
    """The network of meta-gen."""

    SETTINGS = MappingProxyType(
        {
            "generator": "network",
            "batch_size": 8,
            "tasks": 1,
            "inner_steps": 1,
            "inner_rate": 0.5,
            "meta_rate": 1.0,
            "width": 4,
        }
    )

    def prepared(self, framework, **changes):
        _, kernel = made("meta-gen", framework, **{**self.SETTINGS, **changes})
        kernel.network.fit_to((INPUTS,))
        return kernel, kernel.network, 1.0 if framework == "torch" else kernel.scalar(1.0)

    def given(self, kernel, count=8):
        x, y, _ = batch(count)
        return kernel.images(x), kernel.labels(y)

    def loss(self, kernel, weights, x, y, eps):
        """The mean loss of the present classifier on the network's examples, by a new look."""
        snapshot = [array(parameter) for parameter in kernel.parameters]
        seen = kernel.scaled_gradient(x, y, [kernel.images(w) for w in snapshot])
        return array(kernel.loss_of(weights, x, y, seen, kernel.parameters, eps))

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    def test_reptile_goes_to_where_a_step_up_the_loss_leads(self, framework):
        kernel, generator, eps = self.prepared(framework)
        x, y = self.given(kernel)
        slopes = finite_differences(
            generator.weights, lambda: self.loss(kernel, generator.weights, x, y, eps), PLACES
        )
        before = [array(weight) for weight in generator.weights]
        adapted = [array(w) for w in kernel.task(x, y, kernel.parameters, eps)]
        assert max(map(abs, slopes.values())) > 1e-3
        for (index, entry), slope in slopes.items():
            moved = adapted[index].flat[entry] - before[index].flat[entry]
            assert moved == pytest.approx(0.5 * slope, rel=1e-4, abs=1e-8)

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    @pytest.mark.parametrize("steps", [1, 2])
    def test_mamls_gradient_is_that_of_finite_differences(self, steps, framework):
        kernel, generator, eps = self.prepared(framework, algorithm="maml", inner_steps=steps)
        reptile, other, _ = self.prepared(framework, inner_steps=steps)
        x, y = self.given(kernel)

        def loss():
            """Adapt to the support by plain steps, then look at the query."""
            for mine, theirs in zip(generator.weights, other.weights, strict=True):
                assign(theirs, array(mine))
            adapted = reptile.task(x[:4], y[:4], kernel.parameters, eps)
            return self.loss(kernel, adapted, x[4:], y[4:], eps)

        slopes = finite_differences(generator.weights, loss, PLACES)
        gradient = [array(g) for g in kernel.task(x, y, kernel.parameters, eps)]
        first_order = finite_differences(
            other.weights, lambda: self.loss(kernel, other.weights, x[4:], y[4:], eps), PLACES
        )
        for (index, entry), slope in slopes.items():
            assert gradient[index].flat[entry] == pytest.approx(slope, rel=1e-4, abs=1e-8)
        assert max(abs(slopes[key] - first_order[key]) for key in slopes) > 1e-4

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    @pytest.mark.parametrize("algorithm", ["reptile", "maml"])
    def test_training_goes_on_from_its_state(self, algorithm, framework):
        settings = {**self.SETTINGS, "tasks": 2, "algorithm": algorithm, "snapshot_every": 2}
        defense, whole = made("meta-gen", framework, **settings)
        generator = np.random.default_rng(0)
        draws = []
        for seed in range(5):
            x, y, _ = batch(8, seed)
            draws.append(defense.draw(generator, x.astype(np.float32), y))
        for one in draws[:3]:
            whole.step(one, learning_rate=0.1, eps=EPS)
        _, continued = made("meta-gen", framework, **settings)
        continued.load_state(whole.state())
        assert set(continued.state()) == set(whole.state())
        for kernel in (whole, continued):
            for one in draws[3:]:
                kernel.step(one, learning_rate=0.1, eps=EPS)
        for name, value in whole.state().items():
            assert np.array_equal(value, continued.state()[name]), name


def test_the_latest_snapshots_are_learned_from():
    """Of eight updates every third, of these the last two."""
    snapshots = Snapshots(Parts(), count=2, every=3)
    for update in range(8):
        snapshots.keep(lambda update=update: [np.array(update)])
    chosen = [snapshots.chosen(number)[0] for number in (0.0, 0.49, 0.5, 0.999)]
    assert chosen == [3, 3, 6, 6]


class TestBank:
    """The bank of meta-gen."""

    def test_entries_move_towards_the_mean_of_what_was_adapted_from_them(self):
        bank = Bank(3, pattern="perturbation", threat=defenses.Threat("linf", 0.3), rate=0.25)
        bank.fit_to((2,))
        bank.values[:] = [[0, 0], [1, 1], [-1, 1]]
        bank.move(np.array([0, 2, 0]), np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]))
        assert bank.values.tolist() == [[0.125, 0.125], [1, 1], [-1, 0.75]]

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    def test_examples_are_those_of_the_equations(self, framework):
        defense, kernel = made(
            "meta-gen", framework, batch_size=6, pgd_share=0, bank_size=9, bank_steps=3
        )
        x, y, _ = batch()
        draws = defense.draw(np.random.default_rng(1), x.astype(np.float32), y)
        bank = kernel.bank
        bank.fit_to((INPUTS,))
        before, sizes = bank.values.copy(), bank.step_sizes
        eps = EPS if framework == "torch" else kernel.scalar(EPS)
        x = draws["x"].astype(np.float64)
        x_gen = array(kernel.generated(draws, kernel.images(x), kernel.labels(y), eps))

        def losses(patterns):
            logits = kernel.predict(np.clip(x + EPS * patterns, 0, 1))
            return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]

        tried = np.array([losses(before[column]) for column in draws["entries"].T])
        chosen = draws["entries"][np.arange(len(y)), tried.argmax(axis=0)]
        pattern = before[chosen]
        for _ in range(3):
            gradient = kernel.input_gradient(np.clip(x + EPS * pattern, 0, 1), y)
            pattern = np.clip(pattern + sizes[chosen][:, None] * np.sign(gradient), -1, 1)
        assert np.abs(x_gen - np.clip(x + EPS * pattern, 0, 1)).max() < 1e-9
        assert (losses(pattern) >= tried.max(axis=0)).mean() > 0.6
        for entry in range(9):
            mine = pattern[chosen == entry]
            mean = mine.mean(axis=0) if len(mine) else before[entry]
            expected = before[entry] + 0.25 * (mean - before[entry])
            assert bank.values[entry] == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    def test_patches_are_pasted_at_their_places(self, framework):
        _, kernel = made("meta-gen", framework, pattern="patch")
        generator = np.random.default_rng(2)
        x, patches = generator.random((4, 6, 7, 2)), generator.random((4, 3, 3, 2))
        drawn = places(generator, 4, (6, 7), 3)
        given = [kernel.images(value) for value in (x, patches)]
        if framework == "torch":
            hot = [torch.from_numpy(drawn[n]).double() for n in ("rows", "columns")]
            pasted = kernel.arrays(kernel.with_pattern(*given, hot, EPS))
        else:
            hot = [kernel.images(drawn[n]) for n in ("rows", "columns")]
            pasted = array(kernel.with_pattern(*given, hot, EPS))
        for n in range(4):
            row, column = drawn["rows"][n].argmax(axis=0), drawn["columns"][n].argmax(axis=0)
            expected = x[n].copy()
            expected[np.ix_(row, column)] = patches[n]
            assert np.abs(pasted[n] - expected).max() < 1e-12

    def test_patches_may_be_anywhere(self):
        drawn = places(np.random.default_rng(0), 400, (6, 7), 3)
        firsts = [set(drawn[n][:, :, 0].argmax(axis=1).tolist()) for n in ("rows", "columns")]
        assert firsts == [set(range(4)), set(range(5))]

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    def test_patches_stay_pixels(self, framework):
        _, kernel = made("meta-gen", framework, pattern="patch")
        patch = np.array([0.05, 0.5, 0.5, 0.95]).reshape(1, 2, 2, 1)
        gradient = np.array([-1.0, -2.0, 3.0, 4.0]).reshape(1, 2, 2, 1)
        given = [kernel.images(value) for value in (patch, gradient, np.array([0.1]))]
        moved = array(kernel.moved(*given, EPS)).ravel()
        assert moved == pytest.approx([0, 0.4, 0.6, 1])

    def test_patches_are_refused_for_tabular_data(self):
        defense = defenses.create("meta-gen", defenses.Threat("linf", EPS), {"pattern": "patch"})
        with pytest.raises(defenses.DefenseError, match="these data are tabular"):
            defense.check_inputs((12,))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("generator", ["bank", "network"])
def test_a_part_of_the_batch_may_be_empty(generator, share, framework, tmp_path):
    """On images, because TensorFlow's convolutions take no batch without examples."""
    x, y = small.data()
    settings = {"generator": generator, "pgd_share": share, "batch_size": 24, "attack_steps": 2}
    defense = defenses.create("meta-gen", small.THREAT, settings)
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", "it")
    fitted = defense.fit(small.build(framework), x, y, epochs=1, checkpoint=checkpoint)
    # None of the generator's passes, or none of the ascent's two steps
    assert (fitted.cost == gradients(4 * len(x))) is (share == 1)
    again = defense.fit(small.build(framework), x, y, epochs=1, checkpoint=checkpoint)
    assert np.array_equal(again.predict(x), fitted.predict(x))


@pytest.mark.parametrize(
    "settings",
    [
        {"generator": "bank"},
        {"generator": "network"},
        {"generator": "network", "algorithm": "maml"},
        {"generator": "bank", "pgd_share": 1.0},
        {"generator": "network", "pgd_share": 1.0},
    ],
    ids=["bank", "reptile", "maml", "no bank", "no network"],
)
def test_the_cost_is_that_of_the_passes_that_ran(settings, monkeypatch):
    defense, kernel = made("meta-gen", "torch", batch_size=9, tasks=2, **settings)
    ran = {"forwards": 0, "backwards": 0}

    def counted(output):
        ran["forwards"] += len(output)
        if output.requires_grad:
            output.register_hook(lambda g: ran.update(backwards=ran["backwards"] + len(g)))
        return output

    generate = generator_in_torch.generate
    monkeypatch.setattr(generator_in_torch, "generate", lambda *given: counted(generate(*given)))
    kernel.model.register_forward_hook(lambda module, inputs, output: counted(output))
    x, y, _ = batch(9)
    draws = defense.draw(np.random.default_rng(0), x.astype(np.float32), y)
    kernel.step(draws, learning_rate=0.1, eps=EPS)
    cost = defense.step_cost()
    assert ran["forwards"] == cost.forwards
    # Differentiating an inner step goes back through its outputs once more.
    assert ran["backwards"] == cost.backwards + cost.second_order

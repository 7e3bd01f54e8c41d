"""The library API: what `fit` and `adapt` take, refuse, count, save and continue."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest

from benchmark import frameworks, models

frameworks.import_torch_first()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402
from art.estimators.classification import PyTorchClassifier, TensorFlowV2Classifier  # noqa: E402

import benchmark.models.pytorch as in_torch  # noqa: E402
import benchmark.models.tensorflow as in_tensorflow  # noqa: E402
import defenses  # noqa: E402
import defenses.generator.pytorch as generator_in_torch  # noqa: E402
from defenses.checkpoints import Checkpoint  # noqa: E402
from defenses.schedules import SCHEDULES, ramp  # noqa: E402
from defenses.trial import EXAMPLES  # noqa: E402

SMALL = {
    "none": {"batch_size": 16},
    "fgsm-at": {"batch_size": 16},
    "fgsm-rs": {"batch_size": 16},
    "free-at": {"batch_size": 16, "replays": 3},
    "pgd-at": {"batch_size": 16, "attack_steps": 2},
    "trades": {"batch_size": 16, "attack_steps": 2},
    "mart": {"batch_size": 16, "attack_steps": 2},
    "awp": {"batch_size": 16, "attack_steps": 2},
    "random-norm": {"batch_size": 16, "attack_steps": 2, "eps_l2": 0.5, "eps_l1": 1.0},
    "msd": {"batch_size": 16, "attack_steps": 2, "eps_l2": 0.5, "eps_l1": 1.0},
    "mng-ac": {"batch_size": 16, "attack_steps": 2, "eps_l2": 0.2, "width": 4},
    "meta-gen": {"batch_size": 16, "bank_size": 8, "candidates": 3, "attack_steps": 2},
    "gaussian": {"batch_size": 16},
    "seed-listing": {"batch_size": 16},
    "meta-adv": {"tasks": 2, "support": 3, "query": 5, "inner_steps": 2, "query_attack_steps": 2},
}
ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}
BUILDERS = {"torch": in_torch, "tensorflow": in_tensorflow}
THREAT = defenses.Threat("linf", 0.1)


def data(shape=(6, 6, 1), count=48, classes=3, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.random((count, *shape), dtype=np.float32)
    return x, generator.integers(0, classes, count)


def recorded_inputs(model, monkeypatch):
    """A list that receives the inputs, NHWC or (n, d), of every pass through the model."""
    seen = []
    if isinstance(model, torch.nn.Module):

        def record(_, inputs):
            x = inputs[0].detach().numpy()
            seen.append((x.transpose(0, 2, 3, 1) if x.ndim == 4 else x).copy())

        model.register_forward_pre_hook(record)
        return seen
    call = model.call

    def recording(x, *arguments, **keywords):
        tf.numpy_function(lambda x: seen.append(x.copy()), [x], [])
        return call(x, *arguments, **keywords)

    monkeypatch.setattr(model, "call", recording)
    return seen


def build(framework, shape=(6, 6, 1), classes=3):
    specification = models.specification("cnn" if len(shape) == 3 else "mlp", shape, classes)
    return BUILDERS[framework].build(specification, specification.initial_weights(0))


@pytest.mark.parametrize("framework", BUILDERS)
@pytest.mark.parametrize("shape", [(6, 6, 1), (7,)], ids=["images", "tabular"])
@pytest.mark.parametrize("name", SMALL)
class TestConformance:
    """Every defense, in both frameworks, on images and on tabular data."""

    def test_learns_and_reports(self, name, shape, framework):
        x, y = data(shape)
        y = (x.reshape(len(x), -1)[:, 0] * 2.999).astype(int)  # the first pixel tells the class
        defense = defenses.create(name, THREAT, SMALL[name])
        seen = []
        fitted = defense.fit(
            build(framework, shape), x, y, epochs=3, validation=(x, y), progress=seen.append
        )
        assert [entry["epoch"] for entry in fitted.history] == [1, 2, 3]
        assert all(math.isfinite(entry["loss"]) for entry in fitted.history)
        assert fitted.history[-1]["validation_accuracy"] == pytest.approx(
            (fitted.predict(x).argmax(axis=1) == y).mean()
        )
        assert seen == sorted(seen)
        assert seen[-1] == 1
        assert fitted.cost.gradient_evaluations == pytest.approx(
            defense.length(len(x), epochs=3, validation=len(x)).gradient_evaluations
        )

    def test_an_interrupted_fit_continues_to_the_same_weights(
        self, name, shape, framework, tmp_path
    ):
        x, y = data(shape)
        defense = defenses.create(name, THREAT, SMALL[name])
        whole = defense.fit(build(framework, shape), x, y, epochs=3, seed=5)

        class Killed(BaseException):
            pass

        def kill(done):
            if done > 0.7:
                raise Killed

        checkpoint = Checkpoint(tmp_path / "checkpoint.npz", "this one")
        with pytest.raises(Killed):
            defense.fit(
                build(framework, shape),
                x,
                y,
                epochs=3,
                seed=5,
                checkpoint=checkpoint,
                progress=kill,
            )
        seen = []
        continued = defense.fit(
            build(framework, shape),
            x,
            y,
            epochs=3,
            seed=5,
            checkpoint=checkpoint,
            progress=seen.append,
        )

        assert seen[0] > 0.6, "it started from the beginning"
        assert continued.history == whole.history
        assert np.array_equal(continued.predict(x), whole.predict(x))

    def test_adapting_leaves_the_fitted_model_alone(self, name, shape, framework):
        x, y = data(shape)
        defense = defenses.create(name, THREAT, SMALL[name])
        fitted = defense.fit(build(framework, shape), x, y, epochs=1)
        before = fitted.predict(x)
        adapted = fitted.adapt(x[:9], y[:9], steps=3, rate=0.5)
        assert np.array_equal(fitted.predict(x), before)
        assert np.abs(adapted.predict(x) - before).max() > 1e-3
        assert adapted.cost.forwards >= 9 * 4

    def test_stays_within_its_budget_while_training(self, name, shape, framework, monkeypatch):
        x, y = data(shape)
        # Inputs of several tasks at once can't be looked at.
        alone = {"chunk": 1} if name == "meta-adv" else {}
        defense = defenses.create(name, THREAT, {**SMALL[name], **alone})
        model = build(framework, shape)
        seen = recorded_inputs(model, monkeypatch)
        kernel = defense.kernel(defenses.defense.recognise(model))
        generator = np.random.default_rng(0)
        size = defense.examples_per_step
        eps = THREAT.eps / 2  # as if it were still rising
        for _ in range(2):
            index = generator.permutation(len(x))[:size]
            del seen[:]
            kernel.step(defense.draw(generator, x[index], y[index]), learning_rate=0.01, eps=eps)
            inputs = np.concatenate([part.reshape(len(part), -1) for part in seen])
            natural = x[index].reshape(size, -1)
            # Each input belongs to the nearest example: random ones are far apart.
            used = budget_used(name, inputs[:, None] - natural[None], eps).min(axis=1)
            assert name == "gaussian" or used.max() <= 1 + 1e-5
            assert name == "none" or used.max() > 0.9
            # What is trained on comes last; fgsm-rs attacks from starts outside of the box.
            assert seen[-1].min() >= 0
            assert seen[-1].max() <= 1


def budget_used(name, differences, eps):
    """The share of the budget that each perturbation takes, in the norm that it takes least of."""
    rise = eps / THREAT.eps
    others = {norm: SMALL[name].get(f"eps_{norm}") for norm in ("l2", "l1")}
    budgets = {"linf": eps} | {norm: full * rise for norm, full in others.items() if full}
    lengths = [
        np.linalg.norm(differences.astype(np.float64), ord=ORDERS[norm], axis=-1) / budget
        for norm, budget in budgets.items()
    ]
    return np.min(lengths, axis=0)


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


class TestSubjects:
    """What `fit` accepts as a model."""

    def test_art_classifiers(self):
        x, y = data()
        plain = build("torch")
        wrapped = build("torch")
        classifier = PyTorchClassifier(
            wrapped, torch.nn.CrossEntropyLoss(), input_shape=(1, 6, 6), nb_classes=3
        )
        defense = defenses.create("pgd-at", THREAT, SMALL["pgd-at"])
        ours = defense.fit(plain, x, y, epochs=1).predict(x)
        channels_first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        theirs = defense.fit(classifier, channels_first, y, epochs=1)
        assert np.array_equal(theirs.predict(channels_first), ours)
        assert np.allclose(classifier.predict(channels_first), ours, atol=1e-6)

    def test_keras_classifier(self):
        x, y = data()
        classifier = TensorFlowV2Classifier(
            build("tensorflow"), nb_classes=3, input_shape=(6, 6, 1), clip_values=(0, 1)
        )
        fitted = defenses.create("none", THREAT, SMALL["none"]).fit(classifier, x, y, epochs=1)
        assert fitted.model is classifier.model

    def refused(self, model, name="none"):
        with pytest.raises(defenses.DefenseError) as caught:
            defenses.create(name, THREAT, SMALL[name]).fit(model, *data(), epochs=1)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_other_objects_are_refused(self):
        assert "can't train a builtins.object; allowed: torch.nn.Module" in self.refused(object())

    def test_preprocessing_is_refused(self):
        classifier = PyTorchClassifier(
            build("torch"),
            torch.nn.CrossEntropyLoss(),
            input_shape=(1, 6, 6),
            nb_classes=3,
            preprocessing=(0.5, 0.5),
        )
        assert "make the normalisation a layer" in self.refused(classifier)

    def test_a_softmax_is_refused(self):
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3), torch.nn.Softmax(1))
        assert "need logits" in self.refused(model)
        layers = [keras.Input((6, 6, 1)), keras.layers.Flatten()]
        layers.append(keras.layers.Dense(3, activation="softmax"))
        assert "need logits" in self.refused(keras.Sequential(layers))

    @pytest.mark.parametrize("layer", ["BatchNormalization", "GroupNormalization"])
    def test_keras_normalisation_is_refused_in_second_order(self, layer):
        normalisation = getattr(keras.layers, layer)(
            **({"groups": 1} if layer == "GroupNormalization" else {})
        )
        layers = [keras.Input((6, 6, 1)), normalisation, keras.layers.Flatten()]
        layers.append(keras.layers.Dense(3))
        message = self.refused(keras.Sequential(layers), "meta-adv")
        assert f"({layer}) in second order: Keras stops the gradient of its mean" in message


BAD_PARAMETERS = {
    "unknown defense": ("pgd_at", {}, "unknown defense 'pgd_at'; did you mean 'pgd-at'?"),
    "unknown parameter": ("pgd-at", {"atack_steps": 3}, "did you mean 'attack_steps'?"),
    "out of range": ("pgd-at", {"attack_steps": 0}, "attack_steps must be at least 1, got 0"),
    "not whole": ("pgd-at", {"batch_size": 1.5}, "batch_size must be a whole number, got 1.5"),
    "a flag": ("pgd-at", {"batch_size": True}, "batch_size must be a whole number, got True"),
    "not finite": ("none", {"learning_rate": math.inf}, "learning_rate must be a number, got inf"),
    "no choice": ("none", {"optimizer": "adm"}, "optimizer must be one of adam, sgd, got 'adm'"),
    "one norm": ("msd", {}, "only linf has a budget; give eps_l2 or eps_l1"),
    "one norm, explicitly": ("random-norm", {"eps_l2": 0}, "only linf has a budget"),
    "a budget twice": ("msd", {"eps_linf": 0.2, "eps_l1": 3}, "leave eps_linf out"),
    "unknown preset": (
        "meta-adv",
        {"preset": "rmaml"},
        "unknown preset 'rmaml'; did you mean 'r-maml'?",
    ),
    "unknown task": ("meta-adv", {"distribution": "subset"}, "did you mean 'subsets'?"),
    "no names": ("meta-adv", {"held_out": 3}, "held_out must be names, such as a,b; got 3"),
    "a name twice": ("meta-adv", {"held_out": ["l1", "l1"]}, "give each one once"),
    "held out": (
        "meta-adv",
        {"distribution": "attacks", "attacks": "pgd-linf,fgsm", "held_out": "momentum"},
        "training on 'pgd-linf' would see the held-out 'momentum'",
    ),
    "threat held out": ("meta-adv", {"held_out": "linf"}, "would see the held-out 'linf'"),
    "all held out": (
        "meta-adv",
        {"distribution": "attacks", "held_out": "linf,l2,l1"},
        "no attack is left to train on",
    ),
    "no budget": (
        "meta-adv",
        {"distribution": "attacks", "attacks": "pgd-l2"},
        "attack 'pgd-l2' has no l2 budget; give eps_l2",
    ),
    "budget of zero": ("meta-adv", {"least_budget": 0}, "least_budget must be from 0.01 to 1"),
    "shots and ways": (
        "meta-adv",
        {"distribution": "few-way", "ways": 3},
        "support 8 can't be divided into 3 classes",
    ),
    "reptile's outer loss": (
        "meta-adv",
        {"algorithm": "reptile", "outer_loss": "trades"},
        "reptile has no outer loss",
    ),
    "trades crossed": (
        "meta-adv",
        {"inner_loss": "crossed", "outer_loss": "trades"},
        "outer_loss trades is one loss",
    ),
    "no flag": ("meta-adv", {"learn_rates": 1}, "learn_rates must be true or false, got 1"),
    "share": ("none", {"eps_warmup": 2}, "eps_warmup must be from 0 to 1, got 2"),
}


@pytest.mark.parametrize(
    ("name", "parameters", "message"), BAD_PARAMETERS.values(), ids=BAD_PARAMETERS
)
def test_bad_parameters_are_refused(name, parameters, message):
    with pytest.raises(defenses.DefenseError) as caught:
        defenses.create(name, THREAT, parameters)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"ways": 4}, "has 3 classes, 3 of them with so many; lower ways, support or query"),
        ({"ways": 2, "support": 20, "query": 20}, "2 classes with 20 examples each"),
    ],
)
def test_few_way_tasks_need_classes_with_enough_examples(parameters, message):
    x, _ = data(count=45)
    parameters = {"distribution": "few-way", "support": 4, "query": 4, **parameters}
    defense = defenses.create("meta-adv", THREAT, parameters)
    with pytest.raises(defenses.DefenseError, match=message):
        defense.fit(build("torch"), x, np.arange(45) % 3, epochs=1)


@pytest.mark.parametrize("name", defenses.names())
def test_every_parameter_is_documented(name):
    lines = defenses.parameter_help(name)
    assert set(lines) - {"preset"} == set(defenses.parameter_names(name))
    assert [parameter for parameter, line in lines.items() if " " not in line] == []


def test_parameters_go_over_a_preset_s_and_back_to_the_same_defense():
    defense = defenses.create("meta-adv", THREAT, {"preset": "aq", "tasks": 3})
    assert (defense.tasks, defense.support, defense.optimizer) == (3, 75, "sgd")
    assert defenses.create("meta-adv", THREAT, defense.parameters()) == defense


@pytest.mark.parametrize(
    ("norm", "eps", "message"),
    [
        ("l3", 0.1, "unknown norm 'l3'"),
        ("linf", 0, "eps must be a positive number, got 0"),
        ("linf", -1, "eps must be a positive number, got -1"),
        ("linf", math.nan, "eps must be a positive number, got nan"),
    ],
)
def test_bad_threats_are_refused(norm, eps, message):
    with pytest.raises(defenses.DefenseError, match=message):
        defenses.Threat(norm, eps)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((4, 6, 6)), np.zeros(4, int), r"must be \(n, H, W, C\) or \(n, d\)"),
        (np.zeros((4, 6, 6, 1)), np.zeros(3, int), "labels must be whole numbers of shape"),
        (np.zeros((4, 6, 6, 1)), np.zeros(4), "labels must be whole numbers of shape"),
        (np.full((4, 6, 6, 1), 2.0), np.zeros(4, int), r"must lie in \[0, 1\], got \[2.0, 2.0\]"),
        (np.full((4, 6, 6, 1), np.nan), np.zeros(4, int), r"must lie in \[0, 1\]"),
        (np.zeros((0, 6, 6, 1)), np.zeros(0, int), "no examples"),
    ],
)
def test_bad_data_are_refused(x, y, message):
    with pytest.raises(defenses.DefenseError, match=message):
        defenses.create("none", THREAT).fit(build("torch"), x, y, epochs=1)


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

    @pytest.mark.parametrize("given", [{}, {"epochs": 1, "budget_ge": 9}])
    def test_needs_one_length(self, given):
        with pytest.raises(defenses.DefenseError, match="either epochs or a budget"):
            defenses.create("none", THREAT).length(100, **given)

    @pytest.mark.parametrize("given", [{"epochs": 0}, {"budget_ge": 5}])
    def test_refuses_to_train_nothing(self, given):
        with pytest.raises(defenses.DefenseError, match="trains nothing"):
            defenses.create("none", THREAT).length(100, **given)

    def test_small_data_shrink_the_updates(self):
        assert defenses.create("none", THREAT).length(7, epochs=2).steps == 2

    def test_a_task_that_can_not_be_filled(self):
        with pytest.raises(defenses.DefenseError, match="lower support or query"):
            defenses.create("meta-adv", THREAT).length(7, epochs=2)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_random_starts_fill_the_unit_ball(norm):
    threat = defenses.Threat(norm, 0.1)
    starts = threat.random_starts(np.random.default_rng(0), (4000, 2))
    lengths = np.linalg.norm(starts.astype(np.float64), ord=ORDERS[norm], axis=1)
    assert lengths.max() <= 1 + 1e-6
    assert np.abs(starts.mean(axis=0)).max() < 0.03
    # Uniform in two dimensions: a quarter of the points lies within half of the radius.
    assert (lengths < 0.5).mean() == pytest.approx(0.25, abs=0.03)


def test_divergence_is_an_error_that_helps():
    x, y = data()
    defense = defenses.create("none", THREAT, {"optimizer": "sgd", "learning_rate": 1e18})
    with pytest.raises(defenses.TrainingDivergedError, match="try a learning_rate below 1e\\+18"):
        defense.fit(build("torch"), x, y, epochs=50)


@pytest.mark.parametrize(
    ("name", "done", "factor"),
    [
        ("constant", 0.9, 1.0),
        ("cosine", 0.0, 1.0),
        ("cosine", 0.5, 0.5),
        ("cyclic", 0.2, 0.5),
        ("cyclic", 0.4, 1.0),
        ("cyclic", 0.7, 0.5),
        ("piecewise", 0.6, 0.1),
        ("piecewise", 0.8, 0.01),
    ],
)
def test_schedules(name, done, factor):
    assert SCHEDULES[name](done) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("done", "share", "factor"), [(0.1, 0, 1), (0.1, 0.4, 0.25), (0.9, 0.4, 1)]
)
def test_ramp(done, share, factor):
    assert ramp(done, share) == pytest.approx(factor)


@pytest.mark.parametrize("content", [b"", b"not a zip file", b"PK\x03\x04broken"])
def test_a_broken_checkpoint_starts_the_training_anew(content, tmp_path):
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(content)
    x, y = data()
    defense = defenses.create("none", THREAT, SMALL["none"])
    fitted = defense.fit(build("torch"), x, y, epochs=2, checkpoint=Checkpoint(path, "a"))
    assert np.array_equal(fitted.predict(x), defense.fit(build("torch"), x, y, epochs=2).predict(x))


def test_a_checkpoint_of_another_training_is_not_taken_up(tmp_path):
    path = tmp_path / "checkpoint.npz"
    x, y = data()
    defense = defenses.create("none", THREAT, SMALL["none"])
    defense.fit(build("torch"), x, y, epochs=2, checkpoint=Checkpoint(path, "a"))
    again = defense.fit(build("torch"), x, y, epochs=3, seed=1, checkpoint=Checkpoint(path, "b"))
    plain = defense.fit(build("torch"), x, y, epochs=3, seed=1)
    assert np.array_equal(again.predict(x), plain.predict(x))

"""The epoch loop's options: early stopping, averaged weights, catastrophic overfitting."""

from __future__ import annotations

import contextlib
import copy

import numpy as np
import pytest

from benchmark import frameworks, models

frameworks.import_torch_first()

import torch  # noqa: E402

import benchmark.models.pytorch as in_torch  # noqa: E402
import benchmark.models.tensorflow as in_tensorflow  # noqa: E402
import defenses  # noqa: E402
from defenses.checkpoints import Checkpoint  # noqa: E402
from defenses.cost import Cost  # noqa: E402
from defenses.schedules import averaging_decay  # noqa: E402
from defenses.training import train  # noqa: E402
from defenses.validation import Overfitting, overfitting, validation_cost  # noqa: E402

BUILDERS = {"torch": in_torch, "tensorflow": in_tensorflow}
THREAT = defenses.Threat("linf", 0.1)


def data(count=48):
    generator = np.random.default_rng(0)
    return generator.random((count, 6, 6, 1), dtype=np.float32), generator.integers(0, 3, count)


def build(framework):
    specification = models.specification("cnn", (6, 6, 1), 3)
    return BUILDERS[framework].build(specification, specification.initial_weights(0))


def history(*accuracies):
    return [
        {"epoch": epoch, "robust_validation_accuracy": pgd, "fgsm_validation_accuracy": fgsm}
        for epoch, (pgd, fgsm) in enumerate(accuracies, 1)
    ]


HISTORIES = {
    "healthy": ([(0.1, 0.1), (0.5, 0.55), (0.7, 0.78), (0.69, 0.8)], None),
    "collapse": ([(0.6, 0.7), (0.7, 0.75), *[(0.1, 0.95)] * 3], (5, 2, True)),
    "collapse, and recovery": ([(0.6, 0.7), *[(0.2, 0.8)] * 2, (0.7, 0.9)], None),
    "collapse at the end": ([(0.7, 0.75), *[(0.55, 0.8)] * 3, (0.4, 0.9)], (5, 1, True)),
    "both fall": ([(0.7, 0.75), (0.3, 0.4)], None),
    "FGSM falls a little": ([(0.74, 0.95), *[(0.26, 0.91)] * 3], (4, 1, True)),
    "never robust": ([(0.12, 0.3), (0.08, 0.36), (0.1, 0.33), (0.08, 0.36)], (4, 1, False)),
    "never robust, at the end": ([(0.1, 0.1)] * 4 + [(0.08, 0.36)], (5, 1, False)),
    "apart at the beginning": ([(0.1, 0.6), (0.07, 0.87), (0.09, 0.74), (0.58, 0.8)], None),
    "apart, and rising": ([(0.0, 0.9), (0.01, 0.9), (0.02, 0.9), (0.03, 0.9)], None),
    "honest, at a large budget": ([(0.18, 0.33), (0.11, 0.29), (0.15, 0.4), (0.14, 0.34)], None),
    "a wide gap alone": ([(0.58, 0.76), (0.47, 0.81)], None),
    "the collapse counts more": (
        [(0.12, 0.3), *[(0.01, 0.6)] * 3, (0.5, 0.55), *[(0.1, 0.9)] * 3],
        (8, 5, True),
    ),
    "one epoch": ([(0.0, 0.9)], None),
}


@pytest.mark.parametrize(("accuracies", "expected"), HISTORIES.values(), ids=HISTORIES)
def test_catastrophic_overfitting_is_seen(accuracies, expected):
    found = overfitting(history(*accuracies), epochs=max(5, len(accuracies)))
    assert (found and (found.epoch, found.good_epoch, found.collapsed)) == expected


def test_a_rising_budget_is_no_overfitting():
    accuracies = history((0.1, 0.1), *[(0.01, 0.6)] * 3, (0.6, 0.7))
    assert overfitting(accuracies, after=0) is not None
    assert overfitting(accuracies, after=4) is None


def test_overfitting_is_told_in_one_line():
    line = str(Overfitting(7, 5, (0.71, 0.03), (0.8, 0.99)))
    assert line == (
        "catastrophic overfitting in epoch 7: since epoch 5, validation accuracy under PGD fell "
        "from 71.0% to 3.0%, while under FGSM it went from 80.0% to 99.0%"
    )
    line = str(Overfitting(14, 9, (0.1, 0.08), (0.2, 0.36)))
    assert line == (
        "signs of catastrophic overfitting in epoch 14: validation accuracy is 36.0% under FGSM "
        "and only 8.0% under PGD"
    )


class Scripted:
    """A kernel whose weights are the number of its steps, and whose accuracies are given.

    Args:
        accuracies: an epoch's accuracy under PGD and under FGSM.
    """

    steps_per_epoch = 2

    def __init__(self, accuracies):
        self.accuracies = accuracies
        self.steps = 0

    def room(self):
        return 0

    def drawing_from(self, seed):
        return contextlib.nullcontext()

    def step(self, draws, *, learning_rate, eps):
        self.steps += 1
        return 1.0

    def attack(self, x, y, start, *, eps, ascent):
        return np.full_like(x, 0.25 if ascent.steps > 1 else 0.75)

    def predict(self, x):
        pgd, fgsm = self.accuracies[self.steps // self.steps_per_epoch - 1]
        right = {0.25: pgd, 0.75: fgsm}.get(float(x.flat[0]), 1.0) * len(x)
        return np.eye(2)[(np.arange(len(x)) >= round(right)).astype(int)]

    def weights(self):
        return {"steps": np.array(self.steps)}

    def load_weights(self, weights):
        self.steps = int(weights["steps"])

    state, load_state = weights, load_weights


COLLAPSE = [(0.4, 0.5), (0.6, 0.7), (0.1, 0.9), (0.1, 0.9), (0.1, 0.9), (0.7, 0.8)]


def scripted(accuracies, tmp_path=None, *, killed_after=None, **parameters):
    """Train a scripted kernel for six epochs of two steps; all labels are 0."""
    kernel = Scripted(accuracies)
    defense = defenses.create("fgsm-at", THREAT, {"batch_size": 100, **parameters})
    x, y = np.full((200, 3), 0.5, np.float32), np.zeros(200, int)
    told = []

    class Killed(BaseException):
        pass

    def progress(done):
        if killed_after is not None and done > killed_after:
            raise Killed

    arguments = {
        "length": defense.length(200, epochs=6, validation=20),
        "seed": 0,
        "validation": (x[:20], y[:20]),
        "notify": told.append,
        "checkpoint": tmp_path and Checkpoint(tmp_path / "checkpoint.npz", "it"),
    }
    if killed_after is not None:
        with pytest.raises(Killed):
            train(defense, kernel, x, y, progress=progress, **arguments)
        kernel = Scripted(accuracies)
    return kernel, train(defense, kernel, x, y, **arguments), told


class TestCatastrophicOverfitting:
    def test_warned_of(self):
        kernel, outcome, told = scripted(COLLAPSE)
        assert kernel.steps == 12
        assert outcome.overfitting == Overfitting(5, 2, (0.6, 0.1), (0.7, 0.9))
        assert outcome.restored_epoch is None
        assert list(outcome.notices) == told
        assert len(told) == 1
        assert "in epoch 5" in told[0]
        assert "the training went on" in told[0]

    def test_not_seen_while_the_budget_rises(self):
        _, outcome, told = scripted(COLLAPSE, eps_warmup=1.0)
        assert (outcome.overfitting, told) == (None, [])

    def test_undone(self):
        kernel, outcome, told = scripted(COLLAPSE, on_overfit="restore")
        assert kernel.steps == 4, "the weights after epoch 2"
        assert outcome.restored_epoch == 2
        assert len(outcome.history) == 5
        assert outcome.steps == 10
        assert "the weights of epoch 2 were restored" in told[0]

    def test_nothing_to_go_back_to(self):
        never = [(0.1, 0.1), (0.05, 0.2), (0.0, 0.6), (0.0, 0.7), (0.0, 0.8), (0.0, 0.8)]
        kernel, outcome, told = scripted(never, on_overfit="restore")
        assert kernel.steps == 12
        assert outcome.restored_epoch is None
        assert "no earlier epoch was robust, so the training went on" in told[0]

    @pytest.mark.parametrize("killed_after", [0.4, 0.7, 0.8])
    def test_undone_after_an_interruption(self, killed_after, tmp_path):
        kernel, outcome, _ = scripted(
            COLLAPSE, tmp_path, killed_after=killed_after, on_overfit="restore"
        )
        whole, expected, _ = scripted(COLLAPSE, on_overfit="restore")
        assert (kernel.steps, outcome) == (whole.steps, expected)

    def test_a_training_that_had_ended_is_not_continued(self, tmp_path):
        first, expected, _ = scripted(COLLAPSE, tmp_path, on_overfit="restore")
        again, outcome, told = scripted(COLLAPSE, tmp_path, on_overfit="restore")
        assert (again.steps, outcome) == (first.steps, expected)
        assert told == [], "it was told before"

    def test_not_watched_without_validation_data(self):
        x, y = data()
        fitted = defenses.create("fgsm-rs", THREAT, {"batch_size": 16}).fit(
            build("torch"), x, y, epochs=1
        )
        assert fitted.notices == (
            "not watched for catastrophic overfitting: no validation data were given",
        )


class TestEarlyStopping:
    @pytest.mark.parametrize(("patience", "epochs", "best"), [(1, 3, 2), (3, 5, 2), (4, 6, 6)])
    def test_ends_without_a_gain_and_restores_the_best(self, patience, epochs, best):
        kernel, outcome, _ = scripted(COLLAPSE, early_stopping=patience)
        assert len(outcome.history) == epochs
        assert outcome.restored_epoch == best
        assert kernel.steps == 2 * best

    def test_its_cost_is_counted(self):
        _, outcome, _ = scripted(COLLAPSE, early_stopping=1)
        # 20 examples, 3 epochs: ten steps of PGD, one of FGSM, a prediction on what each found.
        checks = Cost(forwards=20 * 3 * (10 + 1 + 2), backwards=20 * 3 * (10 + 1))
        assert outcome.cost == Cost(forwards=1200, backwards=1200) + checks

    def test_needs_validation_data(self):
        defense = defenses.create("pgd-at", THREAT, {"early_stopping": 2})
        with pytest.raises(defenses.DefenseError, match="early_stopping needs validation data"):
            defense.fit(build("torch"), *data(), epochs=1)


def test_validation_attacks_are_part_of_the_budget():
    defense = defenses.create("fgsm-at", THREAT, {"batch_size": 100})
    check = validation_cost([THREAT], 100).gradient_evaluations
    assert check == pytest.approx(100 * (11 + 2 / 3))
    # An epoch is 10 updates of 200, and its check.
    length = defense.length(
        1000, budget_ge=int(2000 + check) + 650 + int(check) + 1, validation=400
    )
    assert length.steps == 13
    assert length.epochs == 2
    assert length.gradient_evaluations == pytest.approx(13 * 200 + 2 * check)


# Of four updates: the rate in the middle of each, and the budget at its end.
COURSES = {
    "up and down": ({"schedule": "triangular"}, [0.25, 0.75, 0.75, 0.25], [1, 1, 1, 1]),
    "a rising budget": ({"schedule": "constant", "eps_warmup": 0.5}, [1] * 4, [0.5, 1, 1, 1]),
}


@pytest.mark.parametrize(("parameters", "rates", "budgets"), COURSES.values(), ids=COURSES)
@pytest.mark.parametrize("epochs", [1, 2, 4])
def test_rates_and_budgets_move_over_the_whole_training(epochs, parameters, rates, budgets):
    """Neither is ever zero, and an epoch's end is no end of them."""
    settings = {"learning_rate": 0.2, "eps_warmup": 0.0, "batch_size": 48 * epochs // 4}
    defense = defenses.create("pgd-at", THREAT, settings | parameters)
    x, y = data()
    kernel, told = Scripted([(1.0, 1.0)] * epochs), []
    kernel.step = lambda draws, **given: told.append(given) or 1.0
    train(defense, kernel, x, y, length=defense.length(len(x), epochs=epochs), seed=0)
    assert [one["learning_rate"] for one in told] == pytest.approx([0.2 * r for r in rates])
    assert [one["eps"] for one in told] == pytest.approx([THREAT.eps * b for b in budgets])


def test_the_weights_of_the_losses_move_over_the_whole_training():
    """From those of the first update, with nothing of the training behind it."""
    settings = {"tasks": 2, "support": 6, "query": 6, "inner_steps": 2, "multi_step": 1.0}
    defense = defenses.create("meta-adv", THREAT, settings)
    x, y = data()
    kernel, told = Scripted([(1.0, 1.0)] * 2), []
    kernel.step = lambda draws, **given: told.append(draws["step_weights"].tolist()) or 1.0
    train(defense, kernel, x, y, length=defense.length(len(x), epochs=2), seed=0)
    assert told == [[0.5, 0.5], [0.375, 0.625], [0.25, 0.75], [0.125, 0.875]]


_MORE = {"decayed": "weights", "gradient_clipping": 0.5, "crop": 1, "flip": True}
OPTIONS = {
    "sgd": {"optimizer": "sgd", "weight_decay": 0.01},
    "decay of weights": {"optimizer": "sgd", "nesterov": True, "weight_decay": 0.1, **_MORE},
    "averaging": {"weight_averaging": 0.8, "weight_decay": 0.01},
    "stopping": {"early_stopping": 1, "weight_averaging": 0.8},
    "restoring": {"on_overfit": "restore"},
}


@pytest.mark.parametrize("framework", BUILDERS)
@pytest.mark.parametrize("option", OPTIONS)
def test_an_interrupted_fit_with_options_continues_to_the_same_weights(option, framework, tmp_path):
    x, y = data()
    parameters = {"batch_size": 16, "attack_steps": 1, **OPTIONS[option]}
    defense = defenses.create("pgd-at", THREAT, parameters)

    class Killed(BaseException):
        pass

    def kill(done):
        if done > 0.7:
            raise Killed

    def fit(**more):
        return defense.fit(
            build(framework), x, y, epochs=4, seed=5, validation=(x[:20], y[:20]), **more
        )

    whole = fit()
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", "this one")
    with contextlib.suppress(Killed):  # a training that stops early is not killed
        fit(checkpoint=checkpoint, progress=kill)
    continued = fit(checkpoint=checkpoint)
    assert continued.outcome == whole.outcome
    assert np.array_equal(continued.predict(x), whole.predict(x))


def test_a_checkpoint_tells_what_the_training_took_before_it(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("defenses.checkpoints.time.perf_counter", lambda: now[0])
    for seconds, before in [(10.0, 0.0), (5.0, 10.0), (1.0, 15.0)]:
        checkpoint = Checkpoint(tmp_path / "checkpoint.npz", "this one")
        checkpoint.read()
        assert checkpoint.seconds_before == before
        now[0] += seconds
        checkpoint.save({}, {})


@pytest.mark.parametrize("framework", BUILDERS)
def test_the_averaged_weights_are_validated_and_returned(framework):
    x, y = data()
    decay, seen = 0.7, []
    defense = defenses.create("none", THREAT, {"batch_size": 16, "weight_averaging": decay})
    model = build(framework)
    subject = defenses.defense.recognise(model)
    kernel = defense.kernel(subject)
    take = kernel.step

    def step(draws, **rates):
        loss = take(draws, **rates)
        seen.append(copy.deepcopy(kernel.weights()))
        return loss

    kernel.step = step
    average = copy.deepcopy(kernel.weights())
    outcome = train(
        defense,
        kernel,
        x,
        y,
        length=defense.length(len(x), epochs=3),
        seed=0,
        validation=(x, y),
    )
    for number, weights in enumerate(seen):
        share = averaging_decay(decay, number)
        average = {k: share * average[k] + (1 - share) * weights[k] for k in average}
    returned = kernel.weights()
    assert max(np.abs(returned[k] - average[k]).max() for k in returned) < 1e-6
    assert max(np.abs(returned[k] - seen[-1][k]).max() for k in returned) > 1e-4
    assert outcome.history[-1]["validation_accuracy"] == pytest.approx(
        (kernel.predict(x).argmax(axis=1) == y).mean()
    )


def test_an_error_in_validation_leaves_the_model_its_own_weights(monkeypatch):
    x, y = data()
    defense = defenses.create("none", THREAT, {"batch_size": 16, "weight_averaging": 0.7})
    model, seen = build("torch"), []

    def interrupted(*_):
        raise KeyboardInterrupt

    def remember(done):
        seen.append(copy.deepcopy(model.state_dict()))

    monkeypatch.setattr("defenses.training.accuracy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        defense.fit(model, x, y, epochs=1, validation=(x, y), progress=remember)
    assert all(torch.equal(value, seen[-1][name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("step", "decay"), [(0, 0.1), (8, 0.5), (10_000, 0.9)], ids=["first", "early", "late"]
)
def test_averaging_forgets_the_first_weights_soon(step, decay):
    assert averaging_decay(0.9, step) == pytest.approx(decay)


def test_watching_changes_nothing_but_the_history():
    x, y = data()
    defense = defenses.create("fgsm-at", THREAT, {"batch_size": 16})
    watched = defense.fit(build("torch"), x, y, epochs=2, validation=(x, y))
    alone = defense.fit(build("torch"), x, y, epochs=2)
    assert np.array_equal(watched.predict(x), alone.predict(x))
    assert "robust_validation_accuracy" in watched.history[0]


WEIGHTS = np.array([1.0, -1.0, 2.0, 0.5])

# Defense, and how far its budgets can move the logits (w x, 0): by eps |w|_1 under linf and by
# eps |w|_2 under l2.
MARGINS = {
    "one norm": ("fgsm-at", {}, 0.1 * 4.5),
    "a wider second norm": ("msd", {"early_stopping": 1, "eps_l2": 0.24}, 0.24 * 2.5),
    "a narrower second norm": ("msd", {"early_stopping": 1, "eps_l2": 0.1}, 0.1 * 4.5),
}


@pytest.mark.parametrize(("name", "parameters", "margin"), MARGINS.values(), ids=MARGINS)
def test_robust_validation_is_that_of_the_model_under_attack(name, parameters, margin):
    """A linear model, whose worst case is known; with several norms, all have to be resisted."""
    model = torch.nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor(np.stack([WEIGHTS, np.zeros(4)])))
    settings = {"batch_size": 10, "learning_rate": 0.0, **parameters}
    defense = defenses.create(name, defenses.Threat("linf", 0.1), settings)
    x = np.random.default_rng(0).uniform(0.2, 0.8, (800, 4)).astype(np.float32)
    # None so near to the edge that an attack's last step decides.
    x = x[np.abs(x @ WEIGHTS - margin) > 0.01][:400]
    y = np.zeros(400, int)
    expected = (x[:40] @ WEIGHTS > margin).mean()
    entry = defense.fit(model, x, y, epochs=1, validation=(x, y)).history[0]
    assert 0 < expected < entry["validation_accuracy"]
    assert entry["robust_validation_accuracy"] == pytest.approx(expected)
    assert entry["fgsm_validation_accuracy"] == pytest.approx(expected)

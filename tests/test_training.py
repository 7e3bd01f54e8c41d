"""The epoch loop's options: early stopping, averaged weights, courses of rates and budgets."""

from __future__ import annotations

import contextlib
import copy

import numpy as np
import pytest
import small_defenses as small
import torch
from scripted_training import COLLAPSE, Scripted, scripted

import defenses
from defenses.checkpoints import Checkpoint
from defenses.cost import Cost
from defenses.schedules import averaging_decay
from defenses.training import train
from defenses.validation import validation_cost


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
        defense = defenses.create("pgd-at", small.THREAT, {"early_stopping": 2})
        with pytest.raises(defenses.DefenseError, match="early_stopping needs validation data"):
            defense.fit(small.build("torch"), *small.data(), epochs=1)


def test_validation_attacks_are_part_of_the_budget():
    defense = defenses.create("fgsm-at", small.THREAT, {"batch_size": 100})
    check = validation_cost([small.THREAT], 100).gradient_evaluations
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
    defense = defenses.create("pgd-at", small.THREAT, settings | parameters)
    x, y = small.data()
    kernel, told = Scripted([(1.0, 1.0)] * epochs), []
    kernel.step = lambda draws, **given: told.append(given) or 1.0
    train(defense, kernel, x, y, length=defense.length(len(x), epochs=epochs), seed=0)
    assert [one["learning_rate"] for one in told] == pytest.approx([0.2 * r for r in rates])
    assert [one["eps"] for one in told] == pytest.approx([small.THREAT.eps * b for b in budgets])


def test_the_weights_of_the_losses_move_over_the_whole_training():
    """From those of the first update, with nothing of the training behind it."""
    settings = {"tasks": 2, "support": 6, "query": 6, "inner_steps": 2, "multi_step": 1.0}
    defense = defenses.create("meta-adv", small.THREAT, settings)
    x, y = small.data()
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


@pytest.mark.parametrize("framework", small.BUILDERS)
@pytest.mark.parametrize("option", OPTIONS)
def test_an_interrupted_fit_with_options_continues_to_the_same_weights(option, framework, tmp_path):
    x, y = small.data()
    parameters = {"batch_size": 16, "attack_steps": 1, **OPTIONS[option]}
    defense = defenses.create("pgd-at", small.THREAT, parameters)

    class Killed(BaseException):
        pass

    def kill(done):
        if done > 0.7:
            raise Killed

    def fit(**more):
        return defense.fit(
            small.build(framework), x, y, epochs=4, seed=5, validation=(x[:20], y[:20]), **more
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


@pytest.mark.parametrize("framework", small.BUILDERS)
def test_the_averaged_weights_are_validated_and_returned(framework):
    x, y = small.data()
    decay, seen = 0.7, []
    defense = defenses.create("none", small.THREAT, {"batch_size": 16, "weight_averaging": decay})
    model = small.build(framework)
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
    x, y = small.data()
    defense = defenses.create("none", small.THREAT, {"batch_size": 16, "weight_averaging": 0.7})
    model, seen = small.build("torch"), []

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
    x, y = small.data()
    defense = defenses.create("fgsm-at", small.THREAT, {"batch_size": 16})
    watched = defense.fit(small.build("torch"), x, y, epochs=2, validation=(x, y))
    alone = defense.fit(small.build("torch"), x, y, epochs=2)
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

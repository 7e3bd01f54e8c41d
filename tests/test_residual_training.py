"""Trainings through batch normalisation: equal in both frameworks, by one rule a family."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import defenses
from benchmark import frameworks, models

frameworks.import_torch_first()

import benchmark.models.pytorch as in_torch  # noqa: E402
import benchmark.models.tensorflow as in_tensorflow  # noqa: E402
from benchmark.external import loading  # noqa: E402
from benchmark.external.model import ExternalModel, default_channels  # noqa: E402
from defenses.subject import recognise  # noqa: E402

LINF = defenses.Threat("linf", 0.1)
META = {"tasks": 2, "support": 8, "query": 8, "inner_steps": 1, "inner_rate": 0.1}
META |= {"query_attack_steps": 2}

PREACT, WIDE = "preact-resnet18(width=4)", "wrn-10-1"

AS_PAPERS = {
    **{"crop": 1, "flip": True, "cutout": 2},
    **{"optimizer": "sgd", "nesterov": True, "learning_rate": 0.1, "schedule": "one-cycle"},
    **{"weight_decay": 0.01, "decayed": "weights", "gradient_clipping": 0.5},
}

TEN_STEPS = {
    "pgd-at": (PREACT, "pgd-at", {"attack_steps": 2}),
    "trades": (PREACT, "trades", {"attack_steps": 2}),
    "averaged weights": (WIDE, "pgd-at", {"attack_steps": 1, "weight_averaging": 0.9}),
    "free-at": (WIDE, "free-at", {"replays": 3}),
    "awp": (WIDE, "awp", {"attack_steps": 1, "gamma": 0.05}),
    "as papers train": (PREACT, "pgd-at", {"attack_steps": 2, **AS_PAPERS}),
}


@pytest.mark.parametrize(("model", "name", "parameters"), TEN_STEPS.values(), ids=TEN_STEPS)
def test_ten_steps_agree(model, name, parameters):
    assert_equal_after_ten_steps(model, defenses.create(name, LINF, parameters))


def images(count, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.uniform(-0.5, 1.5, (count, 8, 8, 3)).clip(0, 1).astype(np.float32)
    return x, generator.integers(0, 4, count)


def test_ten_second_order_meta_steps_agree():
    defense = defenses.create("meta-adv", LINF, {**META, "learn_rates": True})
    ours, theirs = assert_equal_after_ten_steps(PREACT, defense)
    assert np.allclose(ours.learned["log_rates"], theirs.learned["log_rates"], rtol=0, atol=1e-8)
    assert np.abs(ours.learned["log_rates"]).max() > 1e-3


def assert_equal_after_ten_steps(name, defense):
    specification = models.specification(name, (8, 8, 3), 4)
    x, y = images(96)
    weights = {k: v.astype("float64") for k, v in specification.initial_weights(0).items()}
    pair = [builder.build(specification, weights) for builder in (in_torch, in_tensorflow)]
    # It buys exactly ten updates.
    budget = round(10 * defense.sized_for(len(x)).step_cost().gradient_evaluations + 1)
    fitted = [defense.fit(model, x, y, budget_ge=budget, seed=3) for model in pair]

    assert [one.outcome.steps for one in fitted] == [10, 10]
    ours, theirs = in_torch.get_weights(pair[0]), in_tensorflow.get_weights(pair[1])
    start = specification.initial_weights(0)
    for name, array in specification.arrays().items():
        assert np.abs(ours[name] - theirs[name]).max() <= 1e-8
        assert array.trained or np.abs(ours[name] - start[name]).min() > 0
    assert np.abs(ours["conv1.weight"] - start["conv1.weight"]).max() > 1e-3
    return fitted


# Passes of a batch in training mode that one update makes: an attack is in evaluation mode.
PASSES = {
    "none": 1,
    "gaussian": 1,
    "fgsm-at": 1,
    "fgsm-rs": 1,
    "pgd-at": 1,
    "free-at": 4,
    "trades": 2,
    "mart": 2,
    "awp": 1,
    "random-norm": 1,
    "msd": 1,
    "mng-ac": 1,
    "meta-gen": 1,
    "seed-listing": 3,
    "meta-adv": 1,
}
FEW = {
    "free-at": {"replays": 4},
    "meta-adv": META,
    "random-norm": {"eps_l2": 0.3},
    "msd": {"eps_l2": 0.3},
    "mng-ac": {"eps_l2": 0.3, "width": 2},
    "meta-gen": {"bank_size": 4, "bank_steps": 1},
}


def kernel_of(framework, name, parameters=None, *, model=WIDE):
    specification = models.specification(model, (8, 8, 3), 4)
    builder = frameworks.part(frameworks.BUILDERS, framework)
    built = builder.build(specification, specification.initial_weights(0))
    defense = defenses.create(name, LINF, parameters or {})
    return defense.kernel(recognise(built))


def step(kernel, seed=0):
    defense = kernel.defense
    x, y = images(defense.examples_per_step, seed)
    draws = defense.at(defense.draw(np.random.default_rng(seed), x, y), 0.0)
    kernel.step(draws, learning_rate=0.05, eps=0.1)
    return x, y


def running(weights):
    return {name: value for name, value in weights.items() if "running" in name}


def test_every_defense_has_a_rule():
    assert PASSES.keys() == set(defenses.names())


@pytest.mark.parametrize("name", PASSES)
def test_running_statistics_count_the_passes_of_losses_alone(name):
    parameters = {"batch_size": 16, **FEW.get(name, {})}
    kernel = kernel_of("torch", name, parameters)
    step(kernel)
    counted = {int(v) for k, v in kernel.weights().items() if k.endswith("num_batches_tracked")}
    assert counted == {PASSES[name]}


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_attacks_predictions_and_adaptation_leave_running_statistics(framework):
    kernel = kernel_of(framework, "meta-adv", META)
    x, y = step(kernel)
    builder = frameworks.part(frameworks.BUILDERS, framework)
    before = builder.get_weights(kernel.model)
    adaptation = kernel.defense.adaptation

    kernel.predict(x)
    kernel.input_gradient(x, y)
    kernel.adapt(x, y, np.zeros_like(x), eps=0.1, adaptation=adaptation)

    after = builder.get_weights(kernel.model)
    assert all(np.array_equal(value, before[name]) for name, value in running(after).items())
    assert not np.array_equal(after["conv1.weight"], before["conv1.weight"])


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_running_statistics_are_averaged_with_the_weights(framework):
    kernel = kernel_of(framework, "pgd-at", {"attack_steps": 1, "weight_averaging": 0.9})
    builder = frameworks.part(frameworks.BUILDERS, framework)
    expected = builder.get_weights(kernel.model)
    for seed in range(3):
        step(kernel, seed)
        kernel.average(0.9)
        now = builder.get_weights(kernel.model)
        expected = {name: 0.9 * value + 0.1 * now[name] for name, value in expected.items()}

    kernel.swap_average()

    averaged = builder.get_weights(kernel.model)
    assert all(np.allclose(averaged[name], expected[name], atol=1e-6) for name in expected)
    kernel.swap_average()
    back = builder.get_weights(kernel.model)
    assert all(np.array_equal(back[name], now[name]) for name in now)


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_going_back_to_an_epoch_takes_its_running_statistics(framework):
    kernel = kernel_of(framework, "none")
    x, _ = step(kernel)
    kept, expected = kernel.weights(), kernel.predict(x)
    step(kernel, 1)
    assert not np.allclose(kernel.predict(x), expected)

    kernel.load_weights(kept)

    assert np.array_equal(kernel.predict(x), expected)


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_a_trained_network_predicts_the_same_once_it_is_loaded_and_copied(tmp_path, framework):
    kernel = kernel_of(framework, "none")
    x, _ = step(kernel)
    kernel.save_weights(tmp_path)
    other = kernel_of(framework, "none")

    other.read_weights(tmp_path)

    assert np.array_equal(other.predict(x), kernel.predict(x))
    assert np.allclose(kernel.copy().predict(x), kernel.predict(x), atol=1e-6)


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_a_trained_network_is_attacked_as_it_was_trained(tmp_path, framework):
    """What `bench attack --model NAME --weights FILE` loads predicts as the training left it."""
    kernel = kernel_of(framework, "none")
    x, _ = step(kernel)
    file = tmp_path / f"weights{frameworks.WEIGHTS_SUFFIXES[framework]}"
    frameworks.part(frameworks.BUILDERS, framework).save_weights(kernel.model, file)
    given = ExternalModel("mine", model=WIDE, weights=str(file), channels=None, outputs="logits")

    loaded = loading.load_external(given, x.shape[1:], 4)

    external = loading.kernel(framework)
    conventions = dataclasses.replace(given, channels=default_channels(framework))
    adapted = external.adapted(loaded.model, conventions, input_shape=x.shape[1:], device="cpu")
    assert np.allclose(external.outputs_of(adapted, x), kernel.predict(x), atol=1e-5)

"""ART's input and output defenses: their table, what is refused, and attacking them adaptively."""

from __future__ import annotations

import functools
import importlib
import inspect

import numpy as np
import pytest

from benchmark import datasets, frameworks, models
from benchmark.attacks.aiming import target
from benchmark.attacks.encoding import encoded
from benchmark.attacks.running import run_attack
from benchmark.attacks.suites import TRANSFER, AttackSpec, load_suite
from benchmark.cells import Cell
from benchmark.config import read
from benchmark.errors import ConfigError, SuiteError
from benchmark.plans.run import make_plan

frameworks.import_torch_first()

import torch  # noqa: E402
from art.defences.postprocessor import ClassLabels  # noqa: E402
from art.defences.postprocessor.postprocessor import Postprocessor  # noqa: E402
from art.defences.preprocessor import SpatialSmoothing, ThermometerEncoding  # noqa: E402
from art.defences.preprocessor.preprocessor import Preprocessor  # noqa: E402

import defenses  # noqa: E402
from benchmark.estimators import wrapped  # noqa: E402
from benchmark.estimators.median import back_through_median  # noqa: E402
from defenses import wrappers  # noqa: E402
from defenses.wrappers import WRAPPERS  # noqa: E402

FRAMEWORKS = ("torch", "tensorflow")
BUILDERS = {"torch": "benchmark.models.pytorch", "tensorflow": "benchmark.models.tensorflow"}
RANDOM = [name for name, wrapper in WRAPPERS.items() if wrapper.random]
FAST = {"pgd": {"max_iter": 4}, "apgd": {"max_iter": 4}, "square": {"max_iter": 8}}


@functools.cache
def digits():
    return datasets.load("digits")


def cell(framework, *attached):
    settings = {name: wrappers.arguments(name, {}) for name in attached}
    return Cell(
        dataset="digits",
        dataset_fingerprint=digits().fingerprint,
        image_size=None,
        split_seed=0,
        model="cnn-small",
        framework=framework,
        defense="+".join(["none", *attached]),
        parameters=settings,
        norm="linf",
        eps=0.15,
        seed=0,
        epochs=6,
        budget_ge=None,
        examples=40,
    )


@functools.cache
def trained(framework, depth=1):
    """An undefended model of `digits`; for depth 10 on the thermometer's encoding."""
    attached = ["thermometer"] if depth > 1 else []
    specification = models.specification("cnn-small", (8, 8, depth), 10)
    builder = importlib.import_module(BUILDERS[framework])
    model = builder.build(specification, specification.initial_weights(0))
    x = encoded(cell(framework, *attached), digits().x_train)
    defense = defenses.create("none", defenses.Threat("linf", 0.15), {"batch_size": 64})
    defense.fit(model, x, digits().y_train, epochs=6)
    return model


def attackable(framework, *attached, count=40):
    """The first test digits, and the trained model with wrappers around it."""
    model = trained(framework, 10 if "thermometer" in attached else 1)
    return target(cell(framework, *attached), model, digits(), np.arange(count), device="cpu")


def successes(spec, aim, *, eps=0.15):
    record, arrays = run_attack(spec, aim, key="k", norm="linf", eps=eps, seed=0)
    assert record["status"] == "ok", record["reason"]
    assert record["violations"] == {"budget": 0, "box": 0, "non_finite": 0}
    return arrays["success"]


@pytest.mark.parametrize("name", WRAPPERS)
def test_the_table_says_what_art_has(name):
    wrapper = WRAPPERS[name]
    module, _, attribute = wrapper.target.partition(":")
    defence = getattr(importlib.import_module(module), attribute)
    assert issubclass(defence, {"pre": Preprocessor, "post": Postprocessor}[wrapper.kind])
    known = set(inspect.signature(defence).parameters)
    assert set(wrapper.arguments) | set(wrapper.fixed) <= known
    for argument, allowed in wrapper.arguments.items():
        # ART itself takes the defaults and the ends of the range.
        for value in (allowed.default, allowed.low, min(allowed.high or 10**6, 10**6)):
            wrapped.stages({name: wrappers.arguments(name, {argument: value})})


REFUSED = {
    "unknown": ("none+jpg", "nothing to attach is called 'jpg'; did you mean 'jpeg'?"),
    "empty": ("none+", "nothing to attach is called ''"),
    "unknown base": ("pgdat+jpeg", "unknown defense 'pgdat+jpeg'; did you mean 'pgd-at'?"),
    "alone": ("jpeg", "'jpeg' is attached to a trained defense, such as none+jpeg"),
    "twice": ("none+jpeg+jpeg", "attaches 'jpeg' twice"),
    "depth": ("pgd-at+thermometer", "a model trained by pgd-at takes pixels; use none+thermometer"),
    "depth, not last": ("none+thermometer+jpeg", "name it after jpeg"),
}


@pytest.mark.parametrize(("name", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_combination_that_can_not_be_is_refused_before_anything_starts(name, reason, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ConfigError) as caught:
        make_plan(read({"defense": [name], "out": out}))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"jpeg": {"quality": 0}}, "jpeg.quality must be from 1 to 95, got 0"),
        ({"jpeg": {"quality": 5.5}}, "jpeg.quality must be a whole number, got 5.5"),
        ({"jpeg": {"qality": 5}}, "jpeg has no argument 'qality'; did you mean 'quality'?"),
        ({"class-labels": {"x": 1}}, "class-labels has no argument 'x'; it takes none"),
        ({"none+jpeg": {"quality": 5}}, "give the parameters of 'none' and 'jpeg' apart"),
        ({"msd": {"eps_l1": 0, "eps_l2": 0}}, "only linf has a budget; give eps_l2 or eps_l1"),
    ],
)
def test_bad_arguments_are_refused(given, reason):
    with pytest.raises(ConfigError) as caught:
        make_plan(read({"defense": ["none+jpeg"], "parameters": given}))
    assert reason in str(caught.value)


@pytest.mark.parametrize("name", WRAPPERS)
def test_tabular_data_are_refused_where_images_are_needed(name, tmp_path):
    generator = np.random.default_rng(0)
    x, y = generator.random((60, 5), dtype=np.float32), np.arange(60) % 3
    np.savez(tmp_path / "table.npz", x_train=x, y_train=y, x_test=x[:30], y_test=y[:30])
    config = read({"defense": [f"none+{name}"], "dataset": f"npz:{tmp_path / 'table.npz'}"})
    if WRAPPERS[name].images_only:
        with pytest.raises(ConfigError, match="works on images, these data are tabular"):
            make_plan(config)
    else:
        assert make_plan(config).jobs


def test_a_plan_holds_arguments_budgets_and_the_transfer_attack():
    parameters = {"jpeg": {"quality": 30}, "pgd-at": {"attack_steps": 2}, "msd": {"eps_l1": 4}}
    plan = make_plan(
        read(
            {
                "defense": ["pgd-at+jpeg+rounded", "msd"],
                "framework": ["torch"],
                "parameters": parameters,
            }
        )
    )
    cells = {job.cell.defense: job for job in plan.jobs}
    job = cells["pgd-at+jpeg+rounded"]
    assert job.cell.trained_by == "pgd-at"
    assert job.cell.wrapped_in == {"jpeg": {"quality": 30}, "rounded": {"decimals": 3}}
    assert job.cell.training_parameters["attack_steps"] == 2
    assert "jpeg" not in job.cell.training_parameters
    assert job.attacks[-1] is TRANSFER
    assert TRANSFER not in cells["none"].attacks
    assert "pgd-at_jpeg_rounded" in job.cell.cell_id
    assert job.training > 0  # no other cell trains it
    budgets = cells["msd"].cell.parameters
    assert (budgets["eps_linf"], budgets["eps_l2"], budgets["eps_l1"]) == (None, 0.8, 4)


@pytest.mark.parametrize(
    ("chosen", "protocol", "told"),
    [
        (["none+jpeg", "pgd-at"], "brief", True),
        (["none+jpeg"], "none", False),
        (["pgd-at"], "brief", False),
    ],
)
def test_it_is_told_that_a_wrapped_model_s_adaptation_is_not_measured(chosen, protocol, told):
    plan = make_plan(read({"defense": chosen, "protocol": protocol}))
    found = [notice for notice in plan.notices if "adapts" in notice]
    assert [notice.endswith("so not of none+jpeg") for notice in found] == [True] * told


def test_the_transfer_attack_is_not_mistaken_for_one_of_the_suite(tmp_path):
    job = make_plan(read({"defense": ["none+jpeg"], "framework": ["torch"]})).jobs[1]
    plain = AttackSpec(TRANSFER.name, TRANSFER.attack, TRANSFER.arguments)
    assert job.attack_keys()["transfer"] not in {
        type(job)(job.cell, "s", (plain,), "out", None).attack_keys()["transfer"]
    }
    path = tmp_path / "mine.yaml"
    path.write_text("attacks: {transfer: {attack: pgd}}")
    with pytest.raises(SuiteError, match="the name 'transfer' is kept"):
        load_suite(str(path))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", WRAPPERS)
def test_every_wrapper_is_attacked_by_every_quick_attack(name, framework):
    aim = attackable(framework, name, count=16)
    assert (aim.clean_prediction == aim.y).mean() > 0.5
    for spec in (*load_suite("quick", FAST).attacks, TRANSFER):
        if spec is TRANSFER and name == "thermometer":
            record, _ = run_attack(spec, aim, key="k", norm="linf", eps=0.3, seed=0)
            assert (record["status"], "encoded" in record["reason"]) == ("not-applicable", True)
            continue
        found = [successes(spec, aim, eps=0.3) for _ in range(2)]
        assert np.array_equal(*found), f"{spec.name} is not repeatable"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_whole_pipeline_judges_what_was_found_below_it(framework):
    aim = attackable(framework, "high-confidence")
    logits = aim.estimator.predict(aim.x)
    scores = aim.predict(aim.x)
    assert scores.min() == 0
    assert np.allclose(np.where(scores > 0, scores, 0).max(axis=1), scores.max(axis=1))
    assert logits.min() < 0


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_straight_through_jpeg_finds_at_least_what_ignoring_it_finds(framework):
    aim = attackable(framework, "jpeg", count=120)
    adaptive = AttackSpec("pgd", TRANSFER.attack, TRANSFER.arguments)

    found, ignoring = successes(adaptive, aim, eps=0.08), successes(TRANSFER, aim, eps=0.08)

    assert found.sum() >= ignoring.sum() > 0


def test_the_hat_finds_more_than_arts_own_estimate_of_the_thermometer(monkeypatch):
    aim = attackable("torch", "thermometer", count=120)
    spec = AttackSpec("pgd", TRANSFER.attack, TRANSFER.arguments)
    found = successes(spec, aim)
    monkeypatch.setattr(
        wrapped.Stage, "back", lambda self, x, grad: self.defence.estimate_gradient(x, grad)
    )
    assert found.sum() > 1.2 * successes(spec, aim).sum() > 0


def test_the_medians_own_gradient_finds_more_than_taking_the_filter_for_the_identity(monkeypatch):
    aim = attackable("torch", "spatial-smoothing", count=120)
    spec = AttackSpec("pgd", TRANSFER.attack, TRANSFER.arguments)
    found = successes(spec, aim, eps=0.1)
    monkeypatch.setattr(wrapped.Stage, "back", lambda self, x, grad: grad)
    assert found.sum() > 1.2 * successes(spec, aim, eps=0.1).sum() > 0


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_the_medians_gradient_is_that_of_finite_differences(size):
    generator = np.random.default_rng(0)
    x, by_output = (
        generator.permutation(60).reshape(1, 6, 5, 2) / 60,
        generator.random((1, 6, 5, 2)),
    )

    def filtered(x):
        return SpatialSmoothing(window_size=size)(x)[0]

    found = back_through_median(x, filtered(x), by_output, size=size)
    for index in np.ndindex(x.shape):
        moved = x.copy()
        moved[index] += 1e-3
        expected = ((filtered(moved) - filtered(x)) * by_output).sum() / 1e-3
        assert found[index] == pytest.approx(expected, abs=1e-9)


def test_equal_pixels_share_the_medians_gradient():
    x = np.zeros((1, 5, 5, 1), np.float32)
    x[0, 0, 0] = 1  # not the median of any window
    found = back_through_median(x, np.zeros_like(x), np.ones_like(x), size=3)
    assert found.sum() == pytest.approx(25)
    assert found[0, 0, 0] == 0
    assert found[0, 3:, 3:] == pytest.approx(1)


def test_below_the_reverse_sigmoid_finds_at_least_what_looking_through_it_finds():
    aim = attackable("torch", "reverse-sigmoid", count=120)
    model = trained("torch")

    class Through(type(aim.estimator)):
        """What an attack sees that takes the scores for those of a model."""

        def predict(self, x, **kwargs):
            return aim.pipeline.predict(x)

        def loss_gradient(self, x, y, **kwargs):
            inputs = torch.tensor(x, requires_grad=True)
            p = torch.softmax(model(inputs.permute(0, 3, 1, 2)).double(), dim=1)
            clipped = p.clamp(1e-9, 1 - 1e-9)
            shift = torch.sigmoid(-0.1 * torch.log((1 - clipped) / clipped)) - 0.5
            scores = (p - shift).clamp(0, 1)
            scores = scores / scores.sum(dim=1, keepdim=True)
            assert np.allclose(scores.detach(), aim.pipeline.predict(x), atol=1e-5)
            loss = -torch.log(scores[np.arange(len(y)), y.argmax(axis=1)]).mean()
            return torch.autograd.grad(loss, inputs)[0].numpy()

    bare = aim.bare
    naive = Through(bare, wrapped.stages({}), input_shape=(8, 8, 1))
    looking = type(aim)(naive, aim.x, aim.y, aim.clean_prediction, aim.index, aim.pipeline, bare)
    for spec in load_suite("quick", {"square": {"max_iter": 100}}).attacks:
        if spec.name in ("pgd", "square"):
            found, through = successes(spec, aim, eps=0.1), successes(spec, looking, eps=0.1)
            assert found.sum() >= through.sum(), spec.name
            assert found.any()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_gradients_are_averaged_over_the_draws_of_a_random_defense(framework):
    aim = attackable(framework, "gaussian-augmentation")
    frameworks.seed_everything(3)
    before = aim.estimator.passes.backwards
    averaged = aim.estimator.loss_gradient(aim.x, aim.y)
    assert aim.estimator.passes.backwards - before == wrappers.DRAWS * len(aim.x)

    frameworks.seed_everything(3)
    stage = wrapped.stages(aim_settings("gaussian-augmentation"))
    single = [aim.bare.loss_gradient(stage.encode(aim.x)[-1], aim.y) for _ in range(wrappers.DRAWS)]
    assert np.allclose(averaged, np.mean(single, axis=0), atol=1e-7)


def aim_settings(*names):
    return {name: wrappers.arguments(name, {}) for name in names}


def test_without_wrappers_the_gradients_are_the_models_own():
    aim = attackable("torch", "rounded")
    assert np.array_equal(
        aim.estimator.loss_gradient(aim.x, aim.y), aim.bare.loss_gradient(aim.x, aim.y)
    )
    assert np.allclose(
        aim.estimator.class_gradient(aim.x), aim.bare.class_gradient(aim.x), atol=1e-7
    )
    ones = [e.logits_and_gradient(aim.x, weigh_by_itself) for e in (aim.estimator, aim.bare)]
    assert all(np.allclose(*each, atol=1e-6) for each in zip(*ones, strict=True))


def weigh_by_itself(logits, rows):
    return logits


@pytest.mark.parametrize("name", RANDOM)
def test_randomness_is_seeded_and_the_same_in_both_frameworks(name):
    aims = [attackable(framework, name, count=60) for framework in (*FRAMEWORKS, "torch")]
    assert np.array_equal(aims[0].clean_prediction, aims[2].clean_prediction)
    drawn = []
    for seed in (1, 1, 2):
        frameworks.seed_everything(seed)
        drawn.append(aims[0].predict(aims[0].x))
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_a_rows_label_does_not_depend_on_the_other_rows():
    scores = np.eye(4)[[2, 0, 3]]
    stages = wrapped.stages(aim_settings("class-labels"))
    assert np.array_equal(stages.after[0].on_outputs(scores), scores)
    # Why rows are given one by one: with ART's class this would not hold.
    assert not np.array_equal(ClassLabels()(scores), scores)


def test_the_thermometer_is_arts_and_leaves_its_input_alone():
    x = digits().x_test[:3].copy()
    expected, _ = ThermometerEncoding(clip_values=(0.0, 1.0))(x.copy())
    stages = wrapped.stages(aim_settings("thermometer"))
    outside = x + np.float32(0.5)
    kept = outside.copy()
    assert np.array_equal(stages.encode(x)[-1], expected)
    stages.encode(outside)
    assert np.array_equal(outside, kept)


def test_wrappers_work_in_the_order_in_which_they_are_attached():
    x = digits().x_test[:2]
    last = wrapped.stages(aim_settings("jpeg", "feature-squeezing")).encode(x)[-1]
    first = wrapped.stages(aim_settings("feature-squeezing", "jpeg")).encode(x)[-1]
    levels = 2**3 - 1
    assert np.allclose(last * levels, np.rint(last * levels), atol=1e-6)
    assert not np.allclose(first * levels, np.rint(first * levels), atol=1e-2)


def test_scores_of_a_model_that_gives_no_numbers_are_none():
    class Broken:
        def predict(self, x):
            return np.full((len(x), 3), np.nan)

    pipeline = wrapped.Pipeline(Broken(), wrapped.stages(aim_settings("class-labels")))
    assert np.isnan(pipeline.predict(np.zeros((2, 8, 8, 1)))).all()

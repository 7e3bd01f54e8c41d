"""Random models: found out, attacked by the mean of draws, judged by many, and told as such."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from fakes import KerasMatch, Match, X, Y, drops, target_of

from benchmark import frameworks

frameworks.import_torch_first()

import tensorflow as tf  # noqa: E402
import torch  # noqa: E402

from benchmark.attacks.aiming import _wrapped_target  # noqa: E402
from benchmark.attacks.autoattack.losses import DLR, Margin  # noqa: E402
from benchmark.attacks.creating import create  # noqa: E402
from benchmark.attacks.judging import ask  # noqa: E402
from benchmark.attacks.running import run_attack  # noqa: E402
from benchmark.attacks.suites import AttackSpec, load_suite, recorded_attack, suite_of  # noqa: E402
from benchmark.errors import SuiteError  # noqa: E402

FEW = 30
MODELS = {
    "torch": lambda: Match(before=drops),
    "tensorflow": lambda: KerasMatch(before=lambda x: tf.nn.dropout(x, 0.5)),
}
BOTH = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def attacked(target, **settings):
    spec = AttackSpec("apgd", "apgd", {"max_iter": 3, **settings.pop("arguments", {})}, **settings)
    return run_attack(spec, target, key="apgd", norm="linf", eps=0.1, seed=0)


@BOTH
def test_an_attack_follows_the_mean_of_as_many_draws_as_it_asks_for(make):
    target = target_of(make(), X[:FEW], Y[:FEW])
    usual, _ = attacked(target)
    more, _ = attacked(target, draws=20)
    ratio = more["backwards"] / usual["backwards"]
    assert ratio == pytest.approx(2, abs=0.5)  # 20 instead of 10; some examples fall earlier


@BOTH
def test_a_single_draw_is_told_beside_the_mean(make):
    target = target_of(make(), X[:FEW], Y[:FEW])
    record, arrays = attacked(target)
    share = arrays["right_share"]
    assert record["expected_accuracy"] == pytest.approx(share.mean())
    assert record["clean_expected_accuracy"] == pytest.approx(target.clean.right.mean() / 50)
    assert record["clean_expected_accuracy"] < record["clean_accuracy"]
    # Where the mean answer is wrong, most single ones are.
    assert share[arrays["success"]].max(initial=0) < 0.9


NOISY = {
    "torch": lambda size: Match(after=lambda z: z + size * torch.randn_like(z)),
    "tensorflow": lambda size: KerasMatch(after=lambda z: z + size * tf.random.normal(tf.shape(z))),
}


HIDDEN = {
    "a number added to all": lambda z: z + 1e4,
    "a class ruled out": lambda z: torch.cat([z[:, :-1], -1e9 + 0 * z[:, -1:]], dim=1),
}


@pytest.mark.parametrize("after", HIDDEN.values(), ids=HIDDEN)
def test_large_outputs_that_decide_nothing_hide_no_draws(after):
    labels = Y[:FEW] % 9  # that of the class which is ruled out is none
    noisy = Match(after=lambda z: after(z + 0.3 * torch.randn_like(z)))
    assert target_of(noisy, X[:FEW], labels).clean is not None
    assert target_of(Match(after=after), X[:FEW], labels).clean is None


@pytest.mark.parametrize("make", NOISY.values(), ids=NOISY)
@pytest.mark.parametrize("size", [0.3, 1.0])
def test_noise_on_the_outputs_makes_no_model_robust(make, size):
    """Single draws are often wrong by it; what the attack finds of the model below is found."""
    spec = AttackSpec("apgd", "apgd", {"max_iter": 20})
    left = []
    for model in (Match(), make(size)):
        target = target_of(model, X, Y)
        record, _ = run_attack(spec, target, key="apgd", norm="linf", eps=0.15, seed=0)
        left.append(record["robust_accuracy"])
    plain, noisy = left
    assert 0.2 < plain < 0.8
    assert noisy <= plain + 0.05


def test_a_point_that_no_attack_moved_has_the_label_that_it_had():
    """Of a model that guesses, too: clean and attacked points meet the same draws."""
    target = target_of(Match(after=lambda z: 0 * z + torch.randn_like(z)), X, Y)
    record, _ = run_attack(
        AttackSpec("fgsm", "fast-gradient", {}), target, key="f", norm="linf", eps=1e-9, seed=0
    )
    assert 0 < record["clean_accuracy"] < 0.4
    assert record["robust_accuracy"] == record["clean_accuracy"]


def test_draws_without_a_finite_answer_are_left_out_of_the_mean():
    """Of 10 draws one, five and six have none; a label takes half of them."""
    lacking, drawn = np.array([0, 1, 5, 6]), iter(range(10))

    def predict(x):
        outputs = np.tile([1.0, 3.0], (len(x), 1))
        outputs[next(drawn) < lacking] = np.nan
        return outputs

    found = ask(predict, np.zeros((4, 2)), np.ones(4, int), draws=10)
    assert found.right.tolist() == [10, 9, 5, 4]
    assert found.outputs[:3].tolist() == [[1.0, 3.0]] * 3
    assert np.isnan(found.outputs[3]).all()


@pytest.mark.parametrize("attack", ["apgd", "apgd-targeted", "square", "autoattack"])
def test_no_example_is_spared_because_one_answer_was_wrong_by_chance(attack):
    frameworks.seed_everything(0)
    wrapped = _wrapped_target(
        SimpleNamespace(wrapped_in={"gaussian-augmentation": {"sigma": 0.5}}, seed=0),
        target_of(Match(), X[:FEW], Y[:FEW]).estimator, X[:FEW], Y[:FEW], np.arange(FEW),
    )  # fmt: skip
    x_adv = create(
        AttackSpec(attack, attack, {"max_iter": 2}), wrapped.estimator, "linf", 0.1
    ).generate(x=X[:FEW], y=Y[:FEW])
    assert (x_adv != X[:FEW]).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize(("attack", "more"), [("square", {"max_iter": 400}), ("autoattack", {})])
def test_a_search_goes_on_from_what_is_misclassified_by_chance(attack, more):
    """So the points are further in than those which stop at the first."""
    gains = []
    for is_random in (False, True):
        estimator = target_of(Match(), X[:FEW], Y[:FEW]).estimator
        estimator.is_random = is_random
        frameworks.seed_everything(0)
        spec = AttackSpec("a", attack, {"max_iter": 20, **more})
        made = create(spec, estimator, "linf", 0.25)
        points = made.generate(x=X[:FEW], y=Y[:FEW])
        gains.append(Margin(Y[:FEW]).values(estimator.predict(points)))
    stopped, gone_on = gains
    assert gone_on[stopped > 0].mean() > stopped[stopped > 0].mean() + 0.01


def test_a_random_input_defense_is_attacked_by_as_many_draws():
    wrapped = _wrapped_target(
        SimpleNamespace(wrapped_in={"gaussian-augmentation": {"sigma": 0.1}}, seed=0),
        target_of(Match(), X[:FEW], Y[:FEW]).estimator, X[:FEW], Y[:FEW], np.arange(FEW),
    )  # fmt: skip
    usual, _ = attacked(wrapped)
    more, _ = attacked(wrapped, draws=20)
    assert more["backwards"] == pytest.approx(2 * usual["backwards"], rel=0.3)


def test_a_model_that_is_not_random_has_one_draw_only():
    target = target_of(Match(), X[:FEW], Y[:FEW])
    record, arrays = attacked(target, draws=20)
    assert "expected_accuracy" not in record
    assert "right_share" not in arrays
    assert record["backwards"] <= 4 * FEW


def test_the_suite_rand_is_the_reference_s():
    ce, dlr = load_suite("rand").attacks
    assert (ce.attack, ce.draws, dict(ce.arguments)) == ("apgd", 20, {})
    assert (dlr.attack, dlr.draws, dict(dlr.arguments)) == ("apgd", 20, {"loss": "dlr"})


def test_draws_are_part_of_what_an_attack_is():
    usual, more = (AttackSpec("a", "apgd", {}, draws=draws) for draws in (None, 20))
    assert usual.identity() == ["apgd", {}]
    assert more.identity() == ["apgd", {}, {"draws": 20}]
    assert recorded_attack("a", more.identity()) == more


@pytest.mark.parametrize("draws", ["0", "1.5", "many", "1001"])
def test_draws_are_a_whole_number(draws):
    text = f"attacks: {{a: {{attack: apgd, draws: {draws}}}}}"
    with pytest.raises(SuiteError, match="draws must be a whole number from 1 to 1,000"):
        suite_of("mine", text, {})


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_dlr_loss_is_the_paper_s_and_has_its_gradient(classes):
    generator = np.random.default_rng(0)
    z, y = generator.normal(size=(20, classes)), generator.integers(0, classes, 20)
    loss = DLR(y)
    ordered, row = np.sort(z, axis=1)[:, ::-1], np.arange(20)
    other = np.where(z.argmax(axis=1) == y, ordered[:, 1], ordered[:, 0])
    scale = 1 if classes == 2 else ordered[:, 0] - ordered[:, 2]
    assert np.allclose(loss.values(z), -(z[row, y] - other) / scale)
    step = 1e-6
    for column in range(classes):
        moved = z.copy()
        moved[:, column] += step
        slope = (loss.values(moved) - loss.values(z)) / step
        assert np.allclose(loss.weights(z)[:, column], slope, atol=1e-3)

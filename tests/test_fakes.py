"""Models that answer by memory, by chance, by rounding or not at all are judged and named so."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()
sys.path.append(str(Path(__file__).parent))

import tensorflow as tf  # noqa: E402
import torch  # noqa: E402
from fakes import (  # noqa: E402
    CLASSES,
    COUNT,
    PGD,
    SHAPE,
    SUITE,
    KerasMatch,
    KerasRemembers,
    Match,
    Remembers,
    Tires,
    X,
    Y,
    attacked,
    checked,
    drops,
    target_of,
)
from torch import nn  # noqa: E402

from benchmark.attacks.aiming import aimed  # noqa: E402
from benchmark.attacks.running import run_attack  # noqa: E402
from benchmark.estimators import pytorch  # noqa: E402
from benchmark.trust import outputs  # noqa: E402
from benchmark.trust.subject import Subject  # noqa: E402

BOTH = pytest.mark.parametrize("kind", [Match, KerasMatch], ids=["torch", "tensorflow"])


@pytest.mark.parametrize("kind", [Remembers, KerasRemembers], ids=["torch", "tensorflow"])
def test_a_model_with_memory_is_judged_by_a_copy_that_has_none(kind):
    honest = Match if kind is Remembers else KerasMatch
    expected = attacked(honest(), suite=SUITE[1:2])[2]
    target, done, worst = attacked(kind(), suite=SUITE[1:2])
    assert (target.clean_prediction == target.y).mean() > 0.95
    assert worst == pytest.approx(expected, abs=0.05)
    assert done["pgd"].record["forgot"] > 50


@pytest.mark.parametrize("kind", [Remembers, KerasRemembers], ids=["torch", "tensorflow"])
def test_memory_is_named(kind):
    flags = checked(kind(), suite=SUITE[1:2])
    assert "depend on earlier queries" in flags["independent of earlier queries"]
    assert "moves with its input" not in flags
    assert "stable outputs" not in flags


def test_memory_outside_of_the_model_is_named_where_it_is_built_again():
    def build():
        memory, model = Remembers(), Match()

        def forward(x):  # a copy of the model shares what a closure holds
            return memory(x)

        model.forward = forward
        return model

    wrap = partial(pytorch.wrap, input_shape=SHAPE, classes=CLASSES, device="cpu")
    target = aimed(
        build(), wrap, X, Y, averaged=pytorch.averaged, rebuild=build, index=np.arange(COUNT)
    )
    subject = Subject(
        target.estimator, target.once, X, Y, target.clean_prediction, "linf", 0.15, 0, [],
        judge=target.judge,
    )  # fmt: skip
    assert outputs.independent_of_history(subject).status == "flagged"


def test_a_count_outside_of_the_model_is_named_though_nothing_is_built_again():
    asked = [0]  # a copy of the model shares what a closure holds

    def tires(z):
        asked[0] += len(z)
        return z if asked[0] < 6 * COUNT else z + torch.linspace(0, 0.5, CLASSES)

    flags = checked(Match(after=tires), suite=SUITE[1:2])
    assert "than before the attacks" in flags["independent of earlier queries"]


def test_a_model_that_cannot_be_copied_is_judged_by_one_that_is_built_again():
    class Stubborn(Remembers):
        def __deepcopy__(self, memo):
            raise TypeError("not this one")

    wrap = partial(pytorch.wrap, input_shape=SHAPE, classes=CLASSES, device="cpu")
    target = aimed(
        Stubborn(), wrap, X, Y, averaged=pytorch.averaged, rebuild=Stubborn, index=np.arange(COUNT)
    )
    record, _ = run_attack(PGD, target, key="pgd", norm="linf", eps=0.15, seed=0)
    assert record["forgot"] > 50


def test_a_model_that_counts_its_queries_is_not_called_random():
    target, _, _ = attacked(Tires(), suite=())
    assert target.clean is None
    told = checked(Tires(), suite=())["stable outputs"]
    assert "depend on earlier queries" in told
    assert "random" not in told


def test_a_model_that_cannot_be_copied_is_told():
    class Stubborn(Match):
        def __deepcopy__(self, memo):
            raise TypeError("not this one")

    told = checked(Stubborn(), suite=())["independent of earlier queries"]
    assert "TypeError: not this one" in told


def test_a_keras_model_that_calls_python_code_is_told():
    def through_python(z):
        found = tf.numpy_function(lambda a: a, [z], tf.float32)
        found.set_shape(z.shape)
        return z + tf.stop_gradient(found - z)

    told = checked(KerasMatch(after=through_python), suite=())["independent of earlier queries"]
    assert "calls Python code" in told


CAUSES = {
    "quantised input": ({"before": lambda x: torch.round(7 * x) / 7}, "the input is quantised"),
    "rounded logits": ({"after": lambda z: torch.round(10 * z) / 10}, "the outputs are rounded"),
    "rounded logits, straight-through": (
        {"after": lambda z: z + (torch.round(10 * z) / 10 - z).detach()},
        "the outputs are rounded",
    ),
    "half precision": ({"after": lambda z: (z + 40).bfloat16().float()}, "the outputs are rounded"),
    "argmax": (
        {"after": lambda z: nn.functional.one_hot(z.argmax(1), CLASSES).float()},
        "different outputs for",
    ),
    "straight-through argmax": (
        {"after": lambda z: nn.functional.one_hot(z.argmax(1), CLASSES) + 0 * z},
        "different outputs for",
    ),
}


@pytest.mark.parametrize(("around", "cause"), CAUSES.values(), ids=CAUSES)
def test_what_holds_the_outputs_is_named(around, cause):
    assert cause in checked(Match(**around), suite=())["moves with its input"]


def test_outputs_that_move_less_than_float32_can_tell_are_not_called_quantised():
    assert "moves with its input" not in checked(Match(before=lambda x: x / 255), suite=())


def test_rounding_in_batches_of_other_sizes_is_no_flag():
    def coarse(x):
        return x * (1 + 2e-3 / len(x))  # as far as half precision moves

    assert "independent of the batch" not in checked(Match(before=coarse), suite=())


@BOTH
@pytest.mark.parametrize("largest", [0, 3], ids=["class 0", "class 3"])
def test_an_answer_that_is_not_finite_is_wrong_whatever_the_label(kind, largest):
    def silent(z):
        nan = float("nan")
        if kind is Match:
            hot = z.argmax(1) == largest
            return torch.where(hot[:, None], torch.full_like(z, nan), z)
        hot = tf.argmax(z, axis=1) == largest
        return tf.where(hot[:, None], tf.fill(tf.shape(z), nan), z)

    target, _, _ = attacked(kind(after=silent), suite=())
    assert not (target.clean_prediction == target.y)[target.y == largest].any()
    assert (target.clean_prediction == target.y)[target.y != largest].mean() > 0.9


@BOTH
def test_a_model_that_abstains_under_attack_is_broken(kind):
    def abstains(z):
        if kind is Match:
            top = z.topk(2, dim=1).values
            return torch.where(top[:, :1] - top[:, 1:] < 0.5, torch.full_like(z, torch.nan), z)
        top = tf.math.top_k(z, 2).values
        return tf.where(top[:, :1] - top[:, 1:] < 0.5, tf.fill(tf.shape(z), float("nan")), z)

    _, done, worst = attacked(kind(after=abstains), suite=SUITE[:2])
    _, _, plain = attacked(kind(), suite=SUITE[:2])
    assert worst <= plain
    assert any((one.arrays["adversarial_prediction"] == -1).any() for one in done.values())


@BOTH
def test_noise_is_no_success_of_an_attack(kind):
    drop = drops if kind is Match else lambda x: tf.nn.dropout(x, 0.5)
    target, done, worst = attacked(kind(before=drop), eps=1e-6)
    clean = (target.clean_prediction == target.y).mean()
    assert clean > 0.7
    assert worst == clean
    assert done["pgd"].record["draws"] == target.clean.draws > 1


@BOTH
def test_a_random_model_falls_to_attacks_on_its_mean(kind):
    drop = drops if kind is Match else lambda x: tf.nn.dropout(x, 0.5)
    target, _, worst = attacked(kind(before=drop), suite=SUITE[1:2])
    assert worst < (target.clean_prediction == target.y).mean() - 0.3


def test_what_judges_a_random_model_is_named():
    told = checked(Match(before=drops))["stable outputs"]
    assert "the model is random" in told
    assert "the label of the mean of 50 judged" in told


def test_an_honest_model_answers_as_it_does_without_a_judge():
    target = target_of(Match())
    assert target.clean is None
    assert np.array_equal(target.verdict(X)[0].outputs, target.estimator.predict(X))
    assert checked(Match(), suite=()) == {}


class Raises(torch.autograd.Function):
    @staticmethod
    def forward(context, z):
        return z.clone()

    @staticmethod
    def backward(context, gradient):
        raise ValueError("out of luck")


def test_an_error_on_the_way_back_is_no_statement_about_gradients():
    told = checked(Match(after=Raises.apply), suite=())["usable gradients"]
    assert "raised ValueError (out of luck)" in told
    assert "gives no gradients" not in told


def test_a_keras_model_without_a_way_back_gives_no_gradients():
    told = checked(KerasMatch(before=lambda x: tf.round(x * 7) / 7), suite=())
    assert "usable gradients" in told
    hard = KerasMatch(after=lambda z: tf.one_hot(tf.argmax(z, 1), CLASSES))
    assert "gives no gradients" in checked(hard, suite=())["usable gradients"]


def test_inputs_of_another_scale_are_named():
    model = KerasMatch(before=lambda x: x / 255)
    told = checked(model, suite=())["clean accuracy"]
    assert "--input-range 0..255" in told
    assert "100 %" in told or "99 %" in told


def test_the_order_of_channels_is_named():
    g = np.random.default_rng(0)
    y = np.arange(COUNT) % CLASSES
    prototypes = g.uniform(0, 1, (CLASSES, 4, 4, 3)).astype(np.float32)
    prototypes[..., 1] = 0.5
    x = np.clip(prototypes[y] + g.normal(0, 0.05, (COUNT, 4, 4, 3)), 0, 1).astype(np.float32)
    flat = prototypes[..., ::-1].transpose(0, 3, 1, 2).reshape(CLASSES, -1)  # as torch flattens
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, CLASSES))
    with torch.no_grad():
        model[1].weight.copy_(torch.from_numpy(2 * flat))
        model[1].bias.copy_(torch.from_numpy(-(flat**2).sum(axis=1)))
    assert "BGR" in checked(model, suite=(), x=x, y=y)["clean accuracy"]


@pytest.mark.parametrize(
    ("share", "is_flagged"), [(0.1, True), (0.14, True), (0.3, False), (0.6, False)]
)
def test_accuracy_near_chance_is_flagged_and_a_weak_model_is_not(share, is_flagged):
    wrong = np.arange(COUNT) >= round(share * COUNT)
    labels = np.where(wrong, (Y + 1) % CLASSES, Y)  # as if the model were right on the others
    found = checked(Match(), suite=(), y=labels)
    assert ("clean accuracy" in found) == is_flagged

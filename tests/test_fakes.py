"""Models that answer by memory, by chance, by rounding or not at all are judged and named so."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

from benchmark.attacks.running import run_attack  # noqa: E402
from benchmark.attacks.suites import AttackSpec  # noqa: E402
from benchmark.attacks.target import aimed  # noqa: E402
from benchmark.estimators import pytorch, tensorflow  # noqa: E402
from benchmark.trust import checks  # noqa: E402
from benchmark.trust.subject import Attacked, Subject  # noqa: E402

SHAPE, CLASSES, COUNT = (8, 8, 1), 10, 100
PROTOTYPES = np.random.default_rng(5).uniform(0.2, 0.8, (CLASSES, *SHAPE)).astype(np.float32)
PGD = AttackSpec("pgd", "pgd", {"max_iter": 20, "eps_step": "0.1 eps", "num_random_init": 1})
SUITE = (
    AttackSpec("fgsm", "fast-gradient", {}),
    PGD,
    AttackSpec("square", "square", {"max_iter": 100, "p_init": 0.3}),
)


def examples(count=COUNT):
    """Noisy copies of the prototypes, with labels."""
    y = np.arange(count) % CLASSES
    noise = np.random.default_rng(2).normal(0, 0.15, (count, *SHAPE))
    return np.clip(PROTOTYPES[y] + noise, 0, 1).astype(np.float32), y


X, Y = examples()
FLAT = PROTOTYPES.reshape(CLASSES, -1)
KERNEL, BIAS = 2 * FLAT.T, -(FLAT**2).sum(axis=1)  # logits: minus the squared distances


class Match(nn.Module):
    """The nearest prototype, with something before and after it."""

    def __init__(self, before=lambda x: x, after=lambda z: z):
        super().__init__()
        self.linear = nn.Linear(64, CLASSES)
        self.before, self.after = before, after
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(KERNEL.T.copy()))
            self.linear.bias.copy_(torch.from_numpy(BIAS))

    def logits(self, x):
        return self.linear(self.before(x).flatten(1))

    def forward(self, x):
        return self.after(self.logits(x))


class KerasMatch(keras.Model):
    def __init__(self, before=lambda x: x, after=lambda z: z):
        super().__init__()
        self.before, self.after = before, after
        self.kernel, self.bias = tf.constant(KERNEL), tf.constant(BIAS)

    def logits(self, x):
        return tf.reshape(self.before(x), (-1, 64)) @ self.kernel + self.bias

    def call(self, x, training=False):
        return self.after(self.logits(x))


class Remembers(Match):
    """Gives a query near an earlier one the earlier label, with outputs that move."""

    def __init__(self, radius=0.35):
        super().__init__()
        self.radius, self.points, self.labels = radius, torch.empty(0, 64), torch.empty(0).long()

    def forward(self, x):
        z, flat = self.logits(x), x.detach().flatten(1)
        label = z.detach().argmax(1)
        if len(self.points):
            apart = (flat[:, None] - self.points[None]).abs().amax(2)
            nearest = apart.argmin(1)
            known = apart.amin(1) < self.radius
            label = torch.where(known, self.labels[nearest], label)
        self.points = torch.cat([self.points, flat])[:400]
        self.labels = torch.cat([self.labels, label])[:400]
        short = z.amax(1, keepdim=True) - z.gather(1, label[:, None])
        return z + (short.detach() + 0.1) * nn.functional.one_hot(label, CLASSES)


class KerasRemembers(KerasMatch):
    """The same in a graph: what it remembers lies in variables."""

    def __init__(self, radius=0.35):
        super().__init__()
        self.radius = radius
        self.points = tf.Variable(tf.fill((400, 64), 9.0), trainable=False)
        self.labels = tf.Variable(tf.zeros(400, tf.int64), trainable=False)
        self.count = tf.Variable(0, trainable=False)

    def call(self, x, training=False):
        z, flat = self.logits(x), tf.stop_gradient(tf.reshape(x, (-1, 64)))
        apart = tf.reduce_max(tf.abs(flat[:, None] - self.points[None]), axis=2)
        known = tf.reduce_min(apart, axis=1) < self.radius
        label = tf.where(known, tf.gather(self.labels, tf.argmin(apart, 1)), tf.argmax(z, axis=1))
        places = self.count + tf.range(tf.shape(flat)[0])
        room = places < 400
        places = tf.boolean_mask(places, room)[:, None]
        self.points.assign(
            tf.tensor_scatter_nd_update(self.points, places, tf.boolean_mask(flat, room))
        )
        self.labels.assign(
            tf.tensor_scatter_nd_update(self.labels, places, tf.boolean_mask(label, room))
        )
        self.count.assign_add(tf.shape(places)[0])
        hot = tf.one_hot(label, CLASSES)
        short = tf.reduce_max(z, axis=1) - tf.reduce_sum(hot * z, axis=1)
        return z + (tf.stop_gradient(short)[:, None] + 0.1) * hot


class Tires(Match):
    """Calls every second answer another: it counts its queries."""

    def __init__(self):
        super().__init__()
        self.asked = 0

    def forward(self, x):
        self.asked += 1
        return self.logits(x) + 5 * (self.asked % 2) * torch.eye(CLASSES)[0]


def drops(x):
    return nn.functional.dropout(x, 0.5)  # training=True is its default


def straight_through(z):
    hard = nn.functional.one_hot(z.argmax(1), CLASSES).float()
    return hard + z - z.detach()


def target_of(model, x=X, y=Y):
    kernel = pytorch if isinstance(model, nn.Module) else tensorflow
    wrap = partial(kernel.wrap, input_shape=x.shape[1:], classes=CLASSES, device="cpu")
    return aimed(model, wrap, x, y, averaged=kernel.averaged, index=np.arange(len(x)))


def attacked(model, eps=0.15, suite=SUITE, x=X, y=Y):
    """The target, its attacks by name, and its worst case."""
    target = target_of(model, x, y)
    done = {
        spec.name: Attacked(*run_attack(spec, target, key=spec.name, norm="linf", eps=eps, seed=0))
        for spec in suite
    }
    held = target.clean_prediction == target.y
    for one in done.values():
        held = held & ~one.arrays["success"]
    return target, done, float(held.mean())


def checked(model, **settings):
    """Sentences of the flagged checks by name."""
    target, done, _ = attacked(model, **settings)
    subject = Subject(
        target.estimator, target.predict, target.x, target.y, target.clean_prediction,
        "linf", 0.15, 0, list(done.values()), judge=target.judge, clean=target.clean,
    )  # fmt: skip
    found = checks.run(subject)["checks"]
    return {one["name"]: one["sentence"] for one in found if one["status"] == "flagged"}


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


def test_chance_is_named():
    told = checked(Match(before=drops))["stable outputs"]
    assert "the model is random" in told
    assert "more than chance" in told


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

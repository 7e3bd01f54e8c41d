"""Classifiers of known right answers, and fakes around them, for tests of judging and trust."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

from benchmark.attacks.aiming import aimed  # noqa: E402
from benchmark.attacks.running import run_attack  # noqa: E402
from benchmark.attacks.suites import AttackSpec  # noqa: E402
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
    made = aimed(model, wrap, x, y, averaged=kernel.averaged, index=np.arange(len(x)))
    return replace(made, framework="torch" if kernel is pytorch else "tensorflow")


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
        target.estimator, target.once, target.x, target.y, target.clean_prediction,
        "linf", 0.15, 0, list(done.values()), judge=target.judge, clean=target.clean,
    )  # fmt: skip
    found = checks.run(subject)["checks"]
    return {one["name"]: one["sentence"] for one in found if one["status"] == "flagged"}

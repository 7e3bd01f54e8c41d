"""How the models that people bring are trained in tests, and the plainest of them."""

from __future__ import annotations

import numpy as np

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
from torch import nn  # noqa: E402

import defenses  # noqa: E402

THREAT = defenses.Threat("linf", 0.1)
SETTINGS = {
    "none": {"batch_size": 16},
    "pgd-at": {"batch_size": 16, "attack_steps": 2},
    "trades": {"batch_size": 16, "attack_steps": 2},
    "awp": {"batch_size": 16, "attack_steps": 2},
    "free-at": {"batch_size": 16, "replays": 2},
    "mng-ac": {"batch_size": 16, "attack_steps": 2, "eps_l2": 0.2, "width": 2},
    "meta-gen": {"batch_size": 16, "generator": "network", "width": 2, "attack_steps": 2},
    "meta-adv": {"tasks": 3, "support": 3, "query": 4, "query_attack_steps": 2},
}
META_GEN = {"algorithm": "maml"}


def data(channels=1, classes=3, count=42):
    generator = np.random.default_rng(0)
    x = generator.random((count, 6, 6, channels), dtype=np.float32)
    return x, generator.integers(0, classes, count)


def fit(name, model, x, y, **parameters):
    defense = defenses.create(name, THREAT, {**SETTINGS[name], **parameters})
    return defense.fit(model, x, y, epochs=1)


def dense(inputs=36, outputs=3):
    return nn.Linear(inputs, outputs)


def sequential(policy="float32", shape=(6, 6, 1), **settings):
    layers = [keras.layers.Flatten(dtype=policy)]
    layers += [keras.layers.Dense(3, dtype=policy, **settings)]
    inputs = [] if shape is None else [keras.Input(shape, dtype=policy.removeprefix("mixed_"))]
    return keras.Sequential([*inputs, *layers])

"""Every defense in small, with models and data to train it on: used by several tests."""

from __future__ import annotations

import numpy as np

from benchmark import frameworks, models

frameworks.import_torch_first()


import benchmark.models.pytorch as in_torch  # noqa: E402
import benchmark.models.tensorflow as in_tensorflow  # noqa: E402
import defenses  # noqa: E402

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


def build(framework, shape=(6, 6, 1), classes=3):
    specification = models.specification("cnn" if len(shape) == 3 else "mlp", shape, classes)
    return BUILDERS[framework].build(specification, specification.initial_weights(0))

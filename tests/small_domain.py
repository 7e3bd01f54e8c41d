"""Another data set of three classes, and a short adaptation to it, for tests."""

from __future__ import annotations

import numpy as np
from untrained import SHAPE

from benchmark.datasets import Dataset
from benchmark.metatest.domain.course import Course
from benchmark.metatest.domain.settings import Domain
from defenses.threat import Threat

SMALL = Domain(
    adapt_to="other",
    shots=(1, 3),
    episodes=2,
    queries=6,
    attack_steps=2,
    support_attack_steps=2,
    rates=(0.1, 0.5),
    rounds=(2,),
    steps=3,
    autoattack_episodes=0,
)


def dataset(shape=SHAPE, *, examples=30, name="other", classes=3):
    """Random images of some classes that differ in their mean; test images are above 0.5."""
    generator = np.random.default_rng(7)
    arrays = {}
    for part in ("train", "validation", "test"):
        y = np.arange(examples) % classes
        x = generator.random((examples, *shape), dtype=np.float32) / 10
        x += y.reshape(-1, *[1] * len(shape)).astype(np.float32) / 10
        arrays[f"x_{part}"] = x + 0.5 if part == "test" else x
        arrays[f"y_{part}"] = y
    return Dataset(name=name, class_names=tuple("abcde"[:classes]), **arrays)


def course(protocol=SMALL, target=None):
    return Course(protocol, target or dataset(), SHAPE, Threat("linf", 0.02), 0)

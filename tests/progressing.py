"""A job whose progress is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmark.attacks.suites import AttackSpec
from benchmark.cells import Cell
from benchmark.job import Job

CELL = Cell(
    dataset="digits",
    dataset_fingerprint="0123456789abcdef",
    image_size=None,
    split_seed=0,
    model="cnn",
    framework="torch",
    defense="none",
    parameters={},
    norm="linf",
    eps=0.15,
    seed=0,
    epochs=1,
    budget_ge=None,
    examples=100,
)


def spec(name: str = "pgd", attack: str = "pgd", **arguments: Any) -> AttackSpec:
    return AttackSpec(name, attack, arguments)


def make_job(**changes: Any) -> Job:
    """Training costs 3000 by the estimate below, pgd 1000."""
    attacks = (spec(max_iter=10),)
    return Job(replace(CELL, **changes), "quick", attacks, "out", None, training=3000.0)

"""Jobs whose progress is told, and a clock that a test moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmark.attacks.suites import AttackSpec
from benchmark.cells import Cell
from benchmark.cli.progress import Progress
from benchmark.job import Job
from benchmark.metatest.fewshot.settings import FewShot

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


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def follow(jobs: list[Job], clock: Clock, workers: int = 1) -> Progress:
    return Progress(jobs, workers=workers, clock=clock)


def few_shot_job(**changes: Any) -> Job:
    protocol = FewShot(ways=(2,), shots=(1, 5), readouts=("centroid", "finetune"))
    return replace(make_job(**changes), attacks=(), few_shot=protocol)

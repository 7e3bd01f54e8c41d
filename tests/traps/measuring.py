"""What a suite and the trust checks say of a model, and what is true of it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fakes import target_of
from torch import nn

import benchmark
from benchmark.results import Store
from benchmark.trust.search import ascend
from benchmark.trust.subject import Subject
from traps import Base, Trap
from traps.honest import THREAT, built, dense, fitted

# Of the ascent that the truth is found by: restarts, and steps of each.
RESTARTS, STEPS = 3, 60


@dataclass(frozen=True)
class Measured:
    """What `benchmark.evaluate` left of a model: accuracies, and the sentences of its flags."""

    clean: float
    worst_case: float
    flags: dict[str, str]


def base_of(data: Any, count: int) -> Base:
    """The networks that traps are built around, trained here."""
    return Base(
        undefended=fitted(dense(128, nn.ReLU), data),
        robust=fitted(dense(128, nn.ReLU), data, "pgd-at", 15),
        keras=fitted(built("mlp", "tensorflow"), data),
        fit=lambda model: fitted(model, data),
        x=data.x_test[:count],
        y=data.y_test[:count],
    )


def measured(model: Any, x: np.ndarray, y: np.ndarray, suite: str = "standard") -> Measured:
    """What a suite makes of a model under the threat of the traps."""
    with tempfile.TemporaryDirectory() as folder:
        frame = benchmark.evaluate(
            model, x, y, threat=THREAT, suite=suite, name="model", out=Path(folder)
        )
        store, row = Store.open(folder), frame.iloc[0]
        record = store.read_stage(row["cell_id"], f"trust/{Path(suite).stem}") or {}
    flags = {one["name"]: one["sentence"] for one in record["checks"] if one["status"] == "flagged"}
    return Measured(row["clean_correct"] / len(x), row["worst_case_correct"] / len(x), flags)


def truth(trap: Trap, x: np.ndarray, y: np.ndarray) -> float:
    """The robust accuracy that remains when what fools the model below is tried on the trap."""
    target, below = (target_of(model, x, y) for model in (trap.model, trap.below))
    judge = below if trap.unseen else target
    subject = Subject(
        below.estimator, judge.once, x, y, judge.clean_prediction, THREAT.norm, THREAT.eps, 0, [],
        clean=judge.clean,
    )  # fmt: skip
    rows = np.flatnonzero(judge.clean_prediction == y)
    for restart in range(RESTARTS):
        generator = np.random.default_rng(restart)
        broken = ascend(subject, rows, eps=THREAT.eps, steps=STEPS, generator=generator)
        rows = rows[~broken]
    return len(rows) / len(x)

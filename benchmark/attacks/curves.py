"""Security curves: robust accuracy over a grid of budgets.

From one minimal-norm attack that has run, whose distances tell all budgets at once; else by running
the attack at one budget after the other, each on what the smaller ones left: a point within a small
budget is within a greater one too. Of a random model distances tell nothing, since what it answers
at the nearest points is chance: any attack is run at each budget, and the firmest point counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmark.attacks.geometry import limit
from benchmark.attacks.running import attacked_rows, run_attack
from benchmark.attacks.suites import AttackSpec, SecurityCurve
from benchmark.attacks.target import Target
from benchmark.results import Record

Arrays = dict[str, np.ndarray]


def from_distances(curve: SecurityCurve, record: Record, arrays: Arrays) -> tuple[Record, Arrays]:
    """The curve of a minimal-norm attack, from its stored record and arrays."""
    norm, budgets = record["norm"], [share * record["eps"] for share in curve.budgets]
    size = int(np.prod(arrays["sample_clean"].shape[1:]))
    adversarial = arrays["adversarial"] & arrays["clean_correct"]
    success = [adversarial & (arrays[norm] <= limit(norm, eps, size)) for eps in budgets]
    about = {"attack": record["name"], "norm": norm}
    return _stage(about, arrays, budgets, np.array(success), "minimal-norm")


def from_bounded_runs(
    curve: SecurityCurve,
    spec: AttackSpec,
    target: Target,
    *,
    norm: str,
    eps: float,
    seed: int,
    progress: Callable[[float], None] = lambda done: None,
    timeout: float | None = None,
) -> tuple[Record, Arrays]:
    """The curve of an attack within a budget, from a run at each; arguments as of `run_attack`."""
    if curve.examples is not None:
        spec = replace(spec, examples=curve.examples)
    norm, eps = spec.threat(norm, eps)
    attacked = attacked_rows(spec, target)
    correct = target.clean_prediction == target.y
    arrays = {"test_index": target.index, "clean_correct": correct, "attacked": attacked}
    budgets = [share * eps for share in curve.budgets]
    about = {"attack": spec.name, "norm": norm}
    success = np.zeros((len(budgets), len(correct)), dtype=bool)
    broken = np.zeros(len(correct), dtype=bool)
    for step, budget in enumerate(budgets):
        rows = np.flatnonzero(attacked & correct & ~broken)
        if len(rows):
            record, found = run_attack(
                replace(spec, examples=None, norm=norm, eps=budget),
                target.part(rows),
                key="",
                norm=norm,
                eps=budget,
                seed=seed,
                timeout=timeout,
            )
            if record["status"] != "ok":
                return {name: record[name] for name in ("status", "reason")} | about, {}
            broken[rows] |= found["success"]
        success[step] = broken
        progress((step + 1) / len(budgets))
    return _stage(about, arrays, budgets, success, "bounded")


def _stage(
    about: Record, arrays: Arrays, budgets: list[float], success: np.ndarray, origin: str
) -> tuple[Record, Arrays]:
    """What is stored; the clean examples are the curve's beginning."""
    attacked, correct = arrays["attacked"], arrays["clean_correct"]
    success = np.concatenate([np.zeros((1, len(correct)), dtype=bool), success])
    held = (correct & ~success)[:, attacked]  # (budgets + 1, attacked)
    record = {
        **about,
        "eps": [0.0, *budgets],
        "robust_accuracy": [float(share) for share in held.mean(axis=1)],
        "examples": int(attacked.sum()),
        "from": origin,
        "status": "ok",
        "reason": "",
    }
    return record, {
        "test_index": arrays["test_index"],
        "attacked": attacked,
        "success": success,
    }

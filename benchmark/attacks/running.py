"""Running one attack of a suite against one cell's model."""

from __future__ import annotations

import importlib
import time
import traceback
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmark import frameworks
from benchmark.attacks.measure import Measurement, measure
from benchmark.attacks.suites import AttackSpec
from benchmark.attacks.target import Target
from benchmark.estimators.passes import CHUNK

# ART's name of each norm.
_ART_NORMS = {"linf": np.inf, "l2": 2, "l1": 1}

SAMPLES = 8


def run_attack(
    spec: AttackSpec,
    target: Target,
    *,
    key: str,
    norm: str,
    eps: float,
    seed: int,
    progress: Callable[[float], None] = lambda done: None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Attack, re-measure, and return the record and the arrays of this stage.

    An attack that raises gives a record with status "failed" and its reason, and no arrays: a
    failed attack never counts as robustness.
    """
    record = {"key": key, **_record(spec, target, norm, eps)}
    obstacle = spec.obstacle(norm, target.x.shape[1:])
    attacked = target.attacked_by(spec)
    if attacked is None:
        obstacle = "the model below takes encoded inputs, not these"
    if obstacle:
        return {**record, "status": "not-applicable", "reason": obstacle}, {}
    frameworks.seed_everything(_seed(seed, spec.name))
    passes = attacked.passes
    before = (passes.forwards, passes.backwards)
    started = time.perf_counter()
    try:
        x_adv = _generate(spec, target, norm, eps, progress)
    except Exception as error:
        traceback.print_exc()
        return {**record, "status": "failed", "reason": f"{type(error).__name__}: {error}"}, {}
    spent = {
        "seconds": time.perf_counter() - started,
        "forwards": passes.forwards - before[0],
        "backwards": passes.backwards - before[1],
    }
    # Its own draws where the pipeline is random: an attack doesn't choose by them.
    frameworks.seed_everything(judging_seed(seed, spec.name))
    measurement = measure(
        target.x,
        x_adv,
        target.predict(x_adv),
        clean_prediction=target.clean_prediction,
        label=target.y,
        norm=norm,
        eps=eps,
    )
    correct = target.clean_prediction == target.y
    record |= spent | {
        "status": "ok",
        "clean_accuracy": float(correct.mean()),
        "robust_accuracy": float((correct & ~measurement.success).mean()),
        "violations": measurement.violations,
    }
    return record, _arrays(target, x_adv, measurement)


def _record(spec: AttackSpec, target: Target, norm: str, eps: float) -> dict[str, Any]:
    return {
        "name": spec.name,
        "attack": spec.entry.target.partition(":")[2],
        "arguments": spec.resolved(eps),
        "norm": norm,
        "eps": eps,
        "examples": len(target.x),
        "reason": "",
    }


def _generate(
    spec: AttackSpec, target: Target, norm: str, eps: float, progress: Callable[[float], None]
) -> np.ndarray:
    """The attack's answer; examples that are misclassified already are left as they are."""
    attack = _create(spec, target.attacked_by(spec), norm, eps)
    x_adv = target.x.copy()
    rows = np.flatnonzero(target.clean_prediction == target.y)
    for first in range(0, len(rows), CHUNK):
        part = rows[first : first + CHUNK]
        # ART's Square divides by zero under l2; it takes no such point, and `measure` none either.
        with np.errstate(divide="ignore", invalid="ignore"):
            x_adv[part] = attack.generate(x=target.x[part], y=target.y[part])
        progress((first + len(part)) / len(rows))
    return x_adv


def _create(spec: AttackSpec, estimator: Any, norm: str, eps: float) -> Any:
    module, _, name = spec.entry.target.partition(":")
    attack = getattr(importlib.import_module(module), name)
    wanted = {"norm": _ART_NORMS[norm], "eps": eps, "batch_size": CHUNK, "verbose": False}
    known = {key: value for key, value in wanted.items() if key in attack.attack_params}
    return attack(estimator, **known, **spec.resolved(eps))


def judging_seed(seed: int, attack: str) -> int:
    """Of the global generators when a random pipeline judges what the attack of this name found."""
    return _seed(seed, f"{attack}judged")


def _seed(seed: int, name: str) -> int:
    """Of the global generators: differs by attack, and is the same in both frameworks."""
    return (seed * 1_000_003 + zlib.crc32(name.encode())) % 2**32


def _arrays(target: Target, x_adv: np.ndarray, measurement: Measurement) -> dict[str, np.ndarray]:
    samples = np.flatnonzero(measurement.success)[:SAMPLES]
    return {
        "test_index": target.index,
        "label": target.y,
        "clean_prediction": target.clean_prediction,
        "clean_correct": target.clean_prediction == target.y,
        "adversarial_prediction": measurement.prediction,
        "success": measurement.success,
        **measurement.distances,
        # ART doesn't say at which query it found a point.
        "first_query": np.full(len(target.y), -1, dtype=np.int64),
        "sample_index": target.index[samples],
        "sample_clean": target.x[samples],
        "sample_adversarial": x_adv[samples].astype(np.float32),
    }

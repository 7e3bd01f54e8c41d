"""Running one attack of a suite against one cell's model."""

from __future__ import annotations

import time
import traceback
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark import frameworks
from benchmark.attacks.creating import create
from benchmark.attacks.entry import UNRESTRICTED
from benchmark.attacks.geometry import spread
from benchmark.attacks.measure import Measurement, measure
from benchmark.attacks.suites import AttackSpec
from benchmark.attacks.target import Target
from benchmark.attacks.watch import FoundError, Watch
from benchmark.estimators.passes import CHUNK
from benchmark.text import reason_of

SAMPLES = 8


@dataclass(frozen=True)
class _Found:
    """What came of an attack: all arrays are of the attacked rows of the target.

    Args:
        rows: of the target, (k,).
        x_adv: what the attack returned, (k, ...).
        kept: what it met on its way, (k, ...), where `has_kept`, (k,).
        first_query: of the first success within budget that was met, (k,), -1 where there is none.
        next_query: that a returned point would have been, had the attack asked about it, (k,).
        whole: where the attack ran to its end, (k,).
    """

    rows: np.ndarray
    x_adv: np.ndarray
    kept: np.ndarray
    has_kept: np.ndarray
    first_query: np.ndarray
    next_query: np.ndarray
    whole: np.ndarray


def run_attack(
    spec: AttackSpec,
    target: Target,
    *,
    key: str,
    norm: str,
    eps: float,
    seed: int,
    progress: Callable[[float], None] = lambda done: None,
    timeout: float | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Attack, re-measure, and return the record and the arrays of this stage.

    An attack that raises, or that still asks the model after `timeout` seconds, gives a record with
    status "failed" and its reason, and no arrays: a failed attack never counts as robustness.

    Args:
        spec: the attack; a threat of its own goes before `norm` and `eps`.
        target: what is attacked.
        key: of the stage.
        norm: of the cell's threat.
        eps: the cell's budget.
        seed: the same gives the same adversarial examples.
        progress: told the share that is done.
        timeout: seconds; looked at whenever the attack asks the model something.
    """
    norm, eps = spec.threat(norm, eps)
    eps = float(eps)  # ART refuses NumPy's
    attacked = attacked_rows(spec, target)
    record = {"key": key, **describe(spec, int(attacked.sum()), norm, eps)}
    if obstacle := target.obstacle(spec, norm):
        return {**record, "status": "not-applicable", "reason": obstacle}, {}
    if spec.source is not None:
        record["made_on"] = target.surrogates.made_on(spec.source)
    frameworks.seed_everything(_seed(seed, spec.name))
    started = time.perf_counter()
    try:
        passes = target.attacked_by(spec).passes
        before = (passes.forwards, passes.backwards)
        found = _generate(spec, target, attacked, norm, eps, progress, timeout)
    except Exception as error:
        traceback.print_exc()
        return {**record, "status": "failed", "reason": reason_of(error)}, {}
    record |= {
        "seconds": time.perf_counter() - started,
        "forwards": passes.forwards - before[0],
        "backwards": passes.backwards - before[1],
    }
    judging = judging_seed(seed, spec.name)
    x_adv, measurement, silent, forgot = _judge(target, found, norm, eps, seed=judging)
    told = _accuracies(target, attacked, measurement) | {"silent": silent, "forgot": forgot}
    if spec.entry.is_minimal:  # it knows no budget
        told["violations"]["budget"] = 0
    return record | told, {
        **_arrays(target, x_adv, measurement),
        "attacked": attacked,
        "first_query": _first_query(target, found, measurement),
    }


def _accuracies(target: Target, attacked: np.ndarray, measurement: Measurement) -> dict[str, Any]:
    """What the record says of an attack that ran."""
    correct = target.clean_prediction == target.y
    draws = {} if target.clean is None else {"draws": target.clean.draws}
    return draws | {
        "status": "ok",
        "clean_accuracy": float(correct[attacked].mean()),
        "robust_accuracy": float((correct & ~measurement.success)[attacked].mean()),
        "violations": dict(measurement.violations),
        "abstained": measurement.abstained,
    }


def _first_query(target: Target, found: _Found, measurement: Measurement) -> np.ndarray:
    """The number of the query that met each success, (n,); -1 where there is none."""
    first = np.full(len(target.y), -1, dtype=np.int64)
    first[found.rows] = np.where(found.first_query >= 0, found.first_query, found.next_query)
    first[~measurement.success] = -1
    return first


def attacked_rows(spec: AttackSpec, target: Target) -> np.ndarray:
    """Which of the target's rows the attack is run on: the same for every cell, (n,) bool."""
    count = len(target.x)
    if spec.examples is None or spec.examples >= count:
        return np.ones(count, dtype=bool)
    attacked = np.zeros(count, dtype=bool)
    attacked[np.random.default_rng(count).permutation(count)[: spec.examples]] = True
    return attacked


def describe(spec: AttackSpec, examples: int, norm: str, eps: float) -> dict[str, Any]:
    """What an attack's record says before it has run, on so many examples within this threat."""
    return {
        "name": spec.name,
        "attack": spec.entry.target.partition(":")[2],
        "arguments": spec.resolved(eps),
        "identity": spec.identity(),
        "families": list(spec.entry.families),
        "norm": norm,
        "eps": None if norm == UNRESTRICTED else eps,
        "own_threat": spec.norm is not None,
        "examples": examples,
        "source": spec.source,
        "reason": "",
    }


def _generate(
    spec: AttackSpec,
    target: Target,
    attacked: np.ndarray,
    norm: str,
    eps: float,
    progress: Callable[[float], None],
    timeout: float | None,
) -> _Found:
    """What the attack makes of the attacked rows that are classified correctly."""
    rows = np.flatnonzero(attacked & (target.clean_prediction == target.y))
    estimator = target.attacked_by(spec)
    watch = Watch(
        norm=norm,
        eps=eps,
        predict=estimator.predict,
        # What another model says of points tells nothing of this one.
        keeps=not spec.entry.is_universal and spec.source is None,
        nearest=spec.entry.is_minimal,
        stops=spec.entry.rows == "one" and not spec.to_the_end,
        seconds=timeout,
    )
    size = {"chunk": CHUNK, "one": 1, "all": len(rows)}[spec.entry.rows]
    parts = []
    estimator.observer = watch
    try:
        for first in range(0, len(rows), max(size, 1)):
            part = rows[first : first + size]
            parts.append(_part(spec, target, part, watch, norm, eps))
            progress((first + len(part)) / len(rows))
    finally:
        estimator.observer = None
    return _joined(parts, target)


def _part(
    spec: AttackSpec, target: Target, rows: np.ndarray, watch: Watch, norm: str, eps: float
) -> _Found:
    """The attack on some rows; a new object each time, because some remember the last call."""
    x, y = target.x[rows], target.y[rows]
    attack = create(spec, target.attacked_by(spec), norm, eps)
    watch.begin(x, y)
    whole = True
    try:
        # Square divides by zero and Wasserstein overflows, in points that `measure` refuses.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            x_adv = np.asarray(attack.generate(x=x.copy(), y=y))
    except FoundError:
        x_adv, whole = x.copy(), False
    if x_adv.shape != x.shape:
        raise ValueError(f"the attack returned an array of shape {x_adv.shape}, not {x.shape}")
    return _Found(
        rows,
        x_adv.astype(np.float32),
        watch.kept,
        watch.has_kept,
        watch.first_query,
        watch.next_query,
        np.full(len(rows), whole),
    )


def _joined(parts: list[_Found], target: Target) -> _Found:
    if not parts:
        none, shape = np.empty(0, dtype=np.int64), target.x.shape[1:]
        points, flags = np.empty((0, *shape), dtype=np.float32), np.empty(0, dtype=bool)
        return _Found(none, points, points, flags, none, none, flags)
    return _Found(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("rows", "x_adv", "kept", "has_kept", "first_query", "next_query", "whole")
        )
    )


def _judge(
    target: Target, found: _Found, norm: str, eps: float, *, seed: int
) -> tuple[np.ndarray, Measurement, int, int]:
    """The better of what was returned and what was met on the way, as the whole pipeline has it.

    Returns the points, what they achieved, how many successes the attack met without returning
    them although it ran to its end, and of how many points the model has another label now than a
    copy gave that was asked nothing before, which is the one that counts.
    """
    returned, kept = target.x.copy(), target.x.copy()
    returned[found.rows], kept[found.rows] = found.x_adv, found.kept
    has_kept = np.zeros(len(target.x), dtype=bool)
    has_kept[found.rows] = found.has_kept
    ours, forgot = _measured(target, returned, norm, eps, seed)
    if not has_kept.any():
        return returned, ours, 0, forgot
    met, also_forgot = _measured(target, kept, norm, eps, seed)
    better = has_kept & met.beats(ours, "l2" if norm == UNRESTRICTED else norm)
    whole = np.zeros(len(target.x), dtype=bool)
    whole[found.rows] = found.whole
    silent = int((better & met.success & ~ours.success & whole).sum())
    points = np.where(spread(better, kept), kept, returned)
    return points, ours.overlaid(met, better), silent, max(forgot, also_forgot)


def _measured(
    target: Target, x_adv: np.ndarray, norm: str, eps: float, seed: int
) -> tuple[Measurement, int]:
    # Its own draws where the pipeline is random: an attack doesn't choose by them.
    frameworks.seed_everything(seed)
    answers, forgot = target.verdict(x_adv)
    found = measure(
        target.x,
        x_adv,
        answers.outputs,
        clean_prediction=target.clean_prediction,
        label=target.y,
        norm=norm,
        eps=eps,
        beyond_chance=target.wrong_beyond_chance(answers),
    )
    return found, forgot


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
        "adversarial": measurement.adversarial,
        **measurement.distances,
        "sample_index": target.index[samples],
        "sample_clean": target.x[samples],
        "sample_adversarial": x_adv[samples].astype(np.float32),
    }

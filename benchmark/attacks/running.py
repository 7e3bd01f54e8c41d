"""Running one attack of a suite against one cell's model."""

from __future__ import annotations

import time
import traceback
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import numpy as np

from benchmark import frameworks
from benchmark.attacks.beyond import farther
from benchmark.attacks.creating import adversarial
from benchmark.attacks.entry import UNRESTRICTED
from benchmark.attacks.outcomes import Generated, outcomes
from benchmark.attacks.sizes import smaller
from benchmark.attacks.suites import AttackSpec
from benchmark.attacks.target import Target
from benchmark.attacks.unchanged import unchanged
from benchmark.attacks.watch import FoundError, Watch
from benchmark.estimators.passes import CHUNK, outputs_of, rows_at_once
from benchmark.results import Record
from benchmark.results.identity import PROTOCOL_VERSION
from benchmark.text import explained, ran_out_of_memory


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
) -> tuple[Record, dict[str, np.ndarray]]:
    """Attack and re-measure; returns the record and the arrays of this stage.

    An attack that raises, or takes longer than `timeout`, gives a record of status "failed" with
    its reason, and no arrays: a failed attack never counts as robustness.

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
    attacked = attacked_rows(spec, target)
    record = {"key": key, **describe(spec, int(attacked.sum()), norm, eps)}
    if rows_at_once() != CHUNK:
        record["batch_size"] = rows_at_once()
    if obstacle := target.obstacle(spec, norm):
        return {**record, "status": "not-applicable", "reason": obstacle}, {}
    if spec.source is not None:
        record["made_on"] = target.others.made_on(spec.source)
    frameworks.seed_everything(seed_of(seed, spec.name))
    started = time.perf_counter()
    try:
        before = replace(passes := target.attacked_by(spec).passes)
        found = _generate(spec, target, attacked, norm, eps, progress, timeout)
    except (Exception, SystemExit) as error:  # other people's code may try to end the process
        traceback.print_exc()
        reason = explained(error, _fewer(spec, target, error))
        return {**record, "status": "failed", "reason": reason}, {}
    record |= {"seconds": time.perf_counter() - started, **passes.counts(since=before)}
    told, arrays = outcomes(target, found, attacked=attacked, norm=norm, eps=eps, seed=seed)
    if spec.entry.is_minimal:  # it knows no budget
        told["violations"]["budget"] = 0
    return record | told, arrays


def _fewer(spec: AttackSpec, target: Target, error: BaseException) -> str:
    """What to ask for where memory ran out: a batch size that was tried and fits, if any does."""
    if not ran_out_of_memory(error):
        return ""
    error.__traceback__ = None  # it holds what filled the memory
    size = smaller(target.attacked_by(spec), target.x, target.y)
    at_once = f"{rows_at_once()} examples are asked about at a time"
    return (
        f"--batch-size {size}, or fewer --jobs: {at_once}" if size else f"fewer --jobs: {at_once}"
    )


def attacked_rows(spec: AttackSpec, target: Target) -> np.ndarray:
    """Which of the target's rows the attack is run on: the same for every cell, (n,) bool."""
    return target.some(spec.examples)


def describe(spec: AttackSpec, examples: int, norm: str, eps: float) -> Record:
    """What an attack's record says before it has run, on so many examples within this threat."""
    return {
        "name": spec.name,
        "attack": spec.entry.class_name,
        "arguments": spec.resolved(eps),
        "identity": spec.identity(),
        "families": list(spec.entry.kinds),
        "norm": norm,
        "eps": None if norm == UNRESTRICTED else eps,
        "own_threat": spec.norm is not None,
        "examples": examples,
        "source": spec.source,
        "reason": "",
        "protocol_version": PROTOCOL_VERSION,
    }


def _generate(
    spec: AttackSpec,
    target: Target,
    attacked: np.ndarray,
    norm: str,
    eps: float,
    progress: Callable[[float], None],
    timeout: float | None,
) -> Generated:
    """What the attack makes of the attacked rows that are classified correctly."""
    rows = np.flatnonzero(attacked & (target.clean_prediction == target.y))
    estimator = target.attacked_by(spec)
    # What counts is the whole pipeline's answer, and a random model's is the mean of many.
    is_random = target.clean is not None
    leaves = spec.first_success and target.pipeline is None and not is_random
    watch = Watch(
        norm=norm,
        eps=eps,
        predict=partial(outputs_of, estimator),
        # What another model says of points tells nothing of this one.
        keeps=not spec.entry.is_universal and spec.source is None,
        nearest=spec.entry.is_minimal,
        firmest=is_random,
        scores=target.estimator.scores,
        stops=(spec.entry.rows == "one" and not (spec.to_the_end or is_random)) or leaves,
        leaves=leaves,
        seconds=timeout,
        weights=target.weights,
    )
    size = {"chunk": rows_at_once(), "one": 1, "all": len(rows)}[spec.entry.rows]
    if target.weights is not None and not (target.weights.all() or spec.entry.tells_rows):
        size = 1
    parts = []
    with ExitStack() as stack:
        if target.framework:
            stack.enter_context(unchanged(estimator, target.framework, target.x))
        estimator.observer = watch
        stack.callback(setattr, estimator, "observer", None)
        for first in range(0, len(rows), max(size, 1)):
            part = rows[first : first + size]
            parts.append(_part(spec, target, part, watch, norm, eps))
            progress((first + len(part)) / len(rows))
    found = _joined(parts, target)
    if len(rows) and not np.isfinite(found.x_adv.reshape(len(rows), -1)).all(axis=1).any():
        raise ValueError("the attack returned no point that is finite")
    return found


def _part(
    spec: AttackSpec, target: Target, rows: np.ndarray, watch: Watch, norm: str, eps: float
) -> Generated:
    """The attack on some rows; a new object each time, because some remember the last call."""
    x, y = target.x[rows], target.y[rows]
    watch.begin(x, y)
    whole = True
    try:
        # Square divides by zero and Wasserstein overflows, in points that `measure` refuses.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            x_adv = adversarial(
                spec, target.attacked_by(spec), x, y, norm=norm, eps=eps, weights=target.weights
            )
            if spec.entry.is_minimal and x_adv.shape == x.shape and target.decides_beyond:
                _ask_beyond(target, spec, x, x_adv, norm=norm, eps=eps)
    except FoundError:
        x_adv, whole = x.copy(), False
    if x_adv.shape != x.shape:
        raise ValueError(f"the attack returned an array of shape {x_adv.shape}, not {x.shape}")
    return Generated(
        rows,
        x_adv.astype(np.float32),
        watch.kept,
        watch.has_kept,
        watch.first_query,
        watch.next_query,
        whole & ~watch.left,
    )


def _ask_beyond(
    target: Target, spec: AttackSpec, x: np.ndarray, x_adv: np.ndarray, *, norm: str, eps: float
) -> None:
    """Ask, for the watch to see, about points beyond those on the boundary; see `beyond`."""
    estimator = target.attacked_by(spec)
    for points in farther(x, x_adv, norm=norm, eps=eps, weights=target.weights):
        estimator.predict(points)


def _joined(parts: list[Generated], target: Target) -> Generated:
    if not parts:
        none, shape = np.empty(0, dtype=np.int64), target.x.shape[1:]
        points, flags = np.empty((0, *shape), dtype=np.float32), np.empty(0, dtype=bool)
        return Generated(none, points, points, flags, none, none, flags)
    return Generated(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("rows", "x_adv", "kept", "has_kept", "first_query", "next_query", "whole")
        )
    )


def seed_of(seed: int, name: str) -> int:
    """Of the global generators: differs by attack, and is the same in both frameworks."""
    return (seed * 1_000_003 + zlib.crc32(name.encode())) % 2**32

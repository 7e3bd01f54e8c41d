"""The trust stage of a cell: its stored attacks brought together, checked, and stored."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmark.attacks.suites import AttackSpec
from benchmark.attacks.target import Target
from benchmark.cells import BASELINE, Job
from benchmark.progress import TRUST
from benchmark.reporter import Reporter
from benchmark.results import Record, Store
from benchmark.trust.checks import run
from benchmark.trust.subject import Attacked, Subject

# What a cell and its undefended twin share.
_SHARED = ("dataset", "model", "framework", "threat", "seed", "examples")


def check(job: Job, store: Store, target: Target, reporter: Reporter) -> None:
    """Makes the trust checks of a cell, unless they are stored and its attacks are the same since.

    Args:
        job: whose attacks have been run.
        store: where they are.
        target: what they attacked.
        reporter: is told of the stage.
    """
    cell_id, attacks = job.cell.cell_id, _checksums(job, store)
    stored = store.read_stage(cell_id, job.trust_stage)
    if stored is not None and stored.get("attacks") == attacks:
        return
    record = run(subject(job, store, target), progress=reporter.stage(TRUST))
    store.write_stage(
        cell_id, job.trust_stage, {"suite": job.suite, "attacks": attacks, "status": "ok", **record}
    )


def _checksums(job: Job, store: Store) -> dict[str, list[str]]:
    """Key of each attack to the checksums of its outcomes, which change with them."""
    found = {}
    for key in job.attack_keys().values():
        record = store.read_stage(job.cell.cell_id, f"attacks/{key}") or {}
        found[key] = sorted(record.get("files", {}).values())
    return found


def subject(job: Job, store: Store, target: Target) -> Subject:
    """What the checks look at."""
    cell = job.cell
    return Subject(
        estimator=target.estimator,
        pipeline=target.once,
        x=target.x,
        y=target.y,
        clean_prediction=target.clean_prediction,
        norm=cell.norm,
        eps=cell.eps,
        seed=cell.seed,
        attacks=[_attacked(job, store, spec) for spec in job.attacks],
        twin=_left_of_twin(job, store),
        is_twin=cell.defense == BASELINE,
        judge=target.judge,
        clean=target.clean,
    )


def _attacked(job: Job, store: Store, spec: AttackSpec) -> Attacked:
    cell_id, key = job.cell.cell_id, job.attack_keys()[spec.name]
    record = store.read_stage(cell_id, f"attacks/{key}") or {"name": spec.name, "status": "missing"}
    return Attacked(record, _arrays(store, cell_id, key, record), bounded=_bounded(spec))


def _arrays(store: Store, cell_id: str, key: str, record: Record) -> dict[str, np.ndarray]:
    has_arrays = record["status"] == "ok"
    return store.read_arrays(cell_id, f"attacks/{key}", f"{key}.npz") if has_arrays else {}


def _bounded(spec: AttackSpec) -> bool:
    """Whether the attack is told a budget; minimal-norm attacks leave it where they have to."""
    module, _, name = spec.entry.target.partition(":")
    attack: Any = getattr(importlib.import_module(module), name)
    return "eps" in attack.attack_params


def _left_of_twin(job: Job, store: Store) -> float | None:
    """The share of the undefended twin's correct examples that the same attacks leave right."""
    twin = _twin(job, store)
    if twin is None:
        return None
    right, left = None, None
    for key in job.attack_keys().values():
        record = store.read_stage(twin, f"attacks/{key}")
        if record is None or record.get("status") != "ok":
            continue
        if (record["norm"], record["eps"]) != (job.cell.norm, job.cell.eps):
            continue
        arrays = _arrays(store, twin, key, record)
        right = arrays["clean_correct"]
        held = right & ~arrays["success"]
        left = held if left is None else left & held
    if right is None or left is None or not right.any():
        return None
    return float(left.sum() / right.sum())


def _twin(job: Job, store: Store) -> str | None:
    """The cell that differs in nothing but that it is undefended; the cell itself if it is that."""
    if job.cell.defense == BASELINE:
        return job.cell.cell_id
    ours = job.cell.config()
    for cell_id in store.cell_ids():
        record = store.read_cell(cell_id)
        config = (record or {}).get("config", {})
        if _is_baseline(config) and all(config.get(name) == ours[name] for name in _SHARED):
            return cell_id
    return None


def _is_baseline(config: Mapping[str, Any]) -> bool:
    return bool(config) and config.get("defense", {}).get("name") == BASELINE

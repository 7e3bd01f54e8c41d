"""`bench run --dry-run`: the cells of a plan and what they cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from benchmark.cells import Cell, cell_of
from benchmark.cli.display import print_table
from benchmark.cli.efforts import Alike, Speeds
from benchmark.cli.output import tell
from benchmark.config import RunConfig
from benchmark.devices import cuda_devices
from benchmark.errors import SchemaError
from benchmark.frameworks import processor
from benchmark.job import Job
from benchmark.plans.run import Plan
from benchmark.results import Store
from benchmark.results.records import TrainingRecord
from benchmark.resume import pending, training_left
from benchmark.stages.attack import Attack
from benchmark.stages.certification import Certification
from benchmark.stages.training import TRAINING
from benchmark.text import counted, duration


def print_plan(plan: Plan, *, as_json: bool = False) -> None:
    """A row a cell, and what is left to do of them all; writes nothing."""
    from reports import power

    out = plan.config.out
    store = Store.open(out) if (out / "bench.json").exists() else None
    to_do = pending(plan.jobs, store) if store else plan.jobs
    rows = _rows(plan, to_do, store)
    adapting = sum(job.adapting for job in to_do)
    stages = [one for job in to_do for one in (job.pending(store) if store else job.stages)]
    certifying = sum(stage.effort for stage in stages if isinstance(stage, Certification))
    attacked = max((job.cell.examples for job in plan.jobs), default=0)
    attacks = [stage.spec.name for stage in stages if isinstance(stage, Attack)]
    if as_json:
        beside = {
            "adaptation_gradient_evaluations": adapting,
            "certification_gradient_evaluations": certifying,
            "attacks_to_do": len(attacks),
            "examples": attacked,
            "examples_for_2_points": power.examples_for(0.02, rows=len(plan.jobs)),
        }
        print(json.dumps({"cells": rows, **beside}, indent=2))
        return
    print_table(
        ["cell", "training GE", "training time", "update memory", "peak memory", "state"],
        list(map(_cells, rows)),
        right_aligned=[False, True, True, True, True, False],
    )
    total = sum(row["training_gradient_evaluations"] for row in rows if row["state"] == "to do")
    tell(
        f"{len(to_do)} of {counted(len(plan.jobs), 'cell')} to do, about {total:,.0f} gradient "
        f"evaluations of training and {adapting:,.0f} of the adaptation protocol; nothing was "
        "written"
    )
    if attacks:
        names = ", ".join(dict.fromkeys(attacks))
        tell(
            f"{counted(len(attacks), 'attack')} to do, with those that are not applicable, on up "
            f"to {attacked:,} test examples each: {names}"
        )
    if attacked:
        tell(power.sentence(attacked, rows=len(plan.jobs)))
    if certifying:
        tell(f"certification takes about {certifying:,.0f} gradient evaluations")
    if any(row["training_seconds"] is None for row in rows):
        tell(
            f"time and peak memory are known where {out} holds a training of the same model on a "
            "machine like this one"
        )


def _rows(plan: Plan, to_do: Sequence[Job], store: Store | None) -> list[dict[str, Any]]:
    """What is known of each cell; None for what isn't."""
    left = {job.cell.cell_id: training_left(job, store) for job in to_do}
    speeds, peaks = (Speeds(), {}) if store is None else _measured(store, plan.config)
    rows = []
    for job in plan.jobs:
        cell_id, alike = job.cell.cell_id, _alike(job.cell)
        effort = left.get(cell_id, job.training)
        pace = speeds.pace(alike)
        rows.append(
            {
                "cell_id": cell_id,
                "training_gradient_evaluations": effort,
                "training_seconds": None if pace is None else pace * effort,
                "update_memory_bytes": plan.memory.get(cell_id),
                "peak_memory_bytes": peaks.get(alike[0]),
                "state": "to do" if cell_id in left else "done",
            }
        )
    return rows


def _cells(row: dict[str, Any]) -> list[str]:
    seconds, update, peak = (
        row[name] for name in ("training_seconds", "update_memory_bytes", "peak_memory_bytes")
    )
    return [
        row["cell_id"],
        f"{row['training_gradient_evaluations']:,.0f}",
        "unknown" if seconds is None else f"about {duration(seconds)}",
        "" if update is None else f"{update / 1e6:,.0f} MB",
        "unknown" if peak is None else f"{peak / 1e6:,.0f} MB",
        row["state"],
    ]


def _measured(store: Store, config: RunConfig) -> tuple[Speeds, dict[Alike, float]]:
    """How fast trainings went on a processor and device as here, and what they held at most."""
    speeds, peaks = Speeds(), dict[Alike, float]()
    cuda = config.device != "cpu" and cuda_devices() > 0
    for cell_id in store.cell_ids():
        record = store.read_cell(cell_id) or {}
        here = record.get("processor") == processor()
        if not here or str(record.get("device")).startswith("cuda") != cuda:
            continue
        try:
            training = TrainingRecord.read(store.read_stage(cell_id, TRAINING) or {})
            alike = _alike(cell_of(record["config"]))
        except (SchemaError, KeyError, TypeError, AttributeError):
            continue  # not there, of another version, or changed
        if training.taken_from or config.threads not in (None, training.threads):
            continue
        speeds.add(alike, training.seconds, training.cost.gradient_evaluations or 0.0)
        if training.peak_memory:
            peaks[alike[0]] = max(peaks.get(alike[0], 0.0), training.peak_memory)
    return speeds, peaks


def _alike(cell: Cell) -> list[Alike]:
    """What a training is like: the same defense's, or else any of the model."""
    model = (cell.dataset_fingerprint, cell.model, cell.framework)
    return [(*model, cell.trained_by), model]

"""What an output folder already holds of a run."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.cells import Cell
from benchmark.job import Job
from benchmark.results import Record, Store
from benchmark.stages.training import TRAINING, trained_elsewhere


def pending(jobs: Sequence[Job], store: Store) -> list[Job]:
    """The jobs that are not done yet.

    They have no record, one that is not ok, other attacks than the suite, or a stage that is
    missing, damaged or failed.
    """
    return [job for job in jobs if not _is_done(job, store)]


def _is_done(job: Job, store: Store) -> bool:
    record = store.read_cell(job.cell.cell_id)
    if record is None or record.get("status") != "ok":
        return False
    attacks = _suites(record).get(job.suite, [])
    return sorted(attacks) == sorted(job.attack_keys().values()) and not job.pending(store)


def training_left(job: Job, store: Store | None) -> float:
    """Gradient evaluations that a cell's training will take; none where it is stored somewhere."""
    if store is not None and (
        store.read_stage(job.cell.cell_id, TRAINING) or trained_elsewhere(store, job.cell)
    ):
        return 0.0
    return job.training


def suites_of(job: Job, store: Store) -> dict[str, list[str]]:
    """The suites of a cell: those done before, and the job's."""
    before = store.read_cell(job.cell.cell_id) or {}
    return {**_suites(before), job.suite: list(job.attack_keys().values())}


def _suites(record: Record) -> dict[str, list[str]]:
    """The suites that a cell's record tells, as far as they are any: it may be anybody's."""
    told = record.get("suites")
    if not isinstance(told, dict):
        return {}
    return {
        suite: keys
        for suite, keys in told.items()
        if isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    }


def spent(cell: Cell, store: Store) -> float | None:
    """Gradient evaluations of the stored stages that made the model; None if unknown."""
    if cell.source is not None:
        return None
    stages = [store.read_stage(cell.cell_id, stage) for stage in ("training", "adaptation")]
    return sum((float(s["cost"]["gradient_evaluations"]) for s in stages if s is not None), 0.0)

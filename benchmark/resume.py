"""What an output folder already holds of a run."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.attacks.suites import AttackSpec
from benchmark.cells import Cell, Job
from benchmark.results import Record, Store


def pending(jobs: Sequence[Job], store: Store) -> list[Job]:
    """The jobs that are not done yet.

    They have no record, one that is not ok, other attacks or families of attacks, one that failed,
    or a stage that is damaged or missing.
    """
    return [job for job in jobs if not _is_done(job, store)]


def _is_done(job: Job, store: Store) -> bool:
    cell_id = job.cell.cell_id
    record = store.read_cell(cell_id)
    if record is None or record.get("status") != "ok":
        return False
    keys = job.attack_keys()
    if sorted(record.get("suites", {}).get(job.suite, [])) != sorted(keys.values()):
        return False
    for spec in job.attacks:
        if not is_result(job, spec, store.read_stage(cell_id, f"attacks/{keys[spec.name]}")):
            return False
    stages = ["given" if job.given else "training"]
    stages.append(job.trust_stage)
    stages += [f"curves/{key}" for key in [job.curve_key()] if key is not None]
    stages += [f"adaptations/{key}" for key in job.adaptation_keys().values()]
    if (store.cell_folder(cell_id) / "adaptation.json").exists():
        stages.append("adaptation")
    records = [store.read_stage(cell_id, stage) for stage in stages]
    return all(record is not None and record.get("status") != "failed" for record in records)


def is_result(job: Job, spec: AttackSpec, record: Record | None) -> bool:
    """Whether a stored attack is what is asked for: it ended, and was made on the same model."""
    if record is None or record.get("status") == "failed":
        return False
    made_on = record.get("made_on")
    return made_on is None or made_on == job.sources.get(spec.source or "", made_on)


def suites_of(job: Job, store: Store) -> dict[str, list[str]]:
    """The suites of a failed cell: those done before, and the one that it failed at."""
    before = (store.read_cell(job.cell.cell_id) or {}).get("suites", {})
    return {**before, job.suite: list(job.attack_keys().values())}


def spent(cell: Cell, store: Store) -> float | None:
    """Gradient evaluations of the stages that a failed cell had finished; None if unknown."""
    if cell.source is not None:
        return None
    stages = [store.read_stage(cell.cell_id, stage) for stage in ("training", "adaptation")]
    return sum(float(s["cost"]["gradient_evaluations"]) for s in stages if s is not None)

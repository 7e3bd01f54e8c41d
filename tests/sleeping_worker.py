"""A worker whose stages are sleeps: for tests and scripts about who does what, when and where.

A cell's parameters say how many seconds its stages take: {"training": 1.0, "attack": 0.5}.
"""

from __future__ import annotations

import functools
import os
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from progressing import CELL

from benchmark.attacks.suites import AttackSpec
from benchmark.cells import cell_record
from benchmark.executors.interface import Task
from benchmark.job import Job
from benchmark.results import Store
from benchmark.results.files import write_bytes
from benchmark.results.identity import CHECKS_VERSION, PROTOCOL_VERSION
from benchmark.worker import hand_over

ATTACKS = ("fgsm", "pgd")
STEP = 0.05  # seconds between two words of progress


def job(
    out: Path, seed: int = 0, *, framework: str = "torch", attacks: int = 2, **seconds: float
) -> Job:
    """A cell that takes these seconds."""
    cell = replace(CELL, framework=framework, parameters=seconds, seed=seed, examples=10)
    specs = tuple(AttackSpec(name, "pgd", {}) for name in ATTACKS[:attacks])
    return Job(cell, "quick", specs, str(out), None)


def serve(connection: Connection, framework: str, device: str, threads: int) -> None:
    """Sleeps through tasks, and leaves what a real worker leaves, without the numbers."""
    connection.send(("ready",))
    while (task := connection.recv()) is not None:
        with open(Path(task.job.out) / "served.txt", "a", encoding="utf-8") as stream:
            stream.write(f"{os.getpid()} {os.getppid()} {task.job.cell.cell_id} {task.attempt}\n")
        record = _work(connection, task)
        connection.send(("finished", task.job.cell.cell_id, "ok", "", record))


def _work(connection: Connection, task: Task) -> dict[str, object] | None:
    job = task.job
    store = replace(Store.open(job.out), hand_over=functools.partial(hand_over, connection))
    for stage in job.stages:
        if not stage.required or (task.stages is not None and stage.path not in task.stages):
            continue
        if stage.is_stored(store, job.cell.cell_id):
            continue
        kind = stage.path.partition("/")[0].removesuffix("s")
        _sleep(connection, job, stage.label, float(job.cell.parameters.get(kind, 0.0)))
        content = functools.partial(write_bytes, content=job.cell.cell_id.encode())
        files = {f"{stage.path.rpartition('/')[2]}.npz": content}
        store.write_stage(job.cell.cell_id, stage.path, _record(job, stage.path, store), files)
    if not task.ends:
        return None
    return dict(
        cell_record(
            job.cell,
            status="ok",
            suites={job.suite: list(job.attack_keys().values())},
            device="cpu",
            threads=1,
            seconds=0.1,
            started="2026-01-01T00:00:00+00:00",
        )
    )


def _sleep(connection: Connection, job: Job, label: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        connection.send(("progress", job.cell.cell_id, label, 1 - left / seconds))
        time.sleep(min(STEP, left))


def _record(job: Job, path: str, store: Store) -> dict[str, object]:
    if path == "training":
        cost = {"forwards": 1, "backwards": 1, "second_order": 0, "gradient_evaluations": 1000.0}
        return {"seconds": float(job.cell.parameters.get("training", 0.0)), "cost": cost}
    (trust,) = [stage for stage in job.stages if stage.path.startswith("trust/")]
    if path == trust.path:
        looked_at = trust._checksums(store, job.cell.cell_id)
        return {"status": "ok", "attacks": looked_at, "checks_version": CHECKS_VERSION}
    return {"status": "ok", "protocol_version": PROTOCOL_VERSION}

"""A worker process: takes tasks, does the stages of each in order, and tells how the cell ended."""

from __future__ import annotations

import functools
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import PurePosixPath
from typing import Any

import defenses
from benchmark import frameworks
from benchmark.cells import Cell, cell_record
from benchmark.devices import numbered
from benchmark.executors.interface import Task
from benchmark.job import Job
from benchmark.plans import asked
from benchmark.registry import check_installed
from benchmark.reporter import Reporter
from benchmark.results import Record, Store
from benchmark.results.records import CellStatus
from benchmark.resume import spent, suites_of
from benchmark.stages.context import Context
from benchmark.stages.stage import Stage
from benchmark.text import explained

_FEWER = "a smaller batch_size or fewer --jobs"


def serve(connection: Connection, framework: str, device: str, threads: int) -> None:
    """Work through the tasks that come over `connection` until None comes.

    Sends what `benchmark.executors.interface` lists, and waits for the answer to ("store", ...).
    """
    place = frameworks.prepare(framework, device=device, threads=threads)
    connection.send(("ready",))
    while (task := connection.recv()) is not None:
        status, reason, record = _run(task, place, threads, connection)
        connection.send(("finished", task.job.cell.cell_id, status, reason, record))


def _run(
    task: Task, device: str, threads: int, connection: Connection
) -> tuple[str, str, Record | None]:
    """Do a task; returns how it ended, why, and the cell's record where the cell has ended."""
    job, cell = task.job, task.job.cell
    context = _context(job, device, threads, connection)
    store = context.store
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    status: CellStatus = "ok"
    reason = ""
    classes: tuple[str, ...] = ()  # known once the data are loaded, as what is said of them
    data: Mapping[str, Any] = {}
    try:
        check_installed(cell)
        context.reporter.stage("data")
        classes, data = context.dataset.class_names, context.dataset.record()
        if job.asked is not None:
            asked.write(job.asked, store, cell.cell_id, job.run_stage)
        for stage in job.stages:
            if task.stages is None or stage.path in task.stages:
                do(stage, context)
    except defenses.TrainingDivergedError as error:
        status, reason = "diverged", str(error)
    except (Exception, SystemExit) as error:  # other people's code may try to end the process
        traceback.print_exc()
        status, reason = "failed", explained(error, _smaller(cell))
    if status == "ok" and not task.ends:
        return status, reason, None
    record = cell_record(
        cell,
        status=status,
        reason=reason,
        suites=suites_of(job, store),
        device=frameworks.named(device),
        threads=threads,
        seconds=time.perf_counter() - clock,
        started=started,
        gradient_evaluations=spent(cell, store),
        classes=classes,
        data=data,
    )
    return status, reason, record


def _context(job: Job, device: str, threads: int, connection: Connection) -> Context:
    """What the stages of a job share; what they store is handed over."""
    return Context(
        job.cell,
        replace(Store.open(job.out), hand_over=functools.partial(hand_over, connection)),
        device,
        Reporter(connection, job.cell.cell_id),
        data_dir=job.data_dir,
        dataset_name=job.dataset,
        measured=job.measured,
        external=job.external,
        origin=job.origin,
        extra_data=job.extra_data,
        sources=job.sources,
        threads=threads,
        batch_size=job.batch_size,
    )


def hand_over(connection: Connection, cell_id: str, stage: str, files: Mapping[str, str]) -> None:
    """Have the run that holds the folder make a stage known that was written aside; wait for that.

    Raises `EOFError` where nobody is there any more.
    """
    connection.send(("store", cell_id, stage, dict(files)))
    connection.recv()


def do(stage: Stage, context: Context) -> None:
    """Do a stage and store it, unless it is stored already.

    A stage that raises, or that needs one that failed, is stored as failed with the reason, and the
    cell goes on with what doesn't need it. What an `essential` one raises goes on to the caller.
    """
    store, cell_id = context.store, context.cell.cell_id
    if stage.is_stored(store, cell_id):
        return
    try:
        lacking = [path for path in stage.needs if _failed(context, path)]
        result = (stage.failed(_reason(context, lacking[0])), {}) if lacking else stage.run(context)
    except (Exception, SystemExit) as error:
        if stage.essential:
            raise
        traceback.print_exc()
        result = stage.failed(explained(error, _FEWER)), {}
    if result is None:
        return
    record, files = result
    if record.status != "failed" and (made_of := _made_of(stage, context)):
        record = record.model_copy(update={"made_of": made_of})
    if context.device != "cpu":  # which the cell's own record tells
        device = numbered(frameworks.named(context.device))
        record = record.model_copy(update={"device": device})
    store.write_stage(cell_id, stage.path, record.stored(), files)
    stage.clean_up(context)
    if record.status == "failed":
        context.reporter.failed(stage.label, record.reason)


def _made_of(stage: Stage, context: Context) -> dict[str, str]:
    """The files of the stages that it needed, and their checksums."""
    return {
        str(PurePosixPath(path).with_name(name)): checksum
        for path in stage.needs
        for name, checksum in context.record(path).get("files", {}).items()
    }


def _failed(context: Context, path: str) -> bool:
    return context.record(path).get("status") == "failed"


def _reason(context: Context, path: str) -> str:
    return f"needs {path}, which failed: {context.record(path).get('reason', '')}"


def _smaller(cell: Cell) -> str:
    """How to have batches of half the size, where it is the cell's training that needs them."""
    size = cell.training_parameters.get("batch_size")
    if cell.source is not None or not isinstance(size, int) or size < 2:
        return _FEWER
    return f"--set parameters.{cell.trained_by}.batch_size={size // 2}, or fewer --jobs"

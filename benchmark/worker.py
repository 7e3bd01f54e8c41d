"""One cell from data to stored attacks: the only place that orders the stages.

    data ▸ training ▸ adaptation ▸ attacks ▸ trust checks ▸ adaptation protocol ▸ cell.json
    data ▸ given ▸ attacks ▸ trust checks ▸ cell.json, for a model that someone else trained

A stage that is stored already is read, not done again.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import time
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

import defenses
from benchmark import datasets, frameworks, models
from benchmark.adaptation import stages as adaptation
from benchmark.attacks import curves, twins
from benchmark.attacks.running import run_attack
from benchmark.attacks.surrogates import Surrogates
from benchmark.attacks.target import Target, encoded, target
from benchmark.cells import Cell, Job, cell_record
from benchmark.datasets import Dataset
from benchmark.datasets.splits import draw
from benchmark.external.loading import BUILDERS, copies, ready
from benchmark.reporter import Reporter
from benchmark.results import Record, Store, npz_writer
from benchmark.trust import gather as trust
from defenses.checkpoints import Checkpoint
from defenses.cost import Cost
from defenses.wrappers import encoded_shape

# Keep the draw of the attacked examples and of the support apart from others of the same seed.
_EXAMPLES_STREAM = 0x7E57
_SUPPORT_STREAM = 0x5089

# Training examples that a defense which adapts is adapted to before it is attacked.
SUPPORT = 100


def serve(connection: Connection, framework: str, device: str, threads: int) -> None:
    """Work through the jobs that come over `connection` until None comes.

    Sends ("ready",), ("progress", cell_id, stage, fraction), ("notice", cell_id, text) and
    ("finished", cell_id, status, reason).
    """
    place = frameworks.prepare(framework, device=device, threads=threads)
    connection.send(("ready",))
    while (job := connection.recv()) is not None:
        status, reason = _run(job, place, threads, connection)
        connection.send(("finished", job.cell.cell_id, status, reason))


def _run(job: Job, device: str, threads: int, connection: Connection) -> tuple[str, str]:
    """Run a cell and write its record; returns status and reason."""
    store = Store.open(job.out)
    run = _CellRun(job, store, device, Reporter(connection, job.cell.cell_id))
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    status, reason = "ok", ""
    try:
        run.work()
    except defenses.TrainingDivergedError as error:
        status, reason = "diverged", str(error)
    except Exception as error:
        traceback.print_exc()
        status, reason = "failed", _explain(error)
    before = (store.read_cell(job.cell.cell_id) or {}).get("suites", {})
    record = cell_record(
        job.cell,
        status=status,
        reason=reason,
        suites={**before, job.suite: list(job.attack_keys().values())},
        device=device,
        threads=threads,
        seconds=time.perf_counter() - clock,
        started=started,
        gradient_evaluations=run.gradient_evaluations,
    )
    store.write_cell(job.cell.cell_id, record)
    return status, reason


def _explain(error: Exception) -> str:
    words = f"{type(error).__name__}: {error}".splitlines()[0]
    memory = ("MemoryError", "OutOfMemoryError", "ResourceExhaustedError")
    if type(error).__name__ in memory or "can't allocate memory" in str(error):
        return f"out of memory ({words}); try a smaller batch_size or fewer --jobs"
    return words


@dataclass
class _CellRun:
    """The stages of one cell."""

    job: Job
    store: Store
    device: str
    reporter: Reporter
    gradient_evaluations: float | None = 0.0
    _dataset: Dataset = field(init=False)

    @property
    def cell(self) -> Cell:
        return self.job.cell

    def work(self) -> None:
        """Every stage in order."""
        self.reporter.stage("data")
        self._dataset = load_dataset(self.cell, self.job.data_dir)
        trained = None if self.job.given else self._trained()
        target = self._target(self._given() if trained is None else self._adapted(trained).model)
        measure(self.job, target, self.store, self.reporter)
        twins.measure(
            self.job, target, self._dataset, self.store, self.reporter, device=self.device
        )
        if trained is not None:
            adaptation.measure(
                self.job, trained, self._dataset, self.store, self.reporter, device=self.device
            )

    def _given(self) -> Any:
        """The model that someone else trained; its weights are stored as they came."""
        given, data = self.job.given, self._dataset
        assert given is not None
        self.gradient_evaluations = None
        model = ready(given, self.cell, data.input_shape, data.classes, device=self.device)
        if self.store.read_stage(self.cell.cell_id, "given") is None:
            record = {"seconds": 0.0, "source": dict(self.cell.source or {})}
            self.store.write_stage(self.cell.cell_id, "given", record, copies(given))
        return model

    def _trained(self) -> defenses.Fitted:
        """The defense's training, from the store where it is there."""
        model, stored = self._build(), self._stored("training", "weights")
        defense = defenses.create(
            self.cell.trained_by,
            defenses.Threat(self.cell.norm, self.cell.eps),
            self.cell.training_parameters,
        )
        if stored is not None:
            self.builder.load_weights(model, stored)
            record = self.store.read_stage(self.cell.cell_id, "training") or {}
            return defense.resume(model, record.get("learned"))
        data, folder = self._dataset, self.store.cell_folder(self.cell.cell_id)
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = Checkpoint(folder / "checkpoint.npz", identity=self.cell.cell_id)
        started = time.perf_counter()
        fitted = defense.fit(
            model,
            encoded(self.cell, data.x_train),
            data.y_train,
            epochs=self.cell.epochs,
            budget_ge=self.cell.budget_ge,
            seed=self.cell.seed,
            validation=(encoded(self.cell, data.x_validation), data.y_validation),
            progress=self.reporter.stage("training"),
            notify=self.reporter.notice,
            checkpoint=checkpoint,
        )
        self._write("training", "weights", fitted, _training_record(fitted), started)
        checkpoint.remove()
        return fitted

    def _adapted(self, fitted: defenses.Fitted) -> defenses.Fitted:
        """The model as it will be attacked: adapted, if the defense is meant to be."""
        if not fitted.defense.adapts:
            return fitted
        stored = self._stored("adaptation", "adapted")
        if stored is not None:
            model = self._build()
            self.builder.load_weights(model, stored)
            return fitted.defense.resume(model, fitted.learned)
        self.reporter.stage("adaptation")
        data, started = self._dataset, time.perf_counter()
        generator = np.random.default_rng([self.cell.seed, _SUPPORT_STREAM])
        support = draw(data.y_train, SUPPORT, generator)
        adapted = fitted.adapt(data.x_train[support], data.y_train[support], seed=self.cell.seed)
        record = {"labels_used": len(support), "steps": adapted.outcome.steps}
        self._write("adaptation", "adapted", adapted, record, started)
        return adapted

    def _spend(self, gradient_evaluations: float) -> None:
        self.gradient_evaluations = (self.gradient_evaluations or 0.0) + gradient_evaluations

    def _target(self, model: Any) -> Target:
        data = self._dataset
        generator = np.random.default_rng([self.cell.split_seed, _EXAMPLES_STREAM])
        index = np.sort(draw(data.y_test, self.cell.examples, generator))
        others = None if self.job.given else Surrogates(self.store, self.cell, data, self.device)
        return target(self.cell, model, data, index, device=self.device, surrogates=others)

    @property
    def builder(self) -> Any:
        """`benchmark.models.pytorch` or `benchmark.models.tensorflow`."""
        return importlib.import_module(BUILDERS[self.cell.framework])

    def _build(self) -> Any:
        specification = models.specification(
            self.cell.model,
            encoded_shape(self.cell.wrapped_in, self._dataset.input_shape),
            self._dataset.classes,
        )
        model = self.builder.build(specification, specification.initial_weights(self.cell.seed))
        return model.to(self.device) if self.cell.framework == "torch" else model

    def _stored(self, stage: str, name: str) -> Path | None:
        """The weights file of a stage that is done; its cost is added to the cell's."""
        record = self.store.read_stage(self.cell.cell_id, stage)
        if record is None:
            return None
        self._spend(record["cost"]["gradient_evaluations"])
        return self.store.cell_folder(self.cell.cell_id) / f"{name}{self.builder.WEIGHTS_SUFFIX}"

    def _write(
        self, stage: str, name: str, fitted: defenses.Fitted, record: Record, started: float
    ) -> None:
        self._spend(fitted.cost.gradient_evaluations)
        save = functools.partial(self.builder.save_weights, fitted.model)
        self.store.write_stage(
            self.cell.cell_id,
            stage,
            {**record, "seconds": time.perf_counter() - started, "cost": _cost(fitted.cost)},
            {f"{name}{self.builder.WEIGHTS_SUFFIX}": save},
        )


def measure(job: Job, target: Target, store: Store, reporter: Reporter) -> None:
    """The stages of a suite on a model that is ready, as far as they aren't stored already."""
    cell = job.cell
    for spec in job.attacks:
        key = job.attack_keys()[spec.name]
        stored = store.read_stage(cell.cell_id, f"attacks/{key}")
        if stored is not None and stored.get("status") != "failed":
            continue
        record, arrays = run_attack(
            spec,
            target,
            key=key,
            norm=cell.norm,
            eps=cell.eps,
            seed=cell.seed,
            progress=reporter.stage(f"attack {spec.name}"),
            timeout=job.attack_timeout,
        )
        files = {f"{key}.npz": npz_writer(arrays)} if arrays else {}
        store.write_stage(cell.cell_id, f"attacks/{key}", record, files)
    trust.check(job, store, target, reporter)
    curves.measure(job, target, store, reporter)


def _training_record(fitted: defenses.Fitted) -> Record:
    outcome, found = fitted.outcome, fitted.outcome.overfitting
    return {
        "learned": fitted.learned,
        "history": outcome.history,
        "steps": outcome.steps,
        "overfitting": None if found is None else dataclasses.asdict(found),
        "restored_epoch": outcome.restored_epoch,
        "notices": list(outcome.notices),
    }


def _cost(cost: Cost) -> dict[str, float]:
    return {
        "forwards": cost.forwards,
        "backwards": cost.backwards,
        "second_order": cost.second_order,
        "gradient_evaluations": cost.gradient_evaluations,
    }


def load_dataset(cell: Cell, data_dir: str | None) -> Dataset:
    """The cell's data set; a worker keeps the last one for the cells that follow."""
    return _load_cached(
        cell.dataset, cell.dataset_fingerprint, data_dir, cell.image_size, cell.split_seed
    )


@functools.lru_cache(maxsize=1)
def _load_cached(
    name: str, fingerprint: str, data_dir: str | None, image_size: int | None, split_seed: int
) -> Dataset:
    dataset = datasets.load(
        name,
        data_dir=Path(data_dir) if data_dir else None,
        image_size=image_size,
        split_seed=split_seed,
    )
    if dataset.fingerprint != fingerprint:
        raise RuntimeError(f"data set {name} changed while the run was going on; start again")
    return dataset

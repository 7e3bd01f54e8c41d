"""Training: the defense's own, or nothing but reading where it is stored."""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any

import defenses
from benchmark.attacks.encoding import encoded
from benchmark.cells import Cell, cell_of
from benchmark.datasets.extra import read
from benchmark.digest import digest
from benchmark.memory import forget_peak, peak
from benchmark.results import Record, Store, Writer
from benchmark.results.files import copy_of
from benchmark.results.records import CostRecord, TrainingRecord
from benchmark.stages.context import Context
from benchmark.stages.stage import Result, Stage
from defenses import Fitted
from defenses.checkpoints import Checkpoint
from defenses.training import PRECISIONS
from defenses.wrappers import WRAPPERS

TRAINING = "training"


class Training(Stage):
    """Stage "training": the model that the defense trains.

    weights.*  in the framework's format
    """

    path = label = TRAINING
    essential = True

    def __init__(self, gradient_evaluations: float) -> None:
        self.effort = gradient_evaluations

    def run(self, context: Context) -> Result:
        """Takes the training of another cell where it is the same, and trains otherwise.

        A training begins with the seed's initial weights, or where a killed run had come.
        """
        if (found := trained_elsewhere(context.store, context.cell)) is not None:
            return _taken(context.store, found)
        cell, data = context.cell, context.dataset
        context.store.make_cell_folder(cell.cell_id)
        started, counted, checkpoint = time.perf_counter(), forget_peak(), _checkpoint(context)
        context.fitted = fitted = context.defense.fit(
            context.build(),
            encoded(cell, data.x_train),
            data.y_train,
            epochs=cell.epochs,
            budget_ge=cell.budget_ge,
            seed=cell.seed,
            validation=(encoded(cell, data.x_validation), data.y_validation),
            extra=_extra(context),
            precision=cell.precision or PRECISIONS[0],
            progress=context.reporter.stage(self.label),
            notify=context.reporter.notice,
            checkpoint=checkpoint,
        )
        took = spent(context, fitted, started - checkpoint.seconds_before)
        if counted and context.device == "cpu":  # elsewhere a model is in other memory
            took["peak_memory"] = peak()
        return _record(fitted, took), weights_of(context, "weights", fitted)

    def clean_up(self, context: Context) -> None:
        """Removes the checkpoint."""
        _checkpoint(context).remove()


def trained_elsewhere(store: Store, cell: Cell) -> str | None:
    """The id of a cell that ended and whose training gives the very same weights, if there is one.

    A training depends on less than its cell: not on how many examples are attacked, nor on what
    stands around the model, nor on the threat where it makes no adversarial examples.
    """
    ours = training_key(cell)
    for cell_id in store.cell_ids(cell.trained_prefix):
        # Ids tell the seed before their hash, so that other cells are not read; the key decides.
        if cell_id == cell.cell_id or not cell_id[:-10].endswith(f"-s{cell.seed}-"):
            continue
        config = (store.read_cell(cell_id) or {}).get("config")
        if config is None or config.get("source") is not None:
            continue
        if _key_of(config) == ours and store.read_stage(cell_id, TRAINING):
            return cell_id
    return None


def _key_of(config: Record) -> str | None:
    """The training key of a stored configuration; None of what is none of this version's."""
    try:
        return training_key(cell_of(config))
    except (KeyError, TypeError, AttributeError, defenses.DefenseError):
        return None  # with other parameters than any training here has


def training_key(cell: Cell) -> str:
    """Equal for cells whose trainings give the same weights, and for no others."""
    threat = defenses.Threat(cell.norm, cell.eps)
    defense = defenses.create(cell.trained_by, threat, cell.training_parameters)
    encoded_by = {n: v for n, v in cell.wrapped_in.items() if WRAPPERS[n].depth}
    return digest(
        {
            "data": [cell.dataset_fingerprint, cell.image_size, cell.split_seed],
            "model": [cell.model, cell.framework, cell.seed, cell.origin],
            "defense": [cell.trained_by, cell.training_parameters],
            "threat": _threat(cell) if defense.depends_on_threat else None,
            "length": [cell.epochs, cell.budget_ge],
            "encoded_by": encoded_by,
            "extra_data": cell.extra_data,
            "precision": cell.precision,
            "distribution": cell.defense_from,
        }
    )


def _threat(cell: Cell) -> list[Any]:
    features = [one for one in (cell.features, cell.columns) if one is not None]
    return [cell.norm, cell.eps, *features]


def _taken(store: Store, cell_id: str) -> Result:
    """The training of another cell: its record, which says whose it is, and its weights."""
    stored = store.read_stage(cell_id, TRAINING)
    assert stored is not None
    files = stored.pop("files")
    known = {name: value for name, value in stored.items() if name in TrainingRecord.model_fields}
    folder = store.cell_folder(cell_id)
    writers = {name: copy_of(folder / name, checksum) for name, checksum in files.items()}
    return TrainingRecord(**{"taken_from": cell_id, **known}), writers


def _extra(context: Context) -> defenses.Extra | None:
    if context.extra_data is None:
        return None
    x, y = read(context.extra_data, context.dataset)
    return defenses.Extra(encoded(context.cell, x), y, context.extra_data.share)


def _checkpoint(context: Context) -> Checkpoint:
    cell_id = context.cell.cell_id
    return Checkpoint(context.store.cell_folder(cell_id) / "checkpoint.npz", identity=cell_id)


def spent(context: Context, fitted: Fitted, started: float) -> Record:
    """What making a model took since `started`, a time of `time.perf_counter`."""
    return {
        "seconds": time.perf_counter() - started,
        "threads": context.threads,
        "steps": fitted.outcome.steps,
        "cost": CostRecord(**fitted.cost.as_record()),
    }


def weights_of(context: Context, name: str, fitted: Fitted) -> dict[str, Writer]:
    """What writes the weights of a model, as `name` in its framework's format."""
    return {
        context.weights_file(name): functools.partial(context.builder.save_weights, fitted.model)
    }


def _record(fitted: Fitted, took: Record) -> TrainingRecord:
    outcome, found = fitted.outcome, fitted.outcome.overfitting
    return TrainingRecord(
        learned=fitted.learned,
        history=outcome.history,
        overfitting=None if found is None else dataclasses.asdict(found),
        restored_epoch=outcome.restored_epoch,
        notices=list(outcome.notices),
        **took,
    )

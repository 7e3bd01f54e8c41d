"""Training: the defense's own, or nothing but reading where it is stored."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Mapping
from typing import Any

import defenses
from benchmark.attacks.target import encoded
from benchmark.cells import Cell, cell_of
from benchmark.digest import digest
from benchmark.results import Record, Store
from benchmark.results.files import copy_of
from benchmark.stages.context import Context
from benchmark.stages.stage import Result, Stage
from defenses import Fitted
from defenses.checkpoints import Checkpoint
from defenses.wrappers import WRAPPERS

TRAINING = "training"


class Training(Stage):
    """Stage "training": the model that the defense trains.

    training.json  learned, history, steps, overfitting, restored_epoch, notices, seconds, threads,
                   cost; taken_from, where another cell's training gave the same weights
    weights.*      in the framework's format
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
        started = time.perf_counter()
        context.fitted = fitted = context.defense.fit(
            context.build(),
            encoded(cell, data.x_train),
            data.y_train,
            epochs=cell.epochs,
            budget_ge=cell.budget_ge,
            seed=cell.seed,
            validation=(encoded(cell, data.x_validation), data.y_validation),
            progress=context.reporter.stage(self.label),
            notify=context.reporter.notice,
            checkpoint=_checkpoint(context),
        )
        return weights_result(context, "weights", fitted, _record(fitted), started)

    def clean_up(self, context: Context) -> None:
        """Removes the checkpoint."""
        _checkpoint(context).remove()


def trained_elsewhere(store: Store, cell: Cell) -> str | None:
    """The id of a cell that ended and whose training gives the very same weights, if there is one.

    A training depends on less than its cell: not on how many examples are attacked, nor on what
    stands around the model, nor on the threat where it makes no adversarial examples.
    """
    ours = training_key(cell)
    for cell_id in store.cell_ids():
        # Ids begin alike, so that other cells are not read; the key decides.
        if cell_id == cell.cell_id or not cell_id.startswith(cell.trained_prefix):
            continue
        config = (store.read_cell(cell_id) or {}).get("config")
        if config is None or config.get("source") is not None:
            continue
        if _key_of(config) == ours and store.read_stage(cell_id, TRAINING):
            return cell_id
    return None


def _key_of(config: Mapping[str, Any]) -> str | None:
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
            "model": [cell.model, cell.framework, cell.seed],
            "defense": [cell.trained_by, cell.training_parameters],
            "threat": [cell.norm, cell.eps] if defense.depends_on_threat else None,
            "length": [cell.epochs, cell.budget_ge],
            "encoded_by": encoded_by,
        }
    )


def _taken(store: Store, cell_id: str) -> Result:
    """The training of another cell: its record, which says whose it is, and its weights."""
    record = store.read_stage(cell_id, TRAINING)
    assert record is not None
    files = record.pop("files")
    folder = store.cell_folder(cell_id)
    writers = {name: copy_of(folder / name, checksum) for name, checksum in files.items()}
    return {"taken_from": cell_id, **record}, writers


def _checkpoint(context: Context) -> Checkpoint:
    cell_id = context.cell.cell_id
    return Checkpoint(context.store.cell_folder(cell_id) / "checkpoint.npz", identity=cell_id)


def weights_result(
    context: Context, name: str, fitted: Fitted, record: Record, started: float
) -> Result:
    """A stage that makes a model: its record with time and cost, and its weights as `name`."""
    seconds = time.perf_counter() - started
    save = functools.partial(context.builder.save_weights, fitted.model)
    spent = {"seconds": seconds, "threads": context.threads, "cost": fitted.cost.as_record()}
    return {**record, **spent}, {context.weights_file(name): save}


def _record(fitted: Fitted) -> Record:
    outcome, found = fitted.outcome, fitted.outcome.overfitting
    return {
        "learned": fitted.learned,
        "history": outcome.history,
        "steps": outcome.steps,
        "overfitting": None if found is None else dataclasses.asdict(found),
        "restored_epoch": outcome.restored_epoch,
        "notices": list(outcome.notices),
    }

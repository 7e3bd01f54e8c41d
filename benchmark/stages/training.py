"""Training: the defense's own, or nothing but reading where it is stored."""

from __future__ import annotations

import dataclasses
import functools
import time

from benchmark.attacks.target import encoded
from benchmark.results import Record
from benchmark.stages.context import Context
from benchmark.stages.stage import Result, Stage
from defenses import Fitted
from defenses.checkpoints import Checkpoint

TRAINING = "training"


class Training(Stage):
    """Stage "training": the model that the defense trains.

    training.json  learned, history, steps, overfitting, restored_epoch, notices, seconds, cost
    weights.*      in the framework's format
    """

    path = label = TRAINING
    essential = True

    def __init__(self, gradient_evaluations: float) -> None:
        self.gradient_evaluations = gradient_evaluations

    def run(self, context: Context) -> Result:
        """Trains from the seed's initial weights, or from where a killed run had come."""
        cell, data = context.cell, context.dataset
        context.store.cell_folder(cell.cell_id).mkdir(parents=True, exist_ok=True)
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


def _checkpoint(context: Context) -> Checkpoint:
    cell_id = context.cell.cell_id
    return Checkpoint(context.store.cell_folder(cell_id) / "checkpoint.npz", identity=cell_id)


def weights_result(
    context: Context, name: str, fitted: Fitted, record: Record, started: float
) -> Result:
    """A stage that makes a model: its record with time and cost, and its weights as `name`."""
    seconds = time.perf_counter() - started
    save = functools.partial(context.builder.save_weights, fitted.model)
    whole = {**record, "seconds": seconds, "cost": fitted.cost.as_record()}
    return whole, {context.weights_file(name): save}


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

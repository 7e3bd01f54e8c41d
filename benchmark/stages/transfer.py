"""Transfer between frameworks: a model's adversarial examples, tried on its counterpart."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

import defenses
from benchmark import frameworks
from benchmark.attacks.transfers import ATTACK, transfer
from benchmark.cells import Cell
from benchmark.results import Record, Store, npz_writer
from benchmark.results.records import TransferRecord
from benchmark.stages.context import Context
from benchmark.stages.stage import Result, Stage
from benchmark.stages.surrogates import stored_estimator
from benchmark.stages.training import TRAINING

EXAMPLES = 200
_OTHER = {"torch": "tensorflow", "tensorflow": "torch"}


class TransferBetweenFrameworks(Stage):
    """Stage "transfers/<the counterpart's framework>".

    A record, and an npz with `fools`, (2, 2, n) bool: of the model that the examples were made on,
    and of the one that they were tried on, this cell's first. It waits for the counterpart to be
    trained: whichever of the two comes second does it, and the first is done without.

    Args:
        cell: whose model it is.
    """

    required = False
    label = "transfer between frameworks"

    def __init__(self, cell: Cell, needs: tuple[str, ...]) -> None:
        self.counterpart = counterpart_of(cell)
        self.path, self.needs = f"transfers/{self.counterpart.framework}", needs

    def is_due(self, store: Store, cell_id: str) -> bool:
        """Also where both cells have ended and neither has it: they were measured apart."""
        if super().is_due(store, cell_id):
            return True
        theirs = self.counterpart.cell_id
        ended = (store.read_cell(theirs) or {}).get("status") == "ok"
        framework = _OTHER[self.counterpart.framework]
        return (
            ended
            and store.read_stage(theirs, f"transfers/{framework}") is None
            and trained_weights(self.counterpart, store) is not None
        )

    def run(self, context: Context) -> Result | None:
        """Both models in the framework at hand, where they answer as at home to float tolerance."""
        weights = trained_weights(self.counterpart, context.store)
        if weights is None:
            return None
        context.reporter.stage(self.label)
        record, fools = self.made(context, weights)
        name = f"{self.counterpart.framework}.npz"
        return TransferRecord(**record), {name: npz_writer({"fools": fools})}

    def made(self, context: Context, weights: Path) -> tuple[Record, np.ndarray]:
        """The record and `fools`, with the counterpart's weights of this file."""
        cell, target = context.cell, context.target
        counterpart = stored_estimator(cell, context.dataset, weights, context.device)
        fools = transfer(
            (target.estimator, counterpart),
            target.x[:EXAMPLES],
            target.y[:EXAMPLES],
            norm=cell.norm,
            eps=cell.eps,
            seed=cell.seed,
            weights=target.weights,
        )
        record = {
            "status": "ok",
            "twin": self.counterpart.cell_id,
            "attack": ATTACK.entry.target.partition(":")[2],
            "arguments": ATTACK.resolved(cell.eps),
            "examples": int(fools.shape[2]),
            # Of the examples that both models classify correctly.
            "success": fools.mean(axis=2).tolist() if fools.shape[2] else None,
        }
        return record, fools


def counterpart_of(cell: Cell) -> Cell:
    """The cell that differs in nothing but the framework."""
    return dataclasses.replace(cell, framework=_OTHER[cell.framework])


def trained_weights(counterpart: Cell, store: Store) -> Path | None:
    """The file of the weights that the counterpart is attacked with; None while it has none."""
    if store.read_stage(counterpart.cell_id, TRAINING) is None:
        return None
    adapts = defenses.create(
        counterpart.trained_by,
        defenses.Threat(counterpart.norm, counterpart.eps),
        counterpart.training_parameters,
    ).adapts
    if adapts and store.read_stage(counterpart.cell_id, "adaptation") is None:
        return None
    suffix = frameworks.WEIGHTS_SUFFIXES[counterpart.framework]
    return store.cell_folder(counterpart.cell_id) / f"{'adapted' if adapts else 'weights'}{suffix}"

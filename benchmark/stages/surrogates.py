"""Models of other cells to make adversarial examples on, which are then tried on this cell's."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from benchmark import models
from benchmark.attacks.target import ESTIMATORS
from benchmark.cells import Cell
from benchmark.datasets import Dataset
from benchmark.errors import CellError
from benchmark.external.loading import BUILDERS
from benchmark.models.stored import neutral_weights
from benchmark.results import Store

# What a surrogate shares with the cell that is attacked.
_SHARED = ("dataset", "model", "framework", "seed")


def stored_estimator(cell: Cell, dataset: Dataset, file: Path, device: str) -> Any:
    """An estimator, in the cell's framework, of the model whose weights either one stored.

    Args:
        cell: says the architecture.
        dataset: says input shape and classes.
        file: of the weights.
        device: "cpu" or "cuda".
    """
    shape, classes = dataset.input_shape, dataset.classes
    specification = models.specification(cell.model, shape, classes)
    builder = importlib.import_module(BUILDERS[cell.framework])
    model = builder.build(specification, neutral_weights(file, specification))
    model = model.to(device) if cell.framework == "torch" else model
    wrap = importlib.import_module(ESTIMATORS[cell.framework]).wrap
    return wrap(model, input_shape=shape, classes=classes, device=device)


class Surrogates:
    """The trained models of other cells in the same folder, read when they are asked for.

    Args:
        store: of all cells.
        cell: that is attacked.
        dataset: its data.
        device: "cpu" or "cuda".
    """

    def __init__(self, store: Store, cell: Cell, dataset: Dataset, device: str) -> None:
        self._store, self._cell, self._dataset, self._device = store, cell, dataset, device
        self._made: dict[str, Any] = {}

    def estimator(self, defense: str) -> Any:
        """An estimator of the model that this defense trained from the same weights and data.

        Raises `CellError` where there is none yet.
        """
        if defense not in self._made:
            self._made[defense] = self._make(defense)
        return self._made[defense]

    def _make(self, defense: str) -> Any:
        builder = importlib.import_module(BUILDERS[self._cell.framework])
        file = self._store.cell_folder(self._find(defense)) / f"weights{builder.WEIGHTS_SUFFIX}"
        return stored_estimator(self._cell, self._dataset, file, self._device)

    def _find(self, defense: str) -> str:
        """The first cell that fits; a run that repeats meets the same one."""
        ours = self._cell.config()
        for cell_id in self._store.cell_ids():
            theirs = (self._store.read_cell(cell_id) or {}).get("config", {})
            if (
                theirs.get("defense", {}).get("name") == defense
                and all(theirs.get(name) == ours[name] for name in _SHARED)
                and self._store.read_stage(cell_id, "training") is not None
            ):
                return cell_id
        raise CellError(
            f"no cell of {defense!r} with these data, model, framework and seed is done; run it "
            "into the same folder, then this command again"
        )

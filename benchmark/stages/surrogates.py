"""Models of other cells to make adversarial examples on, which are then tried on this cell's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from benchmark import frameworks, models
from benchmark.cells import Cell
from benchmark.datasets import Dataset
from benchmark.errors import CellError
from benchmark.estimators.estimator import Estimator
from benchmark.models.stored import neutral_weights
from benchmark.results import Store


def stored_estimator(cell: Cell, dataset: Dataset, file: Path, device: str) -> Estimator:
    """An estimator, in the cell's framework, of the model whose weights either one stored.

    Args:
        cell: says the architecture.
        dataset: says input shape and classes.
        file: of the weights.
        device: "cpu" or "cuda".
    """
    shape, classes = dataset.input_shape, dataset.classes
    specification = models.specification(cell.model, shape, classes)
    weights = neutral_weights(file, specification)
    model = models.built(cell.framework, specification, weights, device=device)
    wrap = frameworks.part(frameworks.ESTIMATORS, cell.framework).wrap
    estimator: Estimator = wrap(model, input_shape=shape, classes=classes, device=device)
    return estimator


class Surrogates:
    """The trained models of other cells in the same folder, read when they are asked for.

    Args:
        store: of all cells.
        cell: that is attacked.
        estimator: makes one of the model whose weights a file holds.
        sources: defense to the id of the cell that `benchmark.sources.chosen` found for it.
    """

    def __init__(
        self,
        store: Store,
        cell: Cell,
        estimator: Callable[[Path], Estimator],
        *,
        sources: Mapping[str, str],
    ) -> None:
        self._store, self._cell, self._estimator = store, cell, estimator
        self._sources = sources
        self._made: dict[str, Estimator] = {}

    def estimator(self, defense: str) -> Estimator:
        """An estimator of the model that this defense trained from the same weights and data.

        Raises `CellError` where that training isn't done yet.
        """
        if defense not in self._made:
            self._made[defense] = self._make(defense)
        return self._made[defense]

    def made_on(self, defense: str) -> str:
        """The id of the cell whose model that is."""
        if defense not in self._sources:
            raise CellError(f"which cell's model of {defense!r} it is made on is not recorded")
        return self._sources[defense]

    def _make(self, defense: str) -> Estimator:
        cell_id = self.made_on(defense)
        if self._store.read_stage(cell_id, "training") is None:
            raise CellError(
                f"the training of {cell_id}, whose model it is made on, isn't done; give the same "
                "command again, which goes on when it is"
            )
        suffix = frameworks.WEIGHTS_SUFFIXES[self._cell.framework]
        file = self._store.cell_folder(cell_id) / f"weights{suffix}"
        return self._estimator(file)

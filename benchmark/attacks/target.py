"""What a cell's attacks work on: a model, and the input and output defenses around it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark import frameworks
from benchmark.attacks.suites import AttackSpec
from benchmark.cells import Cell
from benchmark.datasets import Dataset
from defenses.wrappers import encoded_shape

# Framework to its estimators.
ESTIMATORS = {
    "torch": "benchmark.estimators.pytorch",
    "tensorflow": "benchmark.estimators.tensorflow",
}


@dataclass(frozen=True)
class Target:
    """What is attacked: an estimator, and the examples with what it says of them.

    Args:
        estimator: what attacks see: an estimator of `benchmark.estimators`.
        x: clean examples, NHWC or (n, d), float32 in [0, 1].
        y: their labels, int64.
        clean_prediction: the pipeline's labels of `x`.
        index: where the examples stand in the data set's test part.
        pipeline: what success is judged on, where that is more than the estimator.
        bare: the model alone, where the estimator is more and takes the same inputs.
        defense: of the cell.
        surrogates: of `benchmark.attacks.surrogates`: models of other cells.
    """

    estimator: Any
    x: np.ndarray
    y: np.ndarray
    clean_prediction: np.ndarray
    index: np.ndarray
    pipeline: Any = None
    bare: Any = None
    defense: str = ""
    surrogates: Any = None

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Scores of the whole pipeline, (n, classes)."""
        return np.asarray((self.pipeline or self.estimator).predict(x))

    def obstacle(self, spec: AttackSpec, norm: str) -> str:
        """Why this attack can't be run here under `norm`; empty where it can."""
        if spec.source is not None:
            if self.surrogates is None:
                return "transfers from another cell, this model has none beside it"
            if spec.source == self.defense:
                return "transfers from this very cell"
        elif self.attacked_by(spec) is None:
            return "the model below takes encoded inputs, not these"
        if spec.entry.bare_only and self.pipeline is not None and not spec.transfers:
            return "needs a model without input or output defenses"
        return spec.obstacle(norm, self.x.shape[1:])

    def attacked_by(self, spec: AttackSpec) -> Any:
        """The estimator that this attack works on; None where there is none.

        Raises `CellError` where the other cell, whose model it is, isn't done.
        """
        if spec.source is not None:
            return self.surrogates.estimator(spec.source)
        return self.bare if spec.transfers else self.estimator


def target(
    cell: Cell,
    model: Any,
    dataset: Dataset,
    index: np.ndarray,
    *,
    device: str,
    surrogates: Any = None,
) -> Target:
    """The test examples at `index`, and `model` with the cell's wrappers around it.

    Args:
        cell: says which wrappers.
        model: trained; takes what `encoded` gives.
        dataset: whose test part is attacked.
        index: rows of the test part.
        device: "cpu" or "cuda".
        surrogates: of `benchmark.attacks.surrogates`, for attacks that transfer from other cells.
    """
    x, y = dataset.x_test[index], dataset.y_test[index]
    model_input = encoded_shape(cell.wrapped_in, dataset.input_shape)
    bare = importlib.import_module(ESTIMATORS[cell.framework]).wrap(
        model, input_shape=model_input, classes=dataset.classes, device=device
    )
    if not cell.wrapped_in:
        prediction = bare.predict(x).argmax(axis=1)
        return Target(bare, x, y, prediction, index, defense=cell.defense, surrogates=surrogates)
    wrapped = _wrapped()
    around = wrapped.stages(cell.wrapped_in)
    pipeline = wrapped.Pipeline(bare, around)
    frameworks.seed_everything(cell.seed)
    return Target(
        wrapped.WrappedClassifier(bare, around, input_shape=dataset.input_shape),
        x,
        y,
        pipeline.predict(x).argmax(axis=1),
        index,
        pipeline=pipeline,
        bare=bare if model_input == dataset.input_shape else None,
        defense=cell.defense,
        surrogates=surrogates,
    )


def encoded(cell: Cell, x: np.ndarray) -> np.ndarray:
    """What the cell's model trains on: `x`, unless a wrapper encodes it."""
    if encoded_shape(cell.wrapped_in, x.shape[1:]) == x.shape[1:]:
        return x
    return np.asarray(_wrapped().stages(cell.wrapped_in).encode(x)[-1])


def _wrapped() -> Any:
    """`benchmark.estimators.wrapped`, which imports ART."""
    return importlib.import_module("benchmark.estimators.wrapped")

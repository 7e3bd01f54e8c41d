"""Makes a target of a model: its estimator, a judge, and the cell's wrappers around it."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import ModuleType

import numpy as np

from benchmark import frameworks
from benchmark.attacks.judging import DRAWS_OF_ATTACKS, Answers, Judge, Predict, judge_of
from benchmark.attacks.target import OtherModels, Pipeline, Target
from benchmark.cells import Cell
from benchmark.datasets import Dataset, features
from benchmark.estimators.estimator import BareEstimator
from benchmark.estimators.passes import NoCopyError
from benchmark.models import Model
from defenses.labels import labels_of
from defenses.wrappers import encoded_shape


def target(
    cell: Cell,
    model: Model,
    dataset: Dataset,
    index: np.ndarray,
    *,
    device: str,
    surrogates: OtherModels | None = None,
    rebuild: Callable[[], Model] | None = None,
) -> Target:
    """The test examples at `index`, and `model` with the cell's wrappers around it.

    Args:
        cell: says which wrappers.
        model: trained; takes what `encoded` gives.
        dataset: whose test part is attacked.
        index: rows of the test part.
        device: "cpu" or "cuda".
        surrogates: for attacks that transfer from other cells.
        rebuild: builds the model again, where a builder made it.
    """
    x, y = dataset.x_test[index], dataset.y_test[index]
    model_input = encoded_shape(cell.wrapped_in, dataset.input_shape)
    kernel = frameworks.part(frameworks.ESTIMATORS, cell.framework)
    wrap = partial(kernel.wrap, input_shape=model_input, classes=dataset.classes, device=device)
    if cell.wrapped_in:
        made = _wrapped_target(cell, wrap(model), x, y, index)
    else:
        made = aimed(
            model,
            wrap,
            x,
            y,
            averaged=kernel.averaged,
            index=index,
            seed=cell.seed,
            rebuild=rebuild,
        )
    weights = features.weights(cell.features, dataset)
    made = replace(made, surrogates=surrogates, weights=weights)
    return replace(made, defense=cell.defense, framework=cell.framework)


def _wrapped_target(
    cell: Cell, bare: BareEstimator, x: np.ndarray, y: np.ndarray, index: np.ndarray
) -> Target:
    """The model below with the cell's wrappers around it."""
    wrapped = wrapped_module()
    around = wrapped.stages(cell.wrapped_in)
    pipeline = wrapped.Pipeline(bare, around)
    fresh, obstacle = _copies(bare, lambda copy: wrapped.Pipeline(copy, around))
    frameworks.seed_everything(cell.seed)
    judge, first = judge_of(pipeline.predict, fresh, x, obstacle=obstacle)
    prediction, clean = _clean(judge, first, x, y, cell.seed)
    seen = functools.partial(
        wrapped.WrappedClassifier,
        bare,
        around,
        input_shape=x.shape[1:],
        is_random=clean is not None,
    )
    return Target(
        seen(),
        x,
        y,
        prediction,
        index,
        pipeline=pipeline,
        bare=bare if bare.input_shape == x.shape[1:] else None,
        judge=judge,
        clean=clean,
        redrawn=None if clean is None else functools.cache(lambda draws: seen(draws=draws)),
    )


def aimed(
    model: Model,
    wrap: Callable[[Model], BareEstimator],
    x: np.ndarray,
    y: np.ndarray,
    *,
    averaged: Callable[..., Model],
    index: np.ndarray,
    seed: int = 0,
    rebuild: Callable[[], Model] | None = None,
) -> Target:
    """A model without anything around it, as a target; a random one is attacked by its mean output.

    Args:
        model: was asked nothing yet.
        wrap: makes an estimator of a model.
        x: clean examples, (n, ...).
        y: their labels.
        averaged: makes a model of another that gives the mean of some draws.
        index: where the examples stand in the data set's test part.
        seed: of a random model's answers to the clean examples.
        rebuild: builds the model again, where a builder made it.
    """
    estimator = wrap(model)
    fresh, obstacle = _copies(estimator, lambda copy: copy)
    rebuilt = None if rebuild is None else lambda: wrap(rebuild()).predict
    judge, first = judge_of(estimator.predict, fresh, x, obstacle=obstacle, rebuilt=rebuilt)

    @functools.cache  # one each, which counts its passes
    def mean_of(draws: int) -> BareEstimator:
        found = wrap(averaged(model, draws=draws))
        found.passes.draws, found.is_random = draws, True
        return found

    is_random = judge.draws > 1
    estimator = mean_of(DRAWS_OF_ATTACKS) if is_random else estimator
    redrawn = mean_of if is_random else None
    prediction, clean = _clean(judge, first, x, y, seed)
    return Target(estimator, x, y, prediction, index, judge=judge, clean=clean, redrawn=redrawn)


def _copies(
    estimator: BareEstimator, around: Callable[[BareEstimator], Pipeline]
) -> tuple[Callable[[], Predict] | None, str]:
    """What gives `predict` of a copy of the whole as it is now, or why nothing can."""
    try:
        copies = estimator.copies()
    except NoCopyError as error:
        return None, str(error)
    return lambda: around(copies()).predict, ""


def _clean(
    judge: Judge, first: np.ndarray, x: np.ndarray, y: np.ndarray, seed: int
) -> tuple[np.ndarray, Answers | None]:
    """The labels of the clean examples, and a random model's answers to them."""
    if judge.draws == 1:
        return labels_of(first), None
    frameworks.seed_everything(seed)
    clean = judge.answers(x, y)
    return labels_of(clean.outputs), clean


def wrapped_module() -> ModuleType:
    """`benchmark.estimators.wrapped`, which imports ART."""
    return importlib.import_module("benchmark.estimators.wrapped")

"""The model of a run: where it comes from, and whether it can be trained on the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import defenses
from benchmark import models
from benchmark.cells import Cell
from benchmark.config import RunConfig
from benchmark.datasets import Dataset
from benchmark.errors import ConfigError
from benchmark.external.trial import few
from benchmark.models.provided.checking import Trial, TrialResult, check, distinct
from benchmark.models.provided.origin import Origin, origin_of
from benchmark.models.stored import neutral_weights


def tried_origin(
    config: RunConfig, dataset: Dataset, chosen: Sequence[defenses.Defense], *, reads: bool
) -> tuple[Origin, TrialResult]:
    """The model of a resolved configuration, and what a trial found of it where it took one.

    `reads`: whether the meta-test fits heads to its features.

    Raises:
        BenchError: it can't be built for these data, trained by a defense, or read out.
    """
    assert config.model is not None
    origin = origin_of(config.model, config.init, new_head=config.new_head)
    if models.is_specified(origin.model) and origin.framework is None:
        specification = models.specification(origin.model, dataset.input_shape, dataset.classes)
        if origin.init is not None:
            neutral_weights(Path(origin.init), specification, new_head=origin.new_head)
        return origin, TrialResult(config.framework[0], None, ())
    x, y = few(dataset.x_train, dataset.y_train)
    if origin.entry is not None:
        check_frameworks(config, origin)
        tried = [
            check(Trial(origin, x, y, dataset.classes, distinct(chosen), framework, reads))
            for framework in config.framework
        ]
        return origin, tried[0]
    found = check(Trial(origin, x, y, dataset.classes, distinct(chosen), reads=reads))
    check_frameworks(config, origin, found.framework)
    return origin, found


def check_frameworks(config: RunConfig, origin: Origin, found: str | None = None) -> None:
    """Raises `ConfigError` where a model of one framework is to be trained in another."""
    own = found or origin.framework
    if own is not None and set(config.framework) != {own}:
        (other,) = set(config.framework) - {own}
        raise ConfigError(
            f"model {origin.name!r} is of {own} alone, and the run trains in {other} "
            f"{'too' if own in config.framework else 'instead'}; give --framework {own}"
        )


def memory(
    cells: Sequence[Cell], chosen: Mapping[str, defenses.Defense], dataset: Dataset
) -> dict[str, float]:
    """Cell id to the bytes of an update, of specified architectures."""
    known = [cell for cell in cells if models.is_specified(cell.model)]
    if not known:
        return {}
    size = models.specification(known[0].model, dataset.input_shape, dataset.classes)
    return {
        cell.cell_id: chosen[cell.defense]
        .sized_for(len(dataset.x_train))
        .memory(weights=size.weights, activations=size.activations)
        for cell in known
    }

"""A given model made ready, in the process that will use it; its framework is imported by then."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark import frameworks, models
from benchmark.cells import Cell
from benchmark.datasets import Dataset
from benchmark.errors import ModelError
from benchmark.external import builders
from benchmark.external.given import SUFFIXES, Given, digest
from benchmark.results.files import Writer


@dataclass(frozen=True)
class Loaded:
    """A model as it was given, with its weights.

    builder_sha256: of its builder's file, None where there is none. notices: lines to tell, such
    as what was taken off the names of the weights.
    """

    model: Any
    framework: str
    builder_sha256: str | None = None
    notices: tuple[str, ...] = ()


def load(given: Given, input_shape: tuple[int, ...], classes: int) -> Loaded:
    """The model as it was given, with its weights.

    Raises:
        ModelError: it can't be built, or the weights can't be read or don't fit.
    """
    weights = None if given.weights is None else Path(given.weights)
    if given.builder:
        model, code = builders.call(given.builder)
        framework = builders.framework_of(model)
        assert framework is not None
        _check_fits(given, framework)
    elif given.model:
        assert given.framework is not None
        model, framework, code = _built_in(given, input_shape, classes), given.framework, None
    else:
        assert weights is not None
        return Loaded(kernel("tensorflow").load_model(weights), "tensorflow")
    notices = () if weights is None else kernel(framework).load_weights(model, weights)
    return Loaded(model, framework, code, notices)


def ready(
    given: Given, cell: Cell, input_shape: tuple[int, ...], classes: int, *, device: str
) -> Any:
    """The model as attacks need it: it takes what the project's own models take, gives logits.

    Raises:
        ModelError: what `load` raises, or the weights or the builder are not what the cell says.
    """
    assert cell.source is not None
    if given.weights and digest(Path(given.weights)) != cell.source["weights_sha256"]:
        raise ModelError(f"{given.weights} is no longer the file of this cell; start again")
    found = load(given, input_shape, classes)
    if (found.framework, found.builder_sha256) != (cell.framework, cell.source["builder_sha256"]):
        raise ModelError(f"{given.builder} is no longer the code of this cell; start again")
    conventions = dataclasses.replace(given, channels=cell.source["channels"])
    return kernel(found.framework).adapted(
        found.model, conventions, input_shape=input_shape, device=device
    )


def rebuilder(
    given: Given | None, cell: Cell, dataset: Dataset, *, device: str
) -> Callable[[], Any] | None:
    """What makes the given model ready once more; None where no code of its owner built it."""
    if given is None or given.builder is None:
        return None
    return lambda: ready(given, cell, dataset.input_shape, dataset.classes, device=device)


def copies(given: Given) -> dict[str, Writer]:
    """What writes the weights file, as it is, below the cell's folder."""
    if given.weights is None:
        return {}
    path = Path(given.weights)
    return {f"weights{path.suffix.lower()}": lambda to: _copy(path, to)}


def _copy(path: Path, to: Path) -> None:
    shutil.copyfile(path, to)


def kernel(framework: str) -> Any:
    """`benchmark.external.pytorch` or `benchmark.external.tensorflow`."""
    return frameworks.part(frameworks.EXTERNAL, framework)


def _built_in(given: Given, input_shape: tuple[int, ...], classes: int) -> Any:
    assert given.model is not None
    assert given.framework is not None
    specification = models.specification(given.model, input_shape, classes)
    return models.built(given.framework, specification, specification.initial_weights(0))


def _check_fits(given: Given, framework: str) -> None:
    if given.framework not in (None, framework):
        allowed = ", ".join(suffix for suffix, name in SUFFIXES.items() if name == framework)
        raise ModelError(
            f"{given.builder} gives a {framework} model, and --weights {given.weights} belongs to "
            f"{given.framework}; allowed: {allowed}"
        )

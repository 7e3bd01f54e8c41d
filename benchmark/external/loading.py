"""An external model made ready in the process that uses it; its framework is imported by then."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from benchmark import frameworks, models
from benchmark.cells import Cell
from benchmark.datasets import Dataset
from benchmark.errors import ModelError
from benchmark.external import builders, zoo
from benchmark.external.model import SUFFIXES, ExternalModel, digest


@dataclass(frozen=True)
class Loaded:
    """A model as it was given, with its weights.

    builder_sha256: of its builder's file, None where there is none. notices: lines to tell, such
    as what was taken off the names of the weights.
    """

    model: models.Model
    framework: str
    builder_sha256: str | None = None
    notices: tuple[str, ...] = ()


def load_external(external: ExternalModel, input_shape: tuple[int, ...], classes: int) -> Loaded:
    """The model as it was given, with its weights.

    Raises:
        ModelError: it can't be built, or the weights can't be read or don't fit.
    """
    weights = None if external.weights is None else Path(external.weights)
    if zoo.is_of_zoo(external.model):
        assert external.model is not None
        assert weights is not None
        return Loaded(zoo.load(external.model, weights), "torch")
    if external.builder:
        model, code = builders.call(external.builder)
        framework = builders.framework_of(model)
        assert framework is not None
        _check_fits(external, framework)
    elif external.model:
        assert external.framework is not None
        model, framework, code = _built_in(external, input_shape, classes), external.framework, None
    else:
        assert weights is not None
        return Loaded(kernel("tensorflow").load_model(weights), "tensorflow")
    notices = () if weights is None else kernel(framework).load_weights(model, weights)
    return Loaded(model, framework, code, notices)


def ready(
    external: ExternalModel, cell: Cell, input_shape: tuple[int, ...], classes: int, *, device: str
) -> models.Model:
    """The model as attacks need it: it takes what the project's own models take, gives logits.

    Raises:
        ModelError: what `load_external` raises, or weights or builder are not what the cell says.
    """
    assert cell.source is not None
    if external.weights and digest(Path(external.weights)) != cell.source["weights_sha256"]:
        raise ModelError(f"{external.weights} is no longer the file of this cell; start again")
    found = load_external(external, input_shape, classes)
    if (found.framework, found.builder_sha256) != (cell.framework, cell.source["builder_sha256"]):
        raise ModelError(f"{external.builder} is no longer the code of this cell; start again")
    conventions = dataclasses.replace(external, channels=cell.source["channels"])
    return kernel(found.framework).adapted(
        found.model, conventions, input_shape=input_shape, device=device
    )


def rebuilder(
    external: ExternalModel | None, cell: Cell, dataset: Dataset, *, device: str
) -> Callable[[], models.Model] | None:
    """What makes the external model ready once more; None where no code of its owner built it."""
    if external is None or external.builder is None:
        return None
    return lambda: ready(external, cell, dataset.input_shape, dataset.classes, device=device)


def kernel(framework: str) -> ModuleType:
    """`benchmark.external.pytorch` or `benchmark.external.tensorflow`."""
    return frameworks.part(frameworks.EXTERNAL, framework)


def _built_in(external: ExternalModel, input_shape: tuple[int, ...], classes: int) -> models.Model:
    assert external.model is not None
    assert external.framework is not None
    specification = models.specification(external.model, input_shape, classes)
    return models.built(external.framework, specification, specification.initial_weights(0))


def _check_fits(external: ExternalModel, framework: str) -> None:
    if external.framework not in (None, framework):
        allowed = ", ".join(suffix for suffix, name in SUFFIXES.items() if name == framework)
        raise ModelError(
            f"{external.builder} gives a {framework} model, and --weights {external.weights} "
            f"belongs to {external.framework}; allowed: {allowed}"
        )

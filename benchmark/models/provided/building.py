"""A run's model made, in the process that will train it; its framework is imported by then."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import frameworks, models
from benchmark.errors import BenchError, ModelError
from benchmark.external import builders, loading
from benchmark.models.names import parsed
from benchmark.models.provided.origin import Origin
from benchmark.models.stored import neutral_weights
from benchmark.text import reason_of


@dataclass(frozen=True)
class Made:
    """A model, its framework, the SHA-256 of its builder's file, and lines to tell."""

    model: Any
    framework: str
    builder_sha256: str | None = None
    notices: tuple[str, ...] = ()


def make(
    origin: Origin,
    input_shape: tuple[int, ...],
    classes: int,
    *,
    framework: str,
    seed: int,
    start: bool = True,
) -> Made:
    """The model with its initial weights: those of `origin.init`, or drawn with the seed.

    Args:
        origin: names it.
        input_shape: (H, W, C) or (d,).
        classes: outputs that it is to have.
        framework: "torch" or "tensorflow"; a builder's model may turn out to be of the other.
        seed: of the weights.
        start: whether `init` is wanted; not where stored weights replace it.

    Raises:
        BenchError: it can't be made for these data, or the weights don't fit.
    """
    init = Path(origin.init) if origin.init is not None and start else None
    if origin.builder is not None:
        model, sha256 = builders.call(origin.builder, seed=seed)
        framework = builders.framework_of(model) or framework
    elif origin.entry is not None:
        model, sha256 = _contributed(origin, input_shape, classes, framework, seed), None
    elif origin.library is not None:
        model, sha256 = _of_library(origin, input_shape, classes, seed), None
    else:
        model, init = _specified(origin, input_shape, classes, framework, seed, init)
        sha256 = None
    notices = () if init is None else _loaded(origin, model, framework, init)
    if origin.library is not None:
        model = _normalised(origin, model, framework, input_shape)
    return Made(model, framework, sha256, notices)


def _specified(
    origin: Origin,
    input_shape: tuple[int, ...],
    classes: int,
    framework: str,
    seed: int,
    init: Path | None,
) -> tuple[Any, Path | None]:
    """The model, and the weights that are left to load."""
    specification = models.specification(origin.model, input_shape, classes)
    weights: dict[str, np.ndarray] = specification.initial_weights(seed)
    if init is not None and origin.framework is None:
        found = neutral_weights(init, specification, new_head=origin.new_head)
        weights, init = {**weights, **found}, None
    return models.built(framework, specification, weights), init


def _loaded(origin: Origin, model: Any, framework: str, init: Path) -> tuple[str, ...]:
    """Reads the file into the model; gives lines to tell."""
    told: tuple[str, ...]
    if not origin.new_head:
        told = loading.kernel(framework).load_weights(model, init)
        return told
    if framework != "torch":
        raise ModelError(
            f"--new-head: model {origin.name!r} is Keras's own, which takes files of weights as a "
            "whole; load them in a builder of yours (--model file.py:builder)"
        )
    told = loading.kernel(framework).load_weights(model, init, new_head=True)
    return told


def _contributed(
    origin: Origin, input_shape: tuple[int, ...], classes: int, framework: str, seed: int
) -> Any:
    """What the builder of another distribution gives."""
    assert origin.entry is not None
    if (target := origin.entry.builders.get(framework)) is None:
        raise ModelError(f"model {origin.model!r} has no builder for {framework}")
    module, _, function = target.partition(":")
    try:
        build = getattr(importlib.import_module(module), function)
        frameworks.seed_everything(seed)  # not earlier: imports draw too
        model = build(input_shape, classes)
    except (Exception, SystemExit) as error:  # whatever the other distribution's code raises
        raise ModelError(
            f"model {origin.model!r} can't be built for inputs of shape {input_shape} and "
            f"{classes} classes: {reason_of(error)}"
        ) from error
    if builders.framework_of(model) != framework:
        raise ModelError(
            f"model {origin.model!r}: {target} gives {type(model).__name__!r}, no model of "
            f"{framework}"
        )
    return model


def _of_library(origin: Origin, input_shape: tuple[int, ...], classes: int, seed: int) -> Any:
    library, _, text = origin.model.partition(":")
    name, given = parsed(text)
    settings = {key: value for key, value in given.items() if key not in ("mean", "std")}
    assert origin.library is not None
    kernel = frameworks.part(frameworks.PROVIDED, origin.library.framework)
    if len(input_shape) != 3:
        raise ModelError(
            f"model {origin.model!r} takes images of shape (height, width, channels), the data "
            f"have shape {input_shape}; use --model mlp for tabular data"
        )
    frameworks.seed_everything(seed)
    try:
        return kernel.build(library, name, settings, input_shape, classes)
    except BenchError:
        raise
    except Exception as error:  # whatever the library raises for these settings
        raise ModelError(
            f"model {origin.model!r} can't be built for images of shape {input_shape} and "
            f"{classes} classes: {reason_of(error)}"
        ) from error


def _normalised(origin: Origin, model: Any, framework: str, input_shape: tuple[int, ...]) -> Any:
    """With the pixels' normalisation before it, where it was given."""
    _, given = parsed(origin.model.partition(":")[2])
    if not {"mean", "std"} & given.keys():
        return model
    values = []
    for name, default in (("mean", 0.0), ("std", 1.0)):
        found = given.get(name, default)
        numbers = tuple(map(float, found if isinstance(found, list) else [found]))
        if len(numbers) not in (1, input_shape[-1]) or (name == "std" and min(numbers) <= 0):
            raise ModelError(
                f"model {origin.model!r}: {name} must be one number, or one for each of the data's "
                f"{input_shape[-1]} channels; std above 0"
            )
        values.append(numbers)
    kernel = frameworks.part(frameworks.PROVIDED, framework)
    return kernel.normalised(model, *values, input_shape=input_shape)

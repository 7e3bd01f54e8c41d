"""Architectures: one specification each, built the same in both frameworks.

A specification names its layers, shapes and NumPy initial weights; `pytorch` and `tensorflow`
build it. Nothing here imports a framework.
"""

from __future__ import annotations

import numpy as np

from benchmark import frameworks
from benchmark.errors import ModelError
from benchmark.models import entry
from benchmark.models.architectures import ARCHITECTURES, chosen
from benchmark.models.layers import Rescale
from benchmark.models.model import Model
from benchmark.models.specification import ModelSpecification
from defenses.help import parameter_help

__all__ = [
    "Model",
    "ModelSpecification",
    "built",
    "canonical",
    "describe",
    "is_specified",
    "names",
    "parameters",
    "specification",
]


def names() -> list[str]:
    """The architectures that `--model` takes; wide ResNets of other sizes too."""
    return list(ARCHITECTURES)


def is_specified(name: str) -> bool:
    """Whether the model of a cell is an architecture, equal in both frameworks.

    Others are built by code of a library, of a contribution, or of a user.
    """
    return ":" not in name and name not in entry.contributions()


def describe(name: str) -> str:
    """One line about an architecture."""
    return ARCHITECTURES[name].description


def parameters(name: str) -> dict[str, str]:
    """What can be set of an architecture: its default and one line; empty for most.

    Raises `ConfigError` where there is no such architecture.
    """
    owner = chosen(name).architecture.parameters
    return {} if owner is None else parameter_help(owner)


def canonical(name: str) -> str:
    """The one name of what `name` means, such as "preact-resnet18(width=8)".

    Raises:
        ConfigError: no such architecture, parameter or value.
    """
    return chosen(name).name


def specification(name: str, input_shape: tuple[int, ...], classes: int) -> ModelSpecification:
    """The architecture `name` for one input shape, (H, W, C) or (d,), and class count.

    Raises:
        ConfigError: no such architecture, parameter or value.
        ModelError: the architecture can't take this input shape or class count.
    """
    found = chosen(name)
    if classes < 2:
        raise ModelError(f"model {name!r} needs at least 2 classes, the data have {classes}")
    if found.architecture.images_only and len(input_shape) != 3:
        raise ModelError(
            f"model {name!r} takes images of shape (height, width, channels), the data have shape "
            f"{input_shape}; use --model mlp for tabular data"
        )
    for layer in found.hidden:
        if isinstance(layer, Rescale):
            _check_channels(name, layer, input_shape[-1])
    return ModelSpecification(
        found.name, tuple(input_shape), classes, found.hidden, found.architecture.head
    )


def _check_channels(name: str, layer: Rescale, channels: int) -> None:
    for parameter, values in (("mean", layer.mean), ("std", layer.std)):
        if len(values) not in (1, channels):
            raise ModelError(
                f"model {name!r}: {parameter} has {len(values)} numbers; give one, or one for each "
                f"of the data's {channels} channels"
            )


def built(
    framework: str,
    specification: ModelSpecification,
    weights: dict[str, np.ndarray],
    *,
    device: str = "cpu",
) -> Model:
    """The specified model in a framework, with these weights; TensorFlow places it itself.

    Args:
        framework: "torch" or "tensorflow", imported by then (`benchmark.frameworks.prepare`).
        specification: of the architecture, for one input shape and class count.
        weights: by name, such as `specification.initial_weights(seed)`.
        device: "cpu" or "cuda".
    """
    model = frameworks.part(frameworks.BUILDERS, framework).build(specification, weights)
    found: Model = model.to(device) if framework == "torch" else model
    return found

"""Architectures: one specification each, built the same in both frameworks.

A specification names its layers, shapes and NumPy initial weights; `pytorch` and `tensorflow`
build it. Nothing here imports a framework.
"""

from __future__ import annotations

import numpy as np

from benchmark import frameworks
from benchmark.errors import ModelError, UnknownName
from benchmark.models.architectures import ARCHITECTURES
from benchmark.models.model import Model
from benchmark.models.specification import ModelSpecification

__all__ = ["Model", "ModelSpecification", "built", "describe", "names", "specification"]


def names() -> list[str]:
    """The architectures that `--model` takes."""
    return list(ARCHITECTURES)


def describe(name: str) -> str:
    """One line about an architecture."""
    return ARCHITECTURES[name].description


def specification(name: str, input_shape: tuple[int, ...], classes: int) -> ModelSpecification:
    """The architecture `name` for one input shape, (H, W, C) or (d,), and class count.

    Raises:
        UnknownName: no such architecture.
        ModelError: the architecture can't take this input shape or class count.
    """
    if name not in ARCHITECTURES:
        raise UnknownName("model", name, ARCHITECTURES)
    architecture = ARCHITECTURES[name]
    if classes < 2:
        raise ModelError(f"model {name!r} needs at least 2 classes, the data have {classes}")
    if architecture.images_only and len(input_shape) != 3:
        raise ModelError(
            f"model {name!r} takes images of shape (height, width, channels), the data have shape "
            f"{input_shape}; use --model mlp for tabular data"
        )
    return ModelSpecification(name, tuple(input_shape), classes, architecture.layers)


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

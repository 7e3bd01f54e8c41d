"""Specifications as Keras models that take NHWC (or (n, d)) and give logits."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from benchmark.errors import ModelError
from benchmark.hdf5 import arrays
from benchmark.models.specification import Conv, Dense, MaxPool, ModelSpecification, Relu

# Keras names a layer's arrays; the neutral names are torch's.
_NEUTRAL_NAMES = {"kernel": "weight", "bias": "bias"}


def build(specification: ModelSpecification, weights: dict[str, np.ndarray]) -> keras.Sequential:
    """A model with these weights (neutral layout), in their floating-point type."""
    dtype = next(iter(weights.values())).dtype.name
    layers: list[keras.Layer] = [keras.Input(specification.input_shape, dtype=dtype)]
    for layer in specification.layers:
        if isinstance(layer, Conv):
            layers.append(_convolution(layer, dtype))
        elif isinstance(layer, MaxPool):
            layers.append(
                keras.layers.MaxPooling2D(2, padding="same", name=layer.name, dtype=dtype)
            )
        elif isinstance(layer, Dense):
            layers.append(keras.layers.Dense(layer.units, name=layer.name, dtype=dtype))
        elif isinstance(layer, Relu):
            layers.append(keras.layers.ReLU(name=layer.name, dtype=dtype))
        else:
            layers.append(keras.layers.Flatten(name=layer.name, dtype=dtype))
    model = keras.Sequential(layers)
    set_weights(model, weights)
    return model


def _convolution(layer: Conv, dtype: str) -> keras.Layer:
    # Keras's "same" pads exactly as the specification does.
    return keras.layers.Conv2D(
        layer.filters,
        layer.kernel,
        strides=layer.stride,
        padding="same",
        name=layer.name,
        dtype=dtype,
    )


def get_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """The parameters of a built model by name, in the neutral layout."""
    return {_neutral_name(value): value.numpy() for value in model.trainable_variables}


def set_weights(model: keras.Model, weights: dict[str, np.ndarray]) -> None:
    """Load weights in the neutral layout; the model keeps its floating-point type."""
    for variable in model.trainable_variables:
        variable.assign(weights[_neutral_name(variable)])


def save_weights(model: keras.Model, path: Path) -> None:
    """Write Keras's own weights file; `path` ends in `.weights.h5`."""
    model.save_weights(path)


def load_weights(model: keras.Model, path: Path) -> None:
    """Read a `.weights.h5` file into `model`: arrays only, no code.

    Raises:
        ModelError: the file can't be read, points to another one, or its arrays don't fit.
    """
    try:
        arrays(str(path), path.name)
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"weights {path.name} don't fit the model: {error}") from error


def _neutral_name(variable: keras.Variable) -> str:
    layer, name = variable.path.split("/")[-2:]
    return f"{layer}.{_NEUTRAL_NAMES[name]}"

"""Specifications as Keras models that take NHWC (or (n, d)) and give logits."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmark.errors import ModelError
from benchmark.hdf5 import arrays, damage_told
from benchmark.models.layers import (
    BatchNorm,
    Conv,
    Dense,
    GlobalAverage,
    GroupNorm,
    Layer,
    MaxPool,
    Relu,
    Rescale,
    Residual,
    Shape,
    Silu,
)
from benchmark.models.norms.tensorflow import BatchNormalisation, GroupNormalisation, Normalisation
from benchmark.models.specification import ModelSpecification

# Keras's names of a layer's arrays to the neutral ones, which are torch's.
_NEUTRAL_NAMES = {"kernel": "weight"}
# Keras would count models and inputs of a process, and write that into files of weights.
_NAME = "network"


def build(specification: ModelSpecification, weights: dict[str, np.ndarray]) -> keras.Model:
    """A model with these weights (neutral layout), in their floating-point type."""
    dtype = next(iter(weights.values())).dtype.name
    inputs = keras.Input(specification.input_shape, dtype=dtype, name="input")
    if any(isinstance(layer, Residual) for layer in specification.layers):
        outputs = inputs
        for layer in specification.layers:
            outputs = _through(layer, outputs, dtype)
        model = keras.Model(inputs, outputs, name=_NAME)
    else:
        made = [_made(layer, shape, layer.name, dtype) for layer, shape in specification.walk()]
        model = keras.Sequential([inputs, *(one for layers in made for one in layers)], name=_NAME)
    set_weights(model, weights)
    return model


def _through(layer: Layer, x: Any, dtype: str, prefix: str = "") -> Any:
    """What a layer makes of a symbolic tensor."""
    if not isinstance(layer, Residual):
        for made in _made(layer, x.shape[1:], f"{prefix}{layer.name}", dtype):
            x = made(x)
        return x
    inside = f"{prefix}{layer.name}."

    def run(layers: tuple[Layer, ...], x: Any) -> Any:
        return functools.reduce(lambda x, layer: _through(layer, x, dtype, inside), layers, x)

    before = run(layer.first, x)
    beside = run(layer.shortcut, before) if layer.shortcut else x
    return keras.layers.Add(name=f"{inside}add", dtype=dtype)([run(layer.body, before), beside])


def _made(layer: Layer, shape: Shape, name: str, dtype: str) -> list[keras.Layer]:
    """Keras's layers of one layer, one after the other; most are one."""
    common = {"name": name, "dtype": dtype}
    match layer:
        case Conv():
            return _convolution(layer, shape, common)
        case MaxPool():
            return [keras.layers.MaxPooling2D(2, padding="same", **common)]
        case Dense():
            return [keras.layers.Dense(layer.units, **common)]
        case Relu():
            return [keras.layers.ReLU(**common)]
        case Silu():
            return [keras.layers.Activation("silu", **common)]
        case GlobalAverage():
            return [keras.layers.GlobalAveragePooling2D(**common)]
        case Rescale():
            return [Normalisation(layer.mean, layer.std, **common)]
        case BatchNorm():
            return [BatchNormalisation(**common)]
        case GroupNorm():
            return [GroupNormalisation(layer.groups, **common)]
        case _:
            return [keras.layers.Flatten(**common)]


def _convolution(layer: Conv, shape: Shape, common: Mapping[str, str]) -> list[keras.Layer]:
    padding = tuple(layer.padding(size) for size in shape[:2])
    # Keras's "same" pads as a specification that isn't centred does.
    same = dataclasses.replace(layer, centred=False)
    fits = padding == tuple(same.padding(size) for size in shape[:2])
    convolution = keras.layers.Conv2D(
        layer.filters,
        layer.kernel,
        strides=layer.stride,
        padding="same" if fits else "valid",
        use_bias=layer.bias,
        **common,
    )
    if fits:
        return [convolution]
    pad = {**common, "name": f"{common['name']}_pad"}
    return [keras.layers.ZeroPadding2D(padding, **pad), convolution]


def get_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """Copies of a built model's arrays by name, in the neutral layout."""
    return {_neutral_name(value): value.numpy() for value in _arrays(model)}


def set_weights(model: keras.Model, weights: dict[str, np.ndarray]) -> None:
    """Load weights in the neutral layout; the model keeps its floating-point type."""
    for variable in _arrays(model):
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
        with damage_told():
            model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"weights {path.name} don't fit the model: {error}") from error


def _arrays(model: keras.Model) -> list[keras.Variable]:
    """In the order of the layers, running statistics after the weights of theirs."""
    return [variable for layer in model.layers for variable in layer.weights]


def _neutral_name(variable: keras.Variable) -> str:
    layer, name = variable.path.split("/")[-2:]
    return f"{layer}.{_NEUTRAL_NAMES.get(name, name)}"

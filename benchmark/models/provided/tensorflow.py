"""Models of keras.applications, which take NHWC and give logits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras

from benchmark.models.norms.tensorflow import Normalisation
from benchmark.models.provided.origin import check_name


def build(
    library: str,
    name: str,
    settings: Mapping[str, Any],
    input_shape: tuple[int, ...],
    classes: int,
) -> keras.Model:
    """The model without pretrained weights; raises `UnknownName` where Keras has none."""
    known = {key: value for key, value in vars(keras.applications).items() if key[0].isupper()}
    check_name(library, name, known)
    make: Callable[..., keras.Model] = known[name]
    own: dict[str, Any] = {"weights": None, "classifier_activation": None}
    if "include_preprocessing" in inspect.signature(make).parameters:
        own["include_preprocessing"] = False  # it is for pixels of 0..255
    model = make(input_shape=input_shape, classes=classes, **{**own, **settings})
    if not any(isinstance(layer, keras.layers.Rescaling) for layer in model.layers[:3]):
        return model
    # Its first layer divides by 255, and can't be left out.
    return _behind(keras.layers.Rescaling(255.0, name="pixels"), model, input_shape)


def normalised(
    model: keras.Model,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    input_shape: tuple[int, ...],
) -> keras.Model:
    """The model behind (x - mean) / std."""
    return _behind(Normalisation(mean, std, name="rescale"), model, input_shape)


def _behind(layer: keras.layers.Layer, model: keras.Model, input_shape: tuple[int, ...]) -> Any:
    return keras.Sequential([keras.Input(input_shape), layer, model])

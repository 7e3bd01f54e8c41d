"""An external `keras.Model`: its weights read in safe mode, its conventions met."""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmark.errors import ModelError
from benchmark.external.model import ExternalModel
from benchmark.external.outputs import one_output, outputs_in, told_of
from benchmark.external.sigmoids.tensorflow import log_odds
from benchmark.hdf5 import Array, arrays, damage_told
from benchmark.models.misfits import some
from benchmark.text import one_line, reason_of
from defenses.archives import UNREADABLE

# What a `.keras` file may name beside Keras's own classes.
_KERAS_MODULES = re.compile(r"(keras|builtins)(\..*)?")
# These run code of the file, or load other files, although they are Keras's own.
_REFUSED = ("Lambda", "__lambda__", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer")

_TINY = float(np.finfo(np.float32).tiny)

_LARGEST_CONFIG = 64 << 20  # bytes of text


class ExternalKerasModel(keras.Model):
    """Takes what this project's Keras models take, NHWC or (n, d) in [0, 1]; gives float32 logits.

    The model keeps the types of its layers: what goes into it is cast, and what comes out.

    Args:
        model: as it was given.
        external: says what it takes and gives; `outputs` is no longer "auto".
    """

    def __init__(self, model: keras.Model, external: ExternalModel) -> None:
        super().__init__(dtype="float32")  # whatever policy the builder has left behind
        self.model = model
        self.input_range = external.input_range
        self.takes = _type_taken(model)
        self.channels_first = external.channels == "first"
        self.outputs_are = external.outputs
        self.mean = np.asarray(external.mean or (0.0,), dtype=np.float32)
        self.std = np.asarray(external.std or (1.0,), dtype=np.float32)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits; of probabilities, their logarithm; of sigmoids, what stands before them."""
        outputs = outputs_in(self.answer(x))[0]
        if self.outputs_are == "sigmoids":
            outputs = log_odds(outputs)
        outputs = _of_two(tf.cast(outputs, tf.float32), x.shape[0])
        if self.outputs_are == "probabilities":
            outputs = tf.math.log(tf.maximum(outputs, _TINY))  # no logarithm is infinite
        return outputs

    def answer(self, x: Any) -> Any:
        """What the model itself gives, as it comes."""
        if self.input_range:
            low, high = self.input_range
            x = x * (high - low) + low
        x = (x - self.mean) / self.std  # the channels are last here
        if self.channels_first and len(x.shape) == 4:
            x = tf.transpose(x, (0, 3, 1, 2))  # (n, C, H, W)
        return self.model(tf.cast(x, self.takes), training=False)


def adapted(
    model: keras.Model, external: ExternalModel, *, input_shape: tuple[int, ...], device: str
) -> ExternalKerasModel:
    """The model behind this project's conventions; TensorFlow places the work itself."""
    return ExternalKerasModel(model, external)


def _type_taken(model: keras.Model) -> str:
    """The type of the model's inputs where it says one; its layers cast float32 otherwise."""
    try:
        (one,) = model.inputs
    except (AttributeError, TypeError, ValueError):  # a subclassed model has none
        return "float32"
    if "float" not in str(one.dtype):
        raise ModelError(
            f"the model's input is of type {one.dtype}, through which no gradient passes; give its "
            "keras.Input a floating-point type, and --input-range where its pixels are 0..255"
        )
    return str(one.dtype)


def copied(model: keras.Model) -> keras.Model:
    """The model itself: nothing here changes it."""
    return model


def device_of(model: keras.Model) -> str:
    """ "cpu" or "cuda": where TensorFlow places the work."""
    return "cuda" if tf.config.get_visible_devices("GPU") else "cpu"


def arrays_of(model: keras.Model) -> list[np.ndarray]:
    """Weights and other variables, in the model's order."""
    return [value.numpy() for value in model.variables]


def load_model(path: Path) -> keras.Model:
    """The model of a `.keras` file, with its weights, in Keras's safe mode.

    Raises:
        ModelError: the file can't be read, or names code that is not Keras's own.
    """
    _check_case(path)
    _check_config(path)
    try:
        _arrays(path)
        with damage_told():
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (*UNREADABLE, AttributeError, ImportError) as error:
        raise ModelError(
            f"{path.name} can't be loaded in safe mode: {one_line(error, 600)}"
        ) from error


def load_weights(model: keras.Model, path: Path) -> tuple[str, ...]:
    """Reads the arrays of an `.h5` or `.keras` file into `model`; no code, and nothing to tell.

    Raises:
        ModelError: the file can't be read, or its arrays don't fit.
    """
    _check_case(path)
    try:
        saved = _arrays(path)
        _check_kinds(model, saved, path.name)
        with damage_told():
            model.load_weights(path)
    except UNREADABLE as error:
        raise ModelError(f"weights {path.name} don't fit the model: {_fault(error)}") from error
    # Keras doesn't mind arrays that the model has no place for.
    left = Counter(array.shape for array in saved)
    left.subtract(tuple(variable.shape) for variable in model.variables)
    foreign = [array.name for array in saved if left[array.shape] > 0]
    if foreign:
        raise ModelError(
            f"weights {path.name} don't fit the model: it has no place for arrays such as "
            f"{some(foreign)}"
        )
    return ()


def _check_case(path: Path) -> None:
    """Refuses what Keras takes for another format, as it does W.H5 and W.KERAS."""
    if (lower := path.suffix.lower()) != path.suffix:
        raise ModelError(
            f"{path.name}: Keras knows its files by endings in lower case; rename it to "
            f"{path.stem}{lower}"
        )


def _check_kinds(model: keras.Model, saved: list[Array], file: str) -> None:
    """Refuses what Keras would convert with a loss: imaginary parts, and quantised weights."""
    # A weight is of the second or a higher dimension, where counters and seeds are not.
    own = {
        "c" if "complex" in str(v.dtype) else "i" if "int" in str(v.dtype) else "f"
        for v in model.variables
        if len(v.shape) > 1
    }
    lost = [
        array.name
        for array in saved
        if array.kind != "f" and len(array.shape) > 1 and array.kind not in own
    ]
    if lost:
        raise ModelError(
            f"weights {file} don't fit the model: {some(lost)} hold complex or quantised numbers, "
            "which can't be converted without loss"
        )


def outputs_of(model: ExternalKerasModel, x: np.ndarray) -> np.ndarray:
    """The logits of NHWC or (n, d) NumPy inputs, (n, classes); for the model's check.

    Raises:
        ModelError: it runs eagerly, but not compiled, as attacks run it.
    """
    eager = model(tf.constant(x), training=False)
    compiled = tf.function(
        lambda images: model(images, training=False),
        input_signature=[tf.TensorSpec((None, *x.shape[1:]), tf.float32)],
    )
    try:
        compiled(tf.constant(x))
    except Exception as error:
        raise ModelError(
            "the model runs eagerly, but not compiled by tf.function, as attacks run it; write its "
            f"call in TensorFlow's or Keras's operations: {reason_of(error)}"
        ) from error
    return np.asarray(eager)


def taken(model: ExternalKerasModel, x: np.ndarray) -> str:
    """Which part of what the model gives is taken; empty where that is all."""
    return told_of(model.answer(tf.constant(x)), len(x))


def _of_two(outputs: tf.Tensor, count: int | None) -> tf.Tensor:
    """Outputs (n, classes); one output z, of class 1, becomes (0, z)."""
    if not one_output(outputs, count):
        return outputs
    z = tf.reshape(outputs, (-1, 1))
    return tf.concat([tf.zeros_like(z), z], axis=1)


def _check_config(path: Path) -> None:
    """Refuses a `.keras` file that names anything but Keras's own safe classes."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > _LARGEST_CONFIG:
                raise ModelError(f"{path.name} is no Keras file: its config.json is too large")
            config = json.loads(archive.read("config.json"))
    except UNREADABLE as error:
        raise ModelError(f"{path.name} is no .keras file: {one_line(error, 600)}") from error
    for module, name in _named(config):
        if name in _REFUSED or not _KERAS_MODULES.fullmatch(module or "keras"):
            raise ModelError(
                f"{path.name} holds code ({module + '.' if module else ''}{name}), which is not "
                "run; build the model with --model package.module:builder and give its weights"
            )


def _named(config: Any) -> Iterator[tuple[str, str]]:
    """Module and class of everything that a configuration would make."""
    waiting = [config]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if "class_name" in one:
                module, registered = one.get("module"), one.get("registered_name")
                # A registered name without a module is looked up among the user's own classes.
                foreign = registered is not None and ">" in str(registered)
                yield ("custom" if foreign else str(module or "")), str(one["class_name"])
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _arrays(path: Path) -> list[Array]:
    if path.suffix.lower() != ".keras":
        return arrays(str(path), path.name)
    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as stream:
        return arrays(stream, path.name)


def _fault(error: Exception) -> str:
    """What Keras says, without the values of the arrays."""
    text = one_line(error, 600)
    example = re.search(
        r"for object <(?P<object>[^,>]+).*variable\.shape=(?P<own>\([^)]*\)).*"
        r"value\.shape=(?P<saved>\([^)]*\)).*path=(?P<path>[^,]+)",
        text,
    )
    if example:
        return f"{example['path']} is {example['saved']} instead of {example['own']}"
    return text[:250]

"""A given `keras.Model`: its weights read in safe mode, its conventions met."""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

from benchmark.errors import ModelError
from benchmark.external.given import Given

# What a `.keras` file may name beside Keras's own classes.
_KERAS_MODULES = re.compile(r"(keras|builtins)(\..*)?")
# These run code of the file, or load other files, although they are Keras's own.
_REFUSED = ("Lambda", "__lambda__", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer")

_TINY = float(np.finfo(np.float32).tiny)

_LARGEST_CONFIG = 64 << 20  # bytes of text


class GivenModel(keras.Model):
    """Takes what this project's Keras models take, NHWC or (n, d) in [0, 1], and gives logits.

    Args:
        model: as it was given.
        given: says what it takes and gives; `outputs` is no longer "auto".
    """

    def __init__(self, model: keras.Model, given: Given) -> None:
        super().__init__()
        self.model = model
        self.channels_first = given.channels == "first"
        self.gives_probabilities = given.outputs == "probabilities"
        self.mean = np.asarray(given.mean or (0.0,), dtype=np.float32)
        self.std = np.asarray(given.std or (1.0,), dtype=np.float32)

    def call(self, x: Any, training: bool = False) -> Any:
        """Logits; of probabilities, their logarithm."""
        x = (x - self.mean) / self.std  # the channels are last here
        if self.channels_first and len(x.shape) == 4:
            x = tf.transpose(x, (0, 3, 1, 2))  # (n, C, H, W)
        outputs = self.model(x, training=False)
        if self.gives_probabilities:
            # No logarithm is infinite.
            outputs = tf.math.log(tf.maximum(tf.cast(outputs, tf.float32), _TINY))
        return outputs


def adapted(model: keras.Model, given: Given, *, device: str) -> keras.Model:
    """The model behind this project's conventions; TensorFlow places the work itself."""
    return GivenModel(model, given)


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
    _check_config(path)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        raise ModelError(f"{path.name} can't be loaded in safe mode: {_one_line(error)}") from error


def load_weights(model: keras.Model, path: Path) -> None:
    """Reads the arrays of an `.h5` or `.keras` file into `model`; no code.

    Raises:
        ModelError: the file can't be read, or its arrays don't fit.
    """
    try:
        model.load_weights(path)
        saved = _arrays(path)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ModelError(f"weights {path.name} don't fit the model: {_fault(error)}") from error
    # Keras doesn't mind arrays that the model has no place for.
    left = Counter(shape for _, shape in saved)
    left.subtract(tuple(variable.shape) for variable in model.variables)
    foreign = [name for name, shape in saved if left[shape] > 0]
    if foreign:
        more = f" and {len(foreign) - 4} more" if len(foreign) > 4 else ""
        raise ModelError(
            f"weights {path.name} don't fit the model: it has no place for arrays such as "
            f"{', '.join(foreign[:4])}{more}"
        )


def outputs_of(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """What the model gives for NHWC or (n, d) NumPy inputs, as it comes; for its check."""
    found = model(tf.constant(x), training=False)
    if not tf.is_tensor(found):
        raise ModelError(
            f"the model gives {type(found).__name__!r} instead of one tensor (n, classes)"
        )
    return np.asarray(tf.cast(found, tf.float32))


def _check_config(path: Path) -> None:
    """Refuses a `.keras` file that names anything but Keras's own safe classes."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > _LARGEST_CONFIG:
                raise ModelError(f"{path.name} is no Keras file: its config.json is too large")
            config = json.loads(archive.read("config.json"))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, RecursionError) as error:
        raise ModelError(f"{path.name} is no .keras file: {_one_line(error)}") from error
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


def _arrays(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    """Name and shape of each array in a weights file but the optimizer's."""
    if path.suffix.lower() == ".keras":
        with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as stream:
            return _datasets(stream)
    return _datasets(path)


def _datasets(file: Any) -> list[tuple[str, tuple[int, ...]]]:
    found: list[tuple[str, tuple[int, ...]]] = []

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and not name.startswith("optimizer"):
            found.append((name, tuple(node.shape)))

    with h5py.File(file, "r") as stream:
        stream.visititems(visit)
    return found


def _fault(error: Exception) -> str:
    """What Keras says, without the values of the arrays."""
    text = _one_line(error)
    example = re.search(
        r"for object <(?P<object>[^,>]+).*variable\.shape=(?P<own>\([^)]*\)).*"
        r"value\.shape=(?P<saved>\([^)]*\)).*path=(?P<path>[^,]+)",
        text,
    )
    if example:
        return f"{example['path']} is {example['saved']} instead of {example['own']}"
    return text[:250]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:600]

"""Weights of a built-in architecture from either framework's file, without that framework."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from benchmark.errors import ModelError
from benchmark.hdf5 import arrays, damage_told
from benchmark.models.layers import COUNTER, BatchNorm, Conv, Dense, GroupNorm
from benchmark.models.misfits import misfits, some
from benchmark.models.specification import ModelSpecification

# Keras numbers the layers of a kind in their order: conv2d, conv2d_1 and so on.
_KERAS_KINDS = {
    Conv: "conv2d",
    Dense: "dense",
    BatchNorm: "batch_normalisation",
    GroupNorm: "group_normalisation",
}
_MISFIT = "weights {} don't fit the model: {}"


def neutral_weights(
    path: Path, specification: ModelSpecification, *, new_head: bool = False
) -> dict[str, np.ndarray]:
    """The arrays by name, in the neutral layout, as float32 whatever real numbers the file has.

    Args:
        path: what a builder's `save_weights` wrote: safetensors, or Keras's `.weights.h5`.
        specification: of the model that was saved.
        new_head: leaves out the layer that gives the logits, of whatever shape it was.

    Raises:
        ModelError: the file can't be read or isn't of such a model.
    """
    read = _from_torch if path.suffix.lower() == ".safetensors" else _from_keras
    try:
        weights = read(path, specification)
    except (OSError, SafetensorError) as error:
        raise ModelError(_MISFIT.format(path.name, error)) from error
    except TypeError as error:  # NumPy has no such type
        raise ModelError(f"weights {path.name}: {error}; save them as float32") from error
    expected = {name: array.shape for name, array in specification.arrays().items()}
    if new_head:
        head = f"{specification.head}."
        weights = {name: value for name, value in weights.items() if not name.startswith(head)}
        expected = {name: shape for name, shape in expected.items() if not name.startswith(head)}
    shapes = {name: value.shape for name, value in weights.items()}
    if told := misfits(shapes, expected):
        raise ModelError(_MISFIT.format(path.name, "; ".join(told)))
    for name, value in weights.items():
        if value.dtype.kind != "f":
            raise ModelError(f"weights {path.name}: {name} is {value.dtype}; save it as float32")
    return {name: value.astype(np.float32, copy=False) for name, value in weights.items()}


def _from_torch(path: Path, specification: ModelSpecification) -> dict[str, np.ndarray]:
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}  # (out, in, height, width); (out, in)
    return {
        name: value.transpose(axes.get(value.ndim))
        for name, value in load_file(path).items()
        if not name.endswith(COUNTER)
    }


def _from_keras(path: Path, specification: ModelSpecification) -> dict[str, np.ndarray]:
    left = {one.name for one in arrays(str(path), path.name)}  # h5py follows links elsewhere
    weights: dict[str, np.ndarray] = {}
    met = dict.fromkeys(_KERAS_KINDS.values(), 0)
    with damage_told(), h5py.File(path) as file:
        for layer, shape in specification.leaves():
            if (kind := _KERAS_KINDS.get(type(layer))) is None:
                continue
            number = f"_{met[kind]}" if met[kind] else ""
            for index, name in enumerate(layer.arrays(shape)):
                variable = f"layers/{kind}{number}/vars/{index}"
                if variable not in left:
                    raise ModelError(_MISFIT.format(path.name, f"it lacks {variable}"))
                weights[f"{layer.name}.{name}"] = np.asarray(file[variable])
                left.discard(variable)
            met[kind] += 1
    if left:
        raise ModelError(_MISFIT.format(path.name, f"the model has no {some(sorted(left))}"))
    return weights

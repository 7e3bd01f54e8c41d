"""Arrays that the user saved with `numpy.savez`."""

from __future__ import annotations

import difflib
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.datasets.dataset import Request, Source
from benchmark.errors import DataError

KEYS = ("x_train", "y_train", "x_test", "y_test")
# What the same arrays are called in files of MedMNIST.
ALIASES = {
    "x_train": "train_images",
    "y_train": "train_labels",
    "x_test": "test_images",
    "y_test": "test_labels",
}
# How far floats may be outside [0, 1] by rounding; they are clipped then.
ROUNDING = 1e-6
UNREADABLE = (OSError, EOFError, zipfile.BadZipFile, zlib.error)


def load(request: Request) -> Source:
    """x_train, y_train, x_test, y_test from FILE; 10 % of the training part become validation.

    MedMNIST's names (train_images, ...) are taken too; other arrays, such as val_images, are left
    out. x: (n, H, W), (n, H, W, C) or tabular (n, d); uint8, or float in [0, 1].
    y: (n,) or (n, 1) integers or texts of any values; each training value is a class, in rising
    order. The test part may lack some. A class is called by its value unless the file has
    `class_names`, a text for each.
    """
    assert request.path is not None
    arrays = _read(request.path, request.name)
    where = {key: f"{request.name}: {key}" for key in KEYS}
    x = _images(arrays["x_train"], where["x_train"])
    x_test = _images(arrays["x_test"], where["x_test"])
    if x.shape[1:] != x_test.shape[1:]:
        raise DataError(
            f"{request.name}: an example of x_train is {x.shape[1:]} but one of x_test is "
            f"{x_test.shape[1:]}; both must have the same shape"
        )
    raw = _labels(arrays["y_train"], len(x), where=where["y_train"])
    raw_test = _labels(arrays["y_test"], len(x_test), where=where["y_test"])
    if raw.dtype.kind != raw_test.dtype.kind:
        raise DataError(
            f"{request.name}: y_train is {raw.dtype} but y_test is {raw_test.dtype}; save both as "
            "integers, or both as texts"
        )
    values, y = np.unique(raw, return_inverse=True)
    foreign = raw_test[~np.isin(raw_test, values)]
    if foreign.size:
        raise DataError(
            f"{where['y_test']} holds the label {foreign[0]}, which y_train lacks; "
            "every class must be in the training part"
        )
    y_test = np.searchsorted(values, raw_test).astype(np.int64)
    names = _class_names(arrays.get("class_names"), values, request.name)
    return Source(x, y.astype(np.int64), names, x_test, y_test)


def _class_names(
    given: NDArray[np.generic] | None, values: NDArray[np.int64], name: str
) -> tuple[str, ...]:
    """The classes' names, in the order of their values."""
    if given is None:
        return tuple(map(str, values))
    if given.dtype.kind != "U" or given.shape != values.shape:
        raise DataError(
            f"{name}: class_names is {given.dtype} of shape {given.shape}; save a text for each of "
            f"the {len(values)} labels in y_train, in rising order"
        )
    return tuple(map(str, given))


def _read(path: Path, name: str) -> dict[str, NDArray[np.generic]]:
    if not os.path.isfile(path):
        raise DataError(f"{name}: there is no file {path}; give npz:FILE with an existing file")
    try:
        with open(path, "rb") as file:  # np.load leaves a path open when its archive is broken
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{name} is a single array; save all four with numpy.savez")
            names = _names(archive.files, name)
            found = {key: _member(archive, names[key], name=name) for key in KEYS}
            if "class_names" in archive.files:
                found["class_names"] = _member(archive, "class_names", name=name)
            return found
    except UNREADABLE as error:
        raise DataError(f"{name} can't be read ({error}); save it with numpy.savez") from error
    except ValueError as error:
        raise DataError(f"{name} is no npz file; save the arrays with numpy.savez") from error


def _member(archive: np.lib.npyio.NpzFile, key: str, *, name: str) -> NDArray[np.generic]:
    try:
        return np.asarray(archive[key])
    except ValueError as error:
        raise DataError(
            f"{name}: {key} holds pickled objects or is damaged, and objects are never unpickled; "
            "save it as a plain array of numbers"
        ) from error


def _names(found: list[str], name: str) -> dict[str, str]:
    """Each of KEYS with the name that it has in the file; raises `DataError` where one lacks."""
    if not set(KEYS) & set(found) and set(ALIASES.values()) <= set(found):
        return ALIASES
    for key in KEYS:
        if key in found:
            continue
        spare = sorted(set(found) - set(KEYS))
        close = difflib.get_close_matches(key, spare, n=1, cutoff=0.5)
        fix = f"did you mean {close[0]!r}? rename it" if close else f"needed: {', '.join(KEYS)}"
        held = ", ".join(found) or "nothing"
        raise DataError(f"{name} has no array {key!r} (it holds {held}); {fix}")
    return {key: key for key in KEYS}


def _images(x: NDArray[np.generic], where: str) -> NDArray[np.generic]:
    """`x` with a channel axis, after checking its type, shape and range."""
    if x.dtype not in (np.uint8, np.float16, np.float32, np.float64):
        raise DataError(f"{where} is {x.dtype}; save it as uint8, or as float in [0, 1]")
    if x.ndim not in (2, 3, 4) or not x.size:
        raise DataError(
            f"{where} has shape {x.shape}; allowed are (n, H, W), (n, H, W, C) or (n, d), not empty"
        )
    if x.ndim == 4 and x.shape[1] <= 4 < min(x.shape[2:]):
        raise DataError(
            f"{where} has shape {x.shape}, which looks like channels first; "
            "move them last with x.transpose(0, 2, 3, 1)"
        )
    x = _in_range(x, where)
    return x[..., np.newaxis] if x.ndim == 3 else x


def _in_range(x: NDArray[np.generic], where: str) -> NDArray[np.generic]:
    """`x` after a check that it lies in [0, 1], what is outside by rounding alone clipped."""
    if x.dtype == np.uint8:
        return x
    low, high = float(x.min()), float(x.max())  # a NaN anywhere makes both NaN
    if np.isnan(low):
        raise DataError(f"{where} holds NaN; every value must be a number in [0, 1]")
    if low < -ROUNDING or high > 1 + ROUNDING:
        as_bytes = low >= 0 and 1 < high <= 255
        fix = "divide by 255 or save as uint8" if as_bytes else "rescale it"
        raise DataError(f"{where} ranges from {low:.9g} to {high:.9g}; allowed is [0, 1]: {fix}")
    return x if low >= 0 and high <= 1 else np.clip(x, 0, 1)


def _labels(y: NDArray[np.generic], examples: int, *, where: str) -> NDArray[np.generic]:
    """`y` as (n,), after checking that it is one whole number or text for each of the examples."""
    if y.ndim == 2 and y.shape[1] > 1:
        raise DataError(f"{where} has shape {y.shape}; one-hot labels? save y.argmax(axis=1)")
    if not np.issubdtype(y.dtype, np.integer) and y.dtype.kind not in "US":
        raise DataError(
            f"{where} is {y.dtype}; labels must be integers or texts: save y.astype('int64') or "
            "y.astype(str)"
        )
    y = y.reshape(-1) if y.ndim == 2 else y
    if y.ndim != 1 or len(y) != examples:
        raise DataError(
            f"{where} has shape {y.shape} for {examples} images; "
            f"it must be ({examples},), one label an image"
        )
    if y.dtype.kind == "S":
        return np.char.decode(y.astype(np.bytes_), "utf-8", "replace")
    return y if y.dtype.kind == "U" else y.astype(np.int64)

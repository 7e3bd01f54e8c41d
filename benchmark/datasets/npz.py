"""Arrays that the user saved with `numpy.savez`."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from benchmark.datasets.dataset import Labels, Request, Source
from benchmark.errors import DataError
from defenses import archives

KEYS = ("x_train", "y_train", "x_test", "y_test")


def load(request: Request) -> Source:
    """x_train, y_train, x_test, y_test from FILE; 10 % of the training part become validation.

    x: (n, H, W), (n, H, W, C) or tabular (n, d); uint8, or float in [0, 1].
    y: (n,) or (n, 1) integers of any values; each training value is a class, in rising order.
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
    values, y = np.unique(raw, return_inverse=True)
    foreign = raw_test[~np.isin(raw_test, values)]
    if foreign.size:
        raise DataError(
            f"{where['y_test']} holds the label {foreign[0]}, which y_train lacks; "
            "every class must be in both parts"
        )
    y_test = np.searchsorted(values, raw_test).astype(np.int64)
    return Source(x, y.astype(np.int64), tuple(map(str, values)), x_test, y_test)


def _read(path: Path, name: str) -> dict[str, NDArray[np.generic]]:
    if not os.path.isfile(path):
        raise DataError(f"{name}: there is no file {path}; give npz:FILE with an existing file")
    try:
        with open(path, "rb") as file:  # np.load leaves a path open when its archive is broken
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{name} is a single array; save all four with numpy.savez")
            _check_keys(archive.files, name)
            return {key: _member(file, key, name=name) for key in KEYS}
    except ValueError as error:
        raise DataError(f"{name} is no npz file; save the arrays with numpy.savez") from error
    except archives.UNREADABLE as error:
        raise DataError(f"{name} can't be read ({error}); save it with numpy.savez") from error


def _member(file: BinaryIO, key: str, *, name: str) -> NDArray[np.generic]:
    try:
        return archives.read_arrays(file, only=(key,))[key]
    except ValueError as error:
        raise DataError(
            f"{name}: {key} holds pickled objects or is damaged ({error}), and objects are never "
            "unpickled; save it as a plain array of numbers"
        ) from error


def _check_keys(found: list[str], name: str) -> None:
    for key in KEYS:
        if key in found:
            continue
        spare = sorted(set(found) - set(KEYS))
        close = difflib.get_close_matches(key, spare, n=1, cutoff=0.5)
        fix = f"did you mean {close[0]!r}? rename it" if close else f"needed: {', '.join(KEYS)}"
        held = ", ".join(found) or "nothing"
        raise DataError(f"{name} has no array {key!r} (it holds {held}); {fix}")


def _images(x: NDArray[np.generic], where: str) -> NDArray[np.generic]:
    """`x` with a channel axis, after checking its type, shape and range."""
    if x.dtype not in (np.uint8, np.float16, np.float32, np.float64):
        raise DataError(f"{where} is {x.dtype}; save it as uint8, or as float in [0, 1]")
    if x.ndim not in (2, 3, 4) or not x.size:
        raise DataError(
            f"{where} has shape {x.shape}; allowed are (n, H, W), (n, H, W, C) or (n, d), not empty"
        )
    if x.ndim == 4 and x.shape[1] in (1, 3) and x.shape[3] > 4:
        raise DataError(
            f"{where} has shape {x.shape}, which looks like channels first; "
            "move them last with x.transpose(0, 2, 3, 1)"
        )
    _check_range(x, where)
    return x[..., np.newaxis] if x.ndim == 3 else x


def _check_range(x: NDArray[np.generic], where: str) -> None:
    if x.dtype == np.uint8:
        return
    low, high = float(x.min()), float(x.max())  # a NaN anywhere makes both NaN
    if np.isnan(low):
        raise DataError(f"{where} holds NaN; every value must be a number in [0, 1]")
    if low < 0 or high > 1:
        as_bytes = low >= 0 and 1 < high <= 255
        fix = "divide by 255 or save as uint8" if as_bytes else "rescale it"
        raise DataError(f"{where} ranges from {low:.9g} to {high:.9g}; allowed is [0, 1]: {fix}")


def _labels(y: NDArray[np.generic], examples: int, *, where: str) -> Labels:
    """`y` as (n,), after checking that it is one whole number for each of the examples."""
    if y.ndim == 2 and y.shape[1] > 1:
        raise DataError(f"{where} has shape {y.shape}; one-hot labels? save y.argmax(axis=1)")
    if not np.issubdtype(y.dtype, np.integer):
        raise DataError(f"{where} is {y.dtype}; labels must be integers: save y.astype('int64')")
    y = y.reshape(-1) if y.ndim == 2 else y
    if y.ndim != 1 or len(y) != examples:
        raise DataError(
            f"{where} has shape {y.shape} for {examples} images; "
            f"it must be ({examples},), one label an image"
        )
    return y.astype(np.int64)

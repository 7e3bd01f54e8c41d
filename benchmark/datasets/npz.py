"""Arrays that the user saved with `numpy.savez`."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from benchmark.datasets.dataset import Request, Source
from benchmark.errors import DataError
from defenses import archives

KEYS = ("x_train", "y_train", "x_test", "y_test")
VALIDATION = ("x_val", "y_val")
# What the same arrays are called in files of MedMNIST.
ALIASES = {
    "x_train": "train_images",
    "y_train": "train_labels",
    "x_test": "test_images",
    "y_test": "test_labels",
    "x_val": "val_images",
    "y_val": "val_labels",
}
# Which training examples belong together, where the file tells.
GROUPS = "groups_train"
# What the classes' names are called; the second only where it holds as many texts as classes.
NAMES = ("class_names", "classes")
# How far floats may be outside [0, 1] by rounding; they are clipped then.
ROUNDING = 1e-6


def load(request: Request) -> Source:
    """x_train, y_train, x_test, y_test from FILE, and x_val, y_val where it has them.

    Without these, 10 % of the training part become validation; of examples with one value in
    `groups_train` (frames of a film, images of a patient) all do so or none. MedMNIST's names
    (train_images, ...) are taken too; other arrays are left out. x: (n, H, W), (n, H, W, C) or
    tabular (n, d); uint8, or float in [0, 1]. y: (n,) or (n, 1) integers or texts of any values;
    each training value is a class, in rising order. Other parts may lack some. A class is called by
    its value unless the file has `class_names` (or `classes`), a text for each. groups_train: (n,)
    integers or texts.
    """
    assert request.path is not None
    return read(request.path, request.name)


def read(path: Path, name: str, *, names: tuple[str, ...] | None = None) -> Source:
    """See `load`; `names` are those of the classes 0, 1, ..., where they are known."""
    arrays = read_members(path, name, _names)
    x, raw = _part(arrays, "train", name)
    values, y = np.unique(raw, return_inverse=True)
    others: dict[str, Any] = {}
    for part, field in (("test", "test"), ("val", "validation")):
        if f"x_{part}" in arrays:
            inputs, labels = _part(arrays, part, name)
            _check_alike(part, inputs, labels, x, raw, name)
            others |= {
                f"x_{field}": inputs,
                f"y_{field}": np.searchsorted(values, labels).astype(np.int64),
            }
    if names is not None and raw.dtype.kind != "U" and values[0] >= 0 and values[-1] < len(names):
        called = tuple(names[value] for value in values)
    else:
        called = _class_names(arrays, values, name)
    groups = _groups(arrays.get(GROUPS), len(y), name)
    return Source(x, y.astype(np.int64), called, files=[str(path)], groups=groups, **others)


def _groups(
    given: NDArray[np.generic] | None, examples: int, name: str
) -> NDArray[np.generic] | None:
    """What the file tells of groups, checked."""
    if given is not None and (given.shape != (examples,) or given.dtype.kind not in "iuUS"):
        raise DataError(
            f"{name}: {GROUPS} is {given.dtype} of shape {given.shape}; save a whole number or a "
            f"text for each of the {examples} training examples"
        )
    return given


def _part(
    arrays: dict[str, NDArray[np.generic]], part: str, name: str
) -> tuple[NDArray[np.generic], NDArray[Any]]:
    """The checked inputs and labels of a part, these as they are in the file."""
    x = checked_images(arrays[f"x_{part}"], f"{name}: x_{part}")
    return x, checked_labels(arrays[f"y_{part}"], len(x), where=f"{name}: y_{part}")


def _check_alike(
    part: str,
    x: NDArray[np.generic],
    y: NDArray[np.generic],
    x_train: NDArray[np.generic],
    y_train: NDArray[np.generic],
    name: str,
) -> None:
    """Refuses a part whose examples are of another shape, or whose labels are not in training."""
    if x_train.shape[1:] != x.shape[1:]:
        raise DataError(
            f"{name}: an example of x_train is {x_train.shape[1:]} but one of x_{part} is "
            f"{x.shape[1:]}; both must have the same shape"
        )
    if y_train.dtype.kind != y.dtype.kind:
        raise DataError(
            f"{name}: y_train is {y_train.dtype} but y_{part} is {y.dtype}; save both as "
            "integers, or both as texts"
        )
    foreign = y[~np.isin(y, y_train)]
    if foreign.size:
        raise DataError(
            f"{name}: y_{part} holds the label {foreign[0]}, which y_train lacks; "
            "every class must be in the training part"
        )


def _class_names(
    arrays: dict[str, NDArray[np.generic]], values: NDArray[Any], name: str
) -> tuple[str, ...]:
    """The classes' names, in the order of their values."""
    given, spare = (arrays.get(key) for key in NAMES)
    if given is not None and (given.dtype.kind != "U" or given.shape != values.shape):
        raise DataError(
            f"{name}: class_names is {given.dtype} of shape {given.shape}; save a text for each of "
            f"the {len(values)} labels in y_train, in rising order"
        )
    if given is None and spare is not None:
        usable = spare.dtype.kind == "U" and spare.shape == values.shape
        given = spare if usable else None
    return tuple(map(str, values if given is None else given))


def read_members(
    path: Path, name: str, names: Callable[[list[str], str], dict[str, str]]
) -> dict[str, NDArray[np.generic]]:
    """The arrays that `names` chooses of those in the file, and the names of classes in it.

    `names` gets what the file holds and `name`, and gives our name of each array to its name there.
    Raises DataError for what can't be read.
    """
    if not os.path.isfile(path):
        raise DataError(
            f"{name}: there is no file {path}; give npz:FILE with an existing file, or --data-dir "
            "with the folder that holds it"
        )
    try:
        with open(path, "rb") as file:  # np.load leaves a path open when its archive is broken
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{name} is a single array; save the arrays with numpy.savez")
            called = names(archive.files, name)
            found = {key: _member(file, stored, name=name) for key, stored in called.items()}
            if NAMES[0] in archive.files:
                found[NAMES[0]] = _member(file, NAMES[0], name=name)
            elif NAMES[1] in archive.files:
                with contextlib.suppress(DataError):  # it may be anything, and isn't needed
                    found[NAMES[1]] = _member(file, NAMES[1], name=name)
            return found
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


def _names(found: list[str], name: str) -> dict[str, str]:
    """Each array to be read with the name that it has in the file; `DataError` where one lacks."""
    if not set(KEYS) & set(found) and {ALIASES[key] for key in KEYS} <= set(found):
        called = ALIASES
    else:
        called = {key: key for key in (*KEYS, *VALIDATION)}
    for key in KEYS:
        if called[key] in found:
            continue
        spare = sorted(set(found) - set(KEYS))
        close = difflib.get_close_matches(key, spare, n=1, cutoff=0.5)
        fix = f"did you mean {close[0]!r}? rename it" if close else f"needed: {', '.join(KEYS)}"
        held = ", ".join(found) or "nothing"
        raise DataError(f"{name} has no array {key!r} (it holds {held}); {fix}")
    parts = [key for key in VALIDATION if called[key] in found]
    if len(parts) == 1:
        raise DataError(
            f"{name} holds {called[parts[0]]!r} alone; both {' and '.join(VALIDATION)} "
            "are needed, or neither"
        )
    return {key: called[key] for key in (*KEYS, *parts)} | {
        key: key for key in (GROUPS,) if key in found
    }


def looks_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether inputs of this shape are images (n, C, H, W)."""
    return len(shape) == 4 and shape[1] <= 4 < min(shape[2:])


def checked_images(x: NDArray[np.generic], where: str) -> NDArray[np.generic]:
    """`x` with a channel axis, after checking its type, shape and range."""
    x = x.astype(x.dtype.newbyteorder("="), copy=False)
    if x.dtype not in (np.uint8, np.float16, np.float32, np.float64):
        raise DataError(f"{where} is {x.dtype}; save it as uint8, or as float in [0, 1]")
    if x.ndim not in (2, 3, 4) or not x.size:
        raise DataError(
            f"{where} has shape {x.shape}; allowed are (n, H, W), (n, H, W, C) or (n, d), not empty"
        )
    if looks_channels_first(x.shape):
        raise DataError(
            f"{where} has shape {x.shape}, which looks like channels first; "
            "move them last with x.transpose(0, 2, 3, 1)"
        )
    x = _in_range(x, where)
    return x[..., np.newaxis] if x.ndim == 3 else x


def _in_range(x: NDArray[np.generic], where: str) -> NDArray[np.generic]:
    """`x` after a check that it lies in [0, 1], what is outside by rounding alone clipped."""
    if x.dtype == np.uint8:
        if x.max() == 1:
            raise DataError(
                f"{where} is uint8 and holds 0 and 1 alone, and bytes are divided by 255; save "
                "x.astype('float32'), or 255 * x"
            )
        return x
    low, high = float(x.min()), float(x.max())  # a NaN anywhere makes both NaN
    if np.isnan(low):
        raise DataError(f"{where} holds NaN; every value must be a number in [0, 1]")
    if low < -ROUNDING or high > 1 + ROUNDING:
        as_bytes = low >= 0 and high <= 255
        fix = "divide by 255 or save as uint8" if as_bytes else "rescale it"
        raise DataError(f"{where} ranges from {low:.9g} to {high:.9g}; allowed is [0, 1]: {fix}")
    return x if low >= 0 and high <= 1 else np.clip(x, 0, 1)


def checked_labels(y: NDArray[np.generic], examples: int, *, where: str) -> NDArray[np.generic]:
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
        return _decoded(y.astype(np.bytes_), where)
    if y.dtype.kind == "U":
        return y
    if y.size and int(y.max()) > np.iinfo(np.int64).max:
        raise DataError(
            f"{where} holds {y.max()}; save whole numbers below 2**63, or texts: y.astype(str)"
        )
    return y.astype(np.int64)


def _decoded(texts: NDArray[np.bytes_], where: str) -> NDArray[np.str_]:
    try:
        return np.char.decode(texts, "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where} holds bytes that are no UTF-8 ({error.object!r}); save texts, such as "
            "numpy.char.decode(y, 'latin-1')"
        ) from error

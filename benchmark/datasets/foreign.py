"""Data sets of other distributions: their code may raise, and give anything."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from benchmark.datasets.dataset import Dataset, Request, Source
from benchmark.datasets.entry import DatasetEntry
from benchmark.datasets.npz import looks_channels_first
from benchmark.errors import BenchError, DataError, shortened
from benchmark.text import reason_of

# Of arrays: true or false, whole numbers and floats.
_NUMBERS = "biuf"
_PATHS = (str, os.PathLike)


def source(entry: DatasetEntry, request: Request, distribution: str) -> Source:
    """What a loader gives; raises `DataError` in a line where that is no `Source` that can be."""
    whose = f"dataset {request.name!r} of {distribution}"
    try:
        found = entry.loader(request)
    except BenchError:
        raise
    except (Exception, SystemExit) as error:  # whatever the other distribution's code raises
        told = f"its loader {entry.target} raises {reason_of(error)}"
        raise DataError(f"{whose} can't be loaded: {told}") from error
    if not isinstance(found, Source):
        raise DataError(f"{whose}: its loader gives {type(found).__name__}, not a Source")
    for fault in _faults(found):
        raise DataError(f"{whose}: {fault}")
    return found if found.scale is None else replace(found, scale=_checked(found.scale, whose))


def _checked(scale: Callable[[Any], Any], whose: str) -> Callable[[Any], Any]:
    """A source's `scale`; raises `DataError` where it, or what it gives, isn't as it should be."""

    def call(what: str, function: Callable[[Any], Any], x: Any) -> Any:
        try:
            return function(x)
        except (Exception, SystemExit) as error:  # whatever the other distribution's code raises
            raise DataError(f"{whose}: {what} raises {reason_of(error)}") from error

    def checked(x_train: Any) -> tuple[Callable[[Any], Any], Mapping[str, Any]]:
        found = call("its scale", scale, x_train)
        if not isinstance(found, tuple) or len(found) != 2 or not callable(found[0]):
            raise DataError(
                f"{whose}: its scale gives {shortened(found)}; "
                "give what scales rows, and a mapping for the record"
            )
        if why := _unkept(found[1]):
            raise DataError(f"{whose}: what its scale tells {why}")

        def scaled(x: Any) -> Any:
            rows = call("what its scale gives", found[0], x)
            if not isinstance(rows, np.ndarray) or rows.shape != x.shape:
                told = rows.shape if isinstance(rows, np.ndarray) else type(rows).__name__
                raise DataError(f"{whose}: rows of shape {x.shape} are {told} when they are scaled")
            if rows.dtype.kind not in _NUMBERS:
                raise DataError(f"{whose}: rows are {rows.dtype} when they are scaled; give floats")
            return rows

        return scaled, found[1]

    return checked


def _faults(found: Source) -> Iterator[str]:
    """Why a source can't be used; each may be looked for where there was none before."""
    names = found.class_names
    if not isinstance(names, tuple | list) or not all(isinstance(one, str) for one in names):
        yield f"class_names are {shortened(names)}; give a tuple of texts"
    if len({*names}) < len(names):
        yield f"class_names are {shortened(names)}; each class needs another name"
    for end in ("", "_test", "_validation"):
        x, y = getattr(found, f"x{end}"), getattr(found, f"y{end}")
        if (x is None) != (y is None):
            yield f"of x{end} and y{end} one is missing"
        if x is None and not end:
            yield "x and y are missing"
        if x is not None and not hasattr(x, "shape"):
            yield f"x{end} is {type(x).__name__}; give an array"
        if x is not None and (why := _fault(x, y, len(names))):
            yield why.format(x=f"x{end}", y=f"y{end}")
        if x is not None and end and not len(y):
            yield f"x{end} has no examples; leave it and y{end} out, and they are split off"
        if x is not None and x.shape[1:] != found.x.shape[1:]:
            yield f"x{end} is {x.shape}, but x is {found.x.shape}"
    share = found.validation
    if found.x_validation is None and not (isinstance(share, Real) and 0 < share < 1):
        yield f"validation is {shortened(share)}; give a share between 0 and 1"
    yield from _faults_beside(found)


def _faults_beside(found: Source) -> Iterator[str]:
    """The same of what stands beside inputs and labels."""
    groups = found.groups
    if groups is not None:
        # pandas reads a column by its labels: rows would get the groups of others.
        if not isinstance(groups, np.ndarray) or groups.shape != found.y.shape:
            yield "groups must be an array, (n,), of what each example belongs to"
        try:
            np.unique(groups)
        except TypeError as error:
            yield f"groups can't be told apart ({reason_of(error)}); give texts or whole numbers"
    if why := _unkept(found.about):
        yield f"about {why}"
    if found.scale is not None and not callable(found.scale):
        yield f"scale is {shortened(found.scale)}; give a function"
    files = found.files
    if not isinstance(files, tuple | list) or not all(isinstance(one, _PATHS) for one in files):
        yield f"files are {shortened(files)}; give a tuple of paths"
    for file in files:
        if not os.path.isfile(file):
            yield f"of its files there is no {shortened(file)}"


def _unkept(about: Any) -> str:
    """Why a record can't keep what is told of data; empty where it can."""
    try:
        json.dumps(dict(about), sort_keys=True, allow_nan=False)  # as records are written
    except (TypeError, ValueError) as error:
        return f"can't be kept as JSON ({reason_of(error)})"
    return ""


def _fault(x: Any, y: np.ndarray, classes: int) -> str:
    """Why these inputs and labels can't be used; empty where they can."""
    shape = x.shape
    if len(shape) not in (2, 4) or not math.prod(shape[1:]):
        return f"{{x}} is {shape}; inputs must be (n, H, W, C) or (n, d)"
    if isinstance(x, np.ndarray) and x.dtype.kind not in _NUMBERS:
        return f"{{x}} is {x.dtype}; inputs must be floats in [0, 1], or bytes"
    if looks_channels_first(shape):
        return (
            f"{{x}} is {shape}, which looks like channels first; "
            "move them last with x.transpose(0, 2, 3, 1)"
        )
    if not isinstance(y, np.ndarray) or y.ndim != 1 or y.dtype.kind not in "iu":
        told = f"{y.dtype} of shape {y.shape}" if isinstance(y, np.ndarray) else type(y).__name__
        return f"{{y}} is {told}; labels must be whole numbers, (n,)"
    if len(y) != shape[0]:
        return f"{{x}} has {shape[0]} examples and {{y}} {len(y)} labels"
    if why := _unread(x):
        return f"{{x}} {why}"
    if len(y) and (y.min() < 0 or y.max() >= classes):
        return f"{{y}} reaches from {y.min()} to {y.max()}; there are {classes} class_names"
    return ""


def _unread(x: Any) -> str:
    """Why inputs can't be read by their places, for the first as an example; empty if they can."""
    if isinstance(x, np.ndarray) or not x.shape[0]:
        return ""
    try:
        found = np.asarray(x[np.arange(1)]).shape
    except (Exception, SystemExit) as error:  # whatever the other distribution's code raises
        told = f"is {type(x).__name__}, of which no row can be read ({reason_of(error)})"
        return f"{told}; give an array"
    if found != (1, *x.shape[1:]):
        return f"is {type(x).__name__}, whose first row is {found}; give an array"
    return ""


def check_values(dataset: Dataset) -> None:
    """Raises `DataError` for inputs that are not finite, or outside [0, 1]."""
    for part in ("x_train", "x_validation", "x_test"):
        for chunk in getattr(dataset, part).chunks():
            if not np.isfinite(chunk).all():
                raise DataError(f"{dataset.name}: {part} holds values that are not finite")
            if len(chunk) and (chunk.min() < 0 or chunk.max() > 1):
                raise DataError(
                    f"{dataset.name}: {part} reaches from {chunk.min():g} to {chunk.max():g}; "
                    "inputs must be in [0, 1], or bytes"
                )

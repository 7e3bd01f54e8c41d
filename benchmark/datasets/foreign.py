"""Data sets of other distributions: their code may raise, and give anything."""

from __future__ import annotations

import numpy as np

from benchmark.datasets.dataset import Dataset, Request, Source
from benchmark.datasets.entry import DatasetEntry
from benchmark.datasets.npz import looks_channels_first
from benchmark.errors import BenchError, DataError
from benchmark.text import reason_of


def source(entry: DatasetEntry, request: Request, distribution: str) -> Source:
    """What a loader gives; raises `DataError` in a line where that is no `Source` that can be."""
    whose = f"dataset {request.name!r} of {distribution}"
    try:
        found = entry.loader(request)
    except BenchError:
        raise
    except Exception as error:  # whatever the other distribution's code raises
        told = f"its loader {entry.target} raises {reason_of(error)}"
        raise DataError(f"{whose} can't be loaded: {told}") from error
    if not isinstance(found, Source):
        raise DataError(f"{whose}: its loader gives {type(found).__name__}, not a Source")
    for end in ("", "_test", "_validation"):
        x, y = getattr(found, f"x{end}"), getattr(found, f"y{end}")
        if (x is None) != (y is None):
            raise DataError(f"{whose}: of x{end} and y{end} one is missing")
        if x is not None and not hasattr(x, "shape"):
            raise DataError(f"{whose}: x{end} is {type(x).__name__}; give an array")
        if x is not None and y is not None and (why := _fault(x.shape, y, len(found.class_names))):
            raise DataError(f"{whose}: {why.format(x=f'x{end}', y=f'y{end}')}")
        if x is not None and x.shape[1:] != found.x.shape[1:]:
            raise DataError(f"{whose}: x{end} is {x.shape}, but x is {found.x.shape}")
    groups = found.groups
    if groups is not None and getattr(groups, "shape", None) != found.y.shape:
        raise DataError(f"{whose}: groups must be an array, (n,), of what each example belongs to")
    return found


def _fault(shape: tuple[int, ...], y: np.ndarray, classes: int) -> str:
    """Why inputs of this shape and these labels can't be used; empty where they can."""
    if len(shape) not in (2, 4):
        return f"{{x}} is {shape}; inputs must be (n, H, W, C) or (n, d)"
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
    if len(y) and (y.min() < 0 or y.max() >= classes):
        return f"{{y}} reaches from {y.min()} to {y.max()}; there are {classes} class_names"
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

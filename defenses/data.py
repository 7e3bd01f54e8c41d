"""The one check of the data that a defense is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from defenses.errors import DefenseError
from defenses.inputs import Inputs


def checked_data(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Inputs as float32 and labels as int64; DefenseError where they can't be trained on."""
    on_demand = isinstance(x, Inputs)
    x, y = checked_inputs(x), _array("labels", y)
    if y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer):
        raise DefenseError(
            f"labels must be whole numbers of shape ({len(x)},), got {y.dtype} of shape {y.shape}"
            f"{_way_out(y)}"
        )
    if not len(x):
        raise DefenseError("there are no examples; give at least one")
    if not (on_demand or (x.min() >= 0 and x.max() <= 1)):
        if np.isnan(x.min()):
            raise DefenseError("inputs hold NaN; every value must be a number in [0, 1]")
        found = f"[{x.min()}, {x.max()}]"
        raise DefenseError(f"inputs must lie in [0, 1], got {found}; scale them first")
    if y.min() < 0:
        raise DefenseError(f"labels run from {y.min()} to {y.max()}; the first class is 0")
    return x if on_demand else x.astype(np.float32, copy=False), y.astype(np.int64, copy=False)


def checked_inputs(x: Any) -> np.ndarray:
    """Images (n, H, W, C) or rows (n, d) as an array; DefenseError for anything else.

    What is read on demand stays so.
    """
    x = x if isinstance(x, Inputs) else _array("inputs", x)
    if x.ndim not in (2, 4):
        raise DefenseError(f"inputs must be (n, H, W, C) or (n, d), got shape {x.shape}")
    if x.ndim == 4 and x.shape[1] in (1, 3) and x.shape[2] == x.shape[3] > 4:
        raise DefenseError(
            f"inputs of shape {x.shape} look like (n, C, H, W), and (n, H, W, C) is needed, also "
            "for PyTorch; give x.transpose(0, 2, 3, 1)"
        )
    return x


def check_classes(y: np.ndarray, classes: int) -> None:
    """Refuse labels that have no output; `classes` is how many the model gives."""
    if y.max() < classes:
        return
    line = f"labels run from {y.min()} to {y.max()}, expected 0 to {classes - 1}"
    if y.min() == 1 and y.max() == classes:
        raise DefenseError(f"{line}; subtract 1")
    raise DefenseError(f"{line}: the model gives {classes} logits; give it {y.max() + 1}")


def _array(what: str, given: Any) -> np.ndarray:
    try:
        found = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DefenseError(
            f"{what} must be one array, got {type(given).__name__}: {str(error).splitlines()[0]}"
        ) from error
    if found.dtype.kind not in "biuf":
        raise DefenseError(
            f"{what} must be an array of numbers, got {type(given).__name__} of {found.dtype}"
        )
    return found


def _way_out(y: np.ndarray) -> str:
    if y.ndim == 2 and y.shape[1] == 1:
        return "; give y.ravel()"
    return "; give y.argmax(axis=1)" if y.ndim == 2 else ""

"""What an external model's call gives, in either framework: the outputs in it, and what is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmark.errors import ModelError

_WAY_OUT = "wrap it in a builder whose model gives the logits alone"


def outputs_in(found: Any) -> tuple[Any, str]:
    """The one tensor that counts, and a line that says which; empty where there is but one.

    Taken are a tensor, `logits` of an object or of a mapping, a mapping's only entry, and the
    first entry of a tuple or list.

    Raises:
        ModelError: none of these is a tensor of real numbers.
    """
    taken, name = found, ""
    if isinstance(found, Mapping):
        key = next(iter(found), None) if len(found) == 1 else "logits"
        taken, name = found.get(key), f"{key!r} of its outputs"
    elif not _is_tensor(found) and _is_tensor(getattr(found, "logits", None)):
        taken, name = found.logits, "'logits' of its outputs"
    elif isinstance(found, tuple | list):
        taken = found[0] if found else None
        name = f"the first of its {len(found)} outputs"
    if not _is_tensor(taken):
        keys = (
            f" with {', '.join(map(str, list(found)[:6]))}"
            if isinstance(found, Mapping) and found
            else ""
        )
        raise ModelError(
            f"the model gives {type(found).__name__!r}{keys} instead of one tensor (n, classes); "
            f"{_WAY_OUT}"
        )
    if "complex" in str(taken.dtype):
        raise ModelError(
            f"the model gives complex numbers ({taken.dtype}), which have no order; {_WAY_OUT}, "
            "such as their absolute values"
        )
    return taken, f"the model gives {type(found).__name__!r}; {name} is taken" if name else ""


def one_output(found: Any, count: int | None) -> bool:
    """Whether a model gives one number an example, where two classes need two.

    That is (n, 1), (n,), or () of a single one. `count` is n, None where a graph doesn't know it.
    """
    if len(found.shape) == 0:
        return count in (1, None)
    return count in (found.shape[0], None) and tuple(found.shape[1:]) in ((), (1,))


def told_of(found: Any, count: int) -> str:
    """Which part of what a model gives for `count` examples is taken, and what is made of it.

    Empty where it is all.
    """
    taken, told = outputs_in(found)
    if not one_output(taken, count):
        return told
    one = "one output an example is taken for class 1, with 0 for class 0 before the softmax"
    return "; ".join(filter(None, [told, one]))


def _is_tensor(value: Any) -> bool:
    """Whether it is a tensor of torch or TensorFlow, without importing either."""
    is_numpy = isinstance(value, np.ndarray | np.generic)  # which no gradient goes through
    return hasattr(value, "dtype") and hasattr(value, "shape") and not is_numpy

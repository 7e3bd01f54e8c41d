"""What an external model's call gives, in either framework: the outputs in it, and what is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
        keys = f" with {', '.join(map(str, list(found)[:6]))}" if isinstance(found, Mapping) else ""
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


def _is_tensor(value: Any) -> bool:
    """Whether it is a tensor of torch or TensorFlow, without importing either."""
    return hasattr(value, "dtype") and hasattr(value, "shape")

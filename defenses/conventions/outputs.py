"""What a model's call gives, in either framework: the logits in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from defenses.errors import DefenseError


def logits_in(outputs: Any) -> Any:
    """The tensor, or what stands under `logits` where a model gives a mapping or an object.

    Raises:
        DefenseError: a tuple or anything else that does not say which part the logits are.
    """
    if isinstance(outputs, Mapping):
        found = outputs.get("logits")
    else:
        found = getattr(outputs, "logits", outputs)
    if not hasattr(found, "dtype"):
        raise DefenseError(
            f"the model gives a {type(outputs).__name__} instead of one tensor of logits "
            "(n, classes); train a model that returns the logits alone, such as model(x)[0]"
        )
    return found

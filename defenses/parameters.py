"""Parameters of a defense: dataclass fields that know their range, and the one check of them."""

from __future__ import annotations

import dataclasses
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from defenses.errors import DefenseError

# Of whole numbers without an end of their own: more than any training gets through.
MOST = 1_000_000
# Of other numbers: more than float32 can square.
LARGEST = 1e18


def parameter(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] | None = None,
    later: bool = False,
) -> Any:
    """A dataclass field with a range (both ends allowed) or a list of choices.

    `later` is for what became a parameter when trainings without it had been stored: at its default
    it is left out of what is recorded, so that they stay the same trainings.
    """
    limits = {"low": low, "high": high, "choices": choices}
    return dataclasses.field(default=default, metadata={"limits": limits, "later": later})


def shares_parameter(default: tuple[float, ...], *, later: bool) -> Any:
    """A dataclass field of rising numbers between 0 and 1, given as "a,b" or as a list."""
    return dataclasses.field(default=default, metadata={"shares": True, "later": later})


def later(field: dataclasses.Field[Any]) -> bool:
    """Whether a parameter is left out of what is recorded at its default; see `parameter`."""
    return bool(field.metadata.get("later"))


def names_parameter(default: tuple[str, ...], check: Callable[[str], object]) -> Any:
    """A dataclass field of names, given as "a,b" or as a list; `check` raises on a wrong one."""
    return dataclasses.field(default=default, metadata={"check": check})


def check_parameters(owner: Any) -> None:
    """Hold every `parameter` field of the dataclass instance `owner` against its range.

    Names are brought into one form, a tuple, whichever way they were given.

    Raises:
        DefenseError: names the parameter, the value and what is allowed.
    """
    for field in dataclasses.fields(owner):
        if "limits" in field.metadata:
            value, limits = getattr(owner, field.name), field.metadata["limits"]
            _check(field.name, value, field.default, **limits)
        elif "check" in field.metadata:
            names = _names(field.name, getattr(owner, field.name))
            for name in names:
                field.metadata["check"](name)
            object.__setattr__(owner, field.name, names)
        elif "shares" in field.metadata:
            value = getattr(owner, field.name)
            object.__setattr__(owner, field.name, _shares(field.name, value))


def _shares(field: str, value: Any) -> tuple[float, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    parts = parts if isinstance(parts, (list, tuple)) else [parts]
    try:
        found = [float(part) for part in parts]
    except (TypeError, ValueError):
        found = []
    edges = [0, *found, 1]
    if not found or not all(one < other for one, other in itertools.pairwise(edges)):
        raise DefenseError(f"{field} must be rising numbers between 0 and 1, got {value!r}")
    return tuple(found)


def _names(field: str, value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise DefenseError(f"{field} must be names, such as a,b; got {value!r}")
    names = tuple(part.strip() for part in parts if part.strip())
    if len(set(names)) < len(names):
        raise DefenseError(f"{field} names {', '.join(names)}; give each one once")
    return names


def _check(
    name: str,
    value: Any,
    default: Any,
    *,
    low: float | None,
    high: float | None,
    choices: Sequence[str] | None,
) -> None:
    if choices is not None:
        if value not in choices:
            raise DefenseError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        return
    if value is None and default is None:
        return
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise DefenseError(f"{name} must be true or false, got {value!r}")
        return
    check_number(name, value, whole=isinstance(default, int), low=low, high=high)


def checked_seed(seed: Any) -> int:
    """A seed, of Python or NumPy; raises DefenseError for what is no whole number from 0."""
    try:
        found = -1 if isinstance(seed, bool) else operator.index(seed)
    except TypeError:
        found = -1
    if found < 0:
        raise DefenseError(f"seed must be a whole number from 0, got {seed!r}")
    return found


def of_python(value: Any) -> Any:
    """A number of NumPy's as Python's; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def check_number(
    name: str, value: Any, *, whole: bool, low: float | None, high: float | None
) -> None:
    """Raises DefenseError where `value` is no number, or out of its range; both ends allowed."""
    kind = "a whole number" if whole else "a number"
    right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not right or not -math.inf < value < math.inf:
        raise DefenseError(f"{name} must be {kind}, got {value!r}")
    most = high if high is not None else MOST if whole else LARGEST
    if value > most or (low is not None and value < low):
        allowed = f"at least {low}" if high is None and value < most else f"from {low} to {most:,}"
        given = value if abs(value) <= LARGEST else "more than that"
        raise DefenseError(f"{name} must be {allowed}, got {given}")

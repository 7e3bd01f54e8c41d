"""What is written for a value, in YAML or on the command line, as the value that is meant."""

from __future__ import annotations

import contextlib
import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from benchmark import limits
from benchmark.errors import ConfigError, shortened

_FRACTION = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?)\s*/\s*([0-9]+(?:\.[0-9]*)?)\s*")
# YAML 1.1 reads 1e-2 as text, because it has no dot.
_EXPONENT = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?[eE][+-]?[0-9]+")


def listed(value: Any) -> list[Any]:
    """A list from a list, a single value or text such as "a,b"."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    parts = [v.split(",") if isinstance(v, str) else [v] for v in values]
    cleaned = [p.strip() if isinstance(p, str) else p for part in parts for p in part]
    return [p for p in cleaned if p != ""]


def whole(value: Any) -> Any:
    """A whole number from text such as "3", "1_000" or "1e6"; anything else as it is."""
    if not isinstance(value, str) or len(value) > 40:  # Python reads no number of 5,000 digits
        return value
    if re.fullmatch(r"[+-]?[0-9]+(_[0-9]+)*", value):
        return int(value)
    if _EXPONENT.fullmatch(value) and float(value).is_integer():
        return int(float(value))
    return value


Count = Annotated[int, BeforeValidator(whole), Field(strict=True, gt=0)]


def real(value: Any) -> Any:
    """A value that may be read as a number, as it is; true and false are none."""
    if isinstance(value, bool):
        raise ValueError(f"must be a number, got {shortened(value)}")
    return value


def unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Each value once, where it came first."""
    return tuple(dict.fromkeys(values))


def number(value: Any) -> Any:
    """A number from text such as "8/255", "1e-2" or "1e3", a whole one; anything else as it is."""
    if not isinstance(value, str):
        return value
    if fraction := _FRACTION.fullmatch(value):
        over, under = map(float, fraction.groups())
        return over / under if under else value
    if not _EXPONENT.fullmatch(value):
        return value
    found = float(value)
    return int(found) if found.is_integer() and abs(found) < 2**53 else found


def budget(value: Any) -> float:
    """A perturbation budget: a finite number above 0."""
    found = number(value)
    if isinstance(found, str):
        with contextlib.suppress(ValueError):
            found = float(found)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ConfigError(f"eps {shortened(value)} is not a number; give one such as 0.15 or 8/255")
    if not 0 < found < math.inf:
        raise ConfigError(f"eps {shortened(value)} is not allowed; give a finite number above 0")
    return float(min(found, 2 * limits.MAX_EPS))  # a larger one overflows, and is refused too


def features(value: Any) -> Any:
    """A file or what stands in one, as it is."""
    if value is None or isinstance(value, str | dict):
        return value
    raise ConfigError(
        f"features {shortened(value)} is not allowed; give a YAML file, or immutable and budget"
    )


def split(value: Any) -> Any:
    """A seed, a file or the lists of a split of classes, as they are; none is true or false."""
    if value is None or (isinstance(value, int | str | dict) and not isinstance(value, bool)):
        return value
    raise ConfigError(
        f"split {shortened(value)} is not allowed; give a seed, a YAML file, or the lists train, "
        "validation and test"
    )


def _plain(value: Any, path: str) -> Any:
    """`value`, with its numbers read; ConfigError unless it is made of JSON's types only."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(f"{path}: key {shortened(key)} is not a name")
        return {key: _plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, path) for item in value]
    value = number(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{path}: {shortened(value)} is not a finite number")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(
        f"{path}: {shortened(value)} is not allowed; give a number, text, true, false or a list"
    )


def mapping(kind: str, value: Any) -> dict[str, Any]:
    """Names to what JSON can hold; raises `ConfigError` for anything else."""
    whole = _plain({} if value is None else value, kind)
    if not isinstance(whole, dict):
        raise ConfigError(f"{kind} must map names to their settings, got {shortened(value)}")
    return whole


def settings(kind: str) -> BeforeValidator:
    """A mapping of names to mappings: {name: {setting: value}}."""

    def check(value: Any) -> dict[str, dict[str, Any]]:
        whole = mapping(kind, value)
        for name, settings in whole.items():
            if settings is not None and not isinstance(settings, dict):
                raise ConfigError(
                    f"{kind}.{name} must map settings to values, got {shortened(settings)}"
                )
        return {name: settings or {} for name, settings in whole.items()}

    return BeforeValidator(check)

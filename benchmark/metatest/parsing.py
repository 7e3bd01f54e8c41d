"""The settings of meta-tests: what each may be, from options' text or YAML, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ValidationError

from benchmark import documents, values
from benchmark.errors import ConfigError, UnknownName, shortened

# Of any count or rate: no machine gets through more.
MOST = 1_000_000

Settings = TypeVar("Settings")


def listed(value: Any) -> list[Any]:
    """What a list has, a text such as "1,5", or a single value; never nothing."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    values = list(value) if isinstance(value, list | tuple) else [value]
    if not values:
        raise ValueError("is empty; give at least one")
    return values


def whole(value: Any, least: int = 1) -> int:
    """A whole number of at least so much; raises `ValueError` for anything else."""
    found = values.whole(value.strip()) if isinstance(value, str) else value
    if type(found) is not int or not least <= found <= MOST:
        raise ValueError(f"must be a whole number from {least} to {MOST:,}, got {shortened(value)}")
    return found


def from_(least: int) -> BeforeValidator:
    """A whole number of at least so much."""
    return BeforeValidator(lambda value: whole(value, least))


def several(least: int) -> BeforeValidator:
    """Different whole numbers of at least so much, ascending."""
    return BeforeValidator(
        lambda value: tuple(sorted({whole(one, least) for one in listed(value)}))
    )


def named(kind: str, table: Collection[str]) -> BeforeValidator:
    """Different names of a table, in the order given."""

    def check(value: Any) -> tuple[str, ...]:
        names = listed(value)
        for name in names:
            if name not in table:
                raise UnknownName(kind, str(name), table)
        return tuple(dict.fromkeys(names))

    return BeforeValidator(check)


def _rate(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value <= MOST:
        raise ValueError(f"must be numbers above 0, at most {MOST:,}, got {shortened(value)}")
    return float(value)


Count = Annotated[int, from_(1)]
EpisodeCount = Annotated[int, from_(2)]  # one gives no interval
Wholes = Annotated[tuple[int, ...], several(1)]
Rates = Annotated[
    tuple[float, ...],
    BeforeValidator(lambda value: tuple(sorted({_rate(one) for one in listed(value)}))),
]


def read(
    make: Callable[..., Settings], settings: Mapping[str, Any], known: Collection[str]
) -> Settings:
    """What `make` makes of settings by name; raises `ConfigError` for unknown or wrong ones."""
    for name in settings:
        if name not in known:
            raise UnknownName("adaptation setting", name, known)
    try:
        return make(**settings)
    except ValidationError as error:
        name, wrong = documents.fault(error)
        raise ConfigError(f"adaptation.{name} {wrong}") from error


def names_of(protocol: Any) -> list[str]:
    """The settings of a protocol, or of its class."""
    return [field.name for field in dataclasses.fields(protocol)]


def told(protocol: Any, *, without: Collection[str] = ()) -> dict[str, Any]:
    """The settings as JSON values: what the key of a stage depends on."""
    whole = {k: v for k, v in dataclasses.asdict(protocol).items() if k not in without}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in whole.items()}


def fitting(
    settings: Mapping[str, tuple[int, int, str]], where: str, *, given: Collection[str]
) -> dict[str, int]:
    """Numbers of examples at a time, none larger than what is there.

    Args:
        settings: name to how many are asked for, how many are there, and which part that is.
        where: the data set.
        given: names that were asked for.

    Raises:
        ConfigError: one of those asks for more.
    """
    for name, (asked, there, part) in settings.items():
        if name in given and asked > there:
            raise ConfigError(
                f"adaptation.{name} asks for {asked} examples at a time, the {part} of {where} "
                f"has {there}; lower it"
            )
    return {name: min(asked, there) for name, (asked, there, _) in settings.items()}

"""What a suite file says, checked as a whole; each error is one line that names its place."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

import defenses
from benchmark.attacks import lookup
from benchmark.attacks.arguments import Kind
from benchmark.attacks.entry import UNRESTRICTED
from benchmark.attacks.specification import THREATS, TRANSFER, Smoothing
from benchmark.errors import SuiteError, shortened
from benchmark.limits import MAX_EPS, MAX_EXAMPLES, eps_fault
from benchmark.values import number
from defenses import wrappers
from defenses.errors import did_you_mean

SAFE_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
# Names of attacks become names of files, with a hash and an ending behind them.
_LONGEST_NAME = 60

_EXAMPLES = Kind("a whole number from 1 up", 1, MAX_EXAMPLES, whole=True)
_DRAWS = Kind("a whole number from 1 to 10,000,000", 1, 10_000_000, whole=True)

# Each costs as much as the attack with one.
_EOT = Kind("a whole number from 1 to 1,000", 1, 1000, whole=True)

Part = TypeVar("Part", bound=BaseModel)


def checked(schema: type[Part], content: object, suite: str) -> Part:
    """The content as its schema has it; raises `SuiteError` with the first thing that is wrong."""
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        told = first["ctx"]["error"] if first["type"] == "value_error" else f": {first['msg']}"
        raise SuiteError(f"{_place(suite, first['loc'])}{told}") from error


def _place(suite: str, way: tuple[int | str, ...]) -> str:
    """What a person calls the place that an error is at."""
    match way:
        case ("attacks", name, "threat", *_):
            return f"attack {name!r}: its threat"
        case ("attacks", name, "arguments", *_):
            return f"attack {name!r}: 'arguments'"
        case ("attacks", name, *_):
            return f"attack {name!r}"
        case ("security_curve" | "certification" as part, *_):
            return f"suite {suite!r}: {part!r}"
    return f"suite {suite!r}"


# The errors of all validators here go on where `_place` ends.


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f" must be a mapping of names to values, got {shortened(value)}")
    return value


def _arguments(value: object) -> Mapping[str, Any]:
    return {name: number(one) for name, one in _mapping(value).items()}


def check_keys(found: Mapping[str, Any], allowed: Collection[str]) -> None:
    """Raises `ValueError` for a key that isn't allowed."""
    for key in found:
        if key not in allowed:
            raise ValueError(
                f" has the unknown key {shortened(key)}{did_you_mean(text(key), allowed)}"
            )


def text(value: object) -> str:
    """A text as it is, anything else as it is shown."""
    return value if isinstance(value, str) else shortened(value)


def _one_of(words: str, allowed: Collection[str]) -> BeforeValidator:
    def check(value: object) -> str:
        if (name := text(value)) not in allowed:
            raise ValueError(f"{words} {shortened(name)}{did_you_mean(name, allowed)}")
        return name

    return BeforeValidator(check)


def _attack(value: object) -> str:
    name = text(value)
    if not lookup.is_known(name):
        meant = did_you_mean(name, lookup.names(), listing="bench list attacks")
        raise ValueError(f" names the unknown attack {shortened(name)}{meant}")
    return name


def _number(kind: Kind, *, optional: bool = False) -> BeforeValidator:
    def check(value: object, info: ValidationInfo) -> object:
        found = number(value)
        if not (optional and found is None) and not kind.takes(found):
            raise ValueError(f": {info.field_name} must be {kind.text}, got {shortened(value)}")
        return found

    return BeforeValidator(check)


def _source(value: object) -> object:
    if value is None or (isinstance(value, str) and value in defenses.names()):
        return value
    trains = text(value).partition(wrappers.SEPARATOR)[0]
    if trains in defenses.names():
        raise ValueError(f": from names a model, not what stands around it; write {trains!r}")
    raise ValueError(
        f": from names the unknown defense {shortened(value)}"
        f"{did_you_mean(text(value), defenses.names())}"
    )


def _flag(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, bool):
        raise ValueError(f": {info.field_name} must be true or false, got {shortened(value)}")
    return value


def _budgets(value: object) -> object:
    found = [number(one) for one in value] if isinstance(value, list) else []
    ascend = found and all(map(_is_budget, found))
    if not ascend or found != sorted(set(found)):
        raise ValueError(
            f": budgets are {shortened(value)}; give ascending shares of eps such as [0.5, 1, 2]"
        )
    return found


def _is_budget(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= MAX_EPS


def _named(attacks: object) -> object:
    """Attacks with names that can become those of files."""
    if not isinstance(attacks, Mapping):
        raise ValueError(f": 'attacks' must be a mapping of names, got {shortened(attacks)}")
    if not attacks:
        raise ValueError(" has no attacks; list at least one under 'attacks'")
    for name in attacks:
        if not isinstance(name, str) or not SAFE_NAME.fullmatch(name):
            fix = "" if isinstance(name, str) else "; write it in quotes"
            raise ValueError(
                f": attack name {shortened(name)} may hold a-z, 0-9 and hyphens only{fix}"
            )
        if len(name) > _LONGEST_NAME:
            raise ValueError(
                f": attack name {shortened(name)} has {len(name)} characters; at most "
                f"{_LONGEST_NAME} are allowed"
            )
        if name == TRANSFER.name:
            raise ValueError(
                f": the name {name!r} is kept for the attack that joins every suite in cells with "
                "input or output defenses; choose another"
            )
    return attacks


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        names = [field.alias or name for name, field in cls.model_fields.items()]
        check_keys(_mapping(value), names)
        return value


Examples = Annotated[int | None, _number(_EXAMPLES, optional=True)]


class Threat(_Part):
    """A threat of an attack's own."""

    norm: Annotated[str, _one_of(": norm is", THREATS)] = ""
    eps: Annotated[Any, BeforeValidator(number)] = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"norm": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _allowed(self) -> Self:
        if self.eps is None:
            return self
        if self.norm == UNRESTRICTED or not _is_budget(self.eps):
            raise ValueError(
                f": eps is {shortened(self.eps)}; give a number above 0 under a norm, and none if "
                f"{UNRESTRICTED}"
            )
        if wrong := eps_fault(self.norm, float(self.eps)):
            raise ValueError(f": {wrong}")
        return self


class Attack(_Part):
    """One attack of a suite; which arguments it takes is in its row of the table."""

    attack: Annotated[str, BeforeValidator(_attack)] = ""
    arguments: Annotated[dict[str, Any], BeforeValidator(_arguments)] = Field(default_factory=dict)
    threat: Threat | None = None
    examples: Examples = None
    source: Annotated[str | None, BeforeValidator(_source)] = Field(default=None, alias="from")
    draws: Annotated[int | None, _number(_EOT, optional=True)] = None


class Curve(_Part):
    """A security curve, of one of the suite's attacks."""

    attack: Any = None
    budgets: Annotated[tuple[float, ...], BeforeValidator(_budgets)] = ()
    examples: Examples = None


class Certification(_Part):
    """Certification by randomised smoothing; what isn't given is as its paper's authors have it."""

    sigma: Annotated[Any, _number(Kind("a number above 0, in pixel scale", 1e-6, MAX_EPS))] = None
    n0: Annotated[Any, _number(_DRAWS)] = Smoothing.n0
    n: Annotated[Any, _number(_DRAWS)] = Smoothing.n
    alpha: Annotated[Any, _number(Kind("a number from 1e-12 to 0.5", 1e-12, 0.5))] = Smoothing.alpha
    examples: Examples = None

    @model_validator(mode="after")
    def _certifies(self) -> Self:
        if self.n <= (least := math.log2(1 / self.alpha)):
            raise ValueError(
                f": {self.n} draws certify nothing at alpha {self.alpha:g}; give n of "
                f"{math.floor(least) + 1} or more"
            )
        return self


class SuiteFile(_Part):
    """A suite as its file has it."""

    description: Any = ""
    attacks: Annotated[dict[str, Attack], BeforeValidator(_named)] = Field(default_factory=dict)
    curve: Curve | None = Field(default=None, alias="security_curve")
    corruptions: Annotated[bool, BeforeValidator(_flag)] = False
    certification: Certification | None = None
    first_success: Annotated[bool, BeforeValidator(_flag)] = False

"""What a stored record is: made as a whole by who writes it, taken as it is by who reads it.

A record that is made is checked as a whole: a field that isn't here, or one of another type, is an
error of the program. One that is read was written by anybody, in any version: what it holds beside
these fields is passed over, and fields that came later are optional. So the schema can grow while
its version stays; a field whose meaning changes needs another version and an upgrade.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    model_validator,
)

from benchmark.errors import SchemaError
from benchmark.portable import without_folders
from benchmark.results.files import Record
from benchmark.results.identity import FIRST_PROTOCOL, PROTOCOL_VERSION
from benchmark.text import one_line

_READING = "reading"


def _as_given(value: Any, check: Callable[[Any], float], info: ValidationInfo) -> float:
    """A number that is written stays as it was made: 3 is not written as 3.0."""
    found = check(value)
    return found if info.context == _READING else value


def _portable(reason: str, info: ValidationInfo) -> str:
    return without_folders(reason) if info.context == _READING else reason


Integer = Annotated[int, Field(ge=-(2**62), le=2**62)]
Count = Annotated[int, Field(ge=0, le=2**62)]
Number = Annotated[FiniteFloat, WrapValidator(_as_given)]
Amount = Annotated[FiniteFloat, Field(ge=0, le=1e18), WrapValidator(_as_given)]  # sums stay finite
Share = Annotated[FiniteFloat, Field(ge=0, le=1), WrapValidator(_as_given)]
Reason = Annotated[str, AfterValidator(_portable)]
Status = Literal["ok", "failed", "not-applicable"]
Points = Annotated[list[Count], Field(min_length=2, max_length=50)]
Table = list[list[Share]]


class Schema(BaseModel):
    """A part of a record. Its constructor is for who writes, `read` for who reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @classmethod
    def read(cls, stored: Record) -> Self:
        """A stored record; raises `SchemaError` with the first thing that it has wrong."""
        try:
            return cls.model_validate(stored, context=_READING)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = one_line(".".join(str(part) for part in first["loc"]))
            told = f"doesn't follow the schema: {where}: {first['msg'].lower()}"
            raise SchemaError(told) from error

    def stored(self) -> Record:
        """The fields that were given, as JSON values."""
        return self.model_dump(by_alias=True, exclude_unset=True)

    @model_validator(mode="before")
    @classmethod
    def _without_unknown(cls, value: Any, info: ValidationInfo) -> Any:
        if info.context != _READING or not isinstance(value, dict):
            return value
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {name: inner for name, inner in value.items() if name in known}


class StageRecord(Schema):
    """What all stages have. A stage that failed may have nothing else.

    `files` maps the name of each to its SHA-256; the store writes it. `made_of`: the same of the
    files of other stages that it was made of, weights above all, by their paths in the cell's
    folder; earlier versions told nothing. `device`: the GPU that it was made on, where it was one.
    """

    status: Status = "ok"
    reason: Reason = ""
    files: dict[str, str] = {}
    made_of: dict[str, str] = {}
    device: str = ""

    @property
    def outdated(self) -> str:
        """Of which version it is that isn't that of now, in words; "" where it is of no other."""
        return ""

    @classmethod
    def read(cls, stored: Record) -> Self:
        """The same; of a stage that failed with less than this, the error tells why it failed."""
        try:
            return super().read(stored)
        except SchemaError as error:
            if stored.get("status") == "failed" and isinstance(stored.get("reason"), str):
                told = one_line(without_folders(stored["reason"]))
                raise SchemaError(f"failed: {told}") from error
            raise


class ProtocolRecord(StageRecord):
    """What stages have whose numbers are of a version of the protocol."""

    protocol_version: Count = FIRST_PROTOCOL

    @property
    def outdated(self) -> str:
        """As of any stage."""
        return other_version("protocol", self.protocol_version, PROTOCOL_VERSION)


def other_version(what: str, found: int, now: int) -> str:
    """That this isn't of the version of now, in words; "" where it is."""
    return "" if found == now else f"of {what} version {found}, not {now}"


class CostRecord(Schema):
    """`defenses.cost.Cost`: passes of single examples, and what they come to."""

    forwards: Amount | None = None
    backwards: Amount | None = None
    second_order: Amount | None = None
    gradient_evaluations: Amount | None = None

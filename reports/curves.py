"""What cells hold of security curves, robust accuracy over budgets: read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from benchmark.results import Store
from reports.keyed import read_keyed
from reports.left_out import LeftOut

FOLDER = "curves"

Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
Budget = Annotated[FiniteFloat, Field(ge=0, le=1e18)]


class CurveRecord(BaseModel):
    """curves/<key>.json; without numbers where the status is not "ok"."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    attack: str
    norm: str = ""
    eps: list[Budget] = []
    robust_accuracy: list[Share] = []
    examples: Annotated[int, Field(ge=1, le=2**62)] | None = None
    origin: Literal["minimal-norm", "bounded"] | None = Field(None, alias="from")
    status: Literal["ok", "failed", "not-applicable"] = "ok"
    reason: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.status == "ok":
            if len(self.eps) < 2 or sorted(set(self.eps)) != self.eps:
                raise ValueError("eps must ascend")
            if len(self.robust_accuracy) != len(self.eps):
                raise ValueError("robust_accuracy must have a point for each eps")
            if sorted(self.robust_accuracy, reverse=True) != self.robust_accuracy:
                raise ValueError("robust_accuracy must not rise with eps")
        return self


@dataclass(frozen=True)
class Curve:
    """A security curve of a cell."""

    key: str
    record: CurveRecord

    def document(self) -> dict[str, Any]:
        """The curve as a JSON value."""
        return {"key": self.key, **self.record.model_dump(by_alias=True)}


def read_curves(store: Store, cell_id: str, left_out: LeftOut) -> tuple[Curve, ...]:
    """The curves of a cell, in the order of their keys."""
    found = read_keyed(store, cell_id, FOLDER, CurveRecord, left_out)
    return tuple(Curve(key, record) for key, record in found)

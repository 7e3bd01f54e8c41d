"""What cells hold of transfer between frameworks: read and checked."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from benchmark.results import Store
from reports.keyed import read_keyed
from reports.left_out import LeftOut

FOLDER = "transfers"

Share = Annotated[FiniteFloat, Field(ge=0, le=1)]


class Transfer(BaseModel):
    """transfers/<the twin's framework>.json.

    Args:
        twin: id of the cell that differs in nothing but the framework.
        attack: ART's class that made the examples.
        examples: how many there were: those that both models classify correctly.
        success: shares of them that fool a model: made on, tried on, this cell's model first.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    twin: str
    attack: str
    examples: Annotated[int, Field(ge=0, le=2**62)]
    success: list[list[Share]] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.success is not None and [len(row) for row in self.success] != [2, 2]:
            raise ValueError("success must be 2 by 2")
        return self


def read_transfers(store: Store, cell_id: str, left_out: LeftOut) -> tuple[Transfer, ...]:
    """The transfers of a cell, in the order of the frameworks."""
    return tuple(record for _, record in read_keyed(store, cell_id, FOLDER, Transfer, left_out))

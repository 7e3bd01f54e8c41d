"""What cells hold of security curves, robust accuracy over budgets: read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmark.results import Store
from benchmark.results.records import CurveRecord
from reports.keyed import read_keyed
from reports.left_out import LeftOut

FOLDER = "curves"


@dataclass(frozen=True)
class Curve:
    """A security curve of a cell."""

    key: str
    record: CurveRecord

    def document(self) -> dict[str, Any]:
        """The curve as a JSON value."""
        return {"key": self.key, **self.record.model_dump(by_alias=True, exclude={"files"})}


def read_curves(store: Store, cell_id: str, left_out: LeftOut) -> tuple[Curve, ...]:
    """The curves of a cell, in the order of their keys."""
    found = read_keyed(store, cell_id, FOLDER, CurveRecord, left_out)
    return tuple(Curve(key, record) for key, record in found)

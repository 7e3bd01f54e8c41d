"""What cells hold of trust checks: read and checked, for the page and the site."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from benchmark.results import Store
from reports.keyed import read_keyed
from reports.left_out import LeftOut

FOLDER = "trust"

# The check that a row without rank has flagged.
CLEAN_ACCURACY = "clean accuracy"

PASSED, FLAGGED, NOT_APPLICABLE = "passed", "flagged", "not-applicable"


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Check(_Record):
    """One trust check: what came of it, in a sentence, and on which evidence."""

    name: str
    status: Literal["passed", "flagged", "not-applicable"]
    sentence: str
    evidence: dict[str, FiniteFloat | str | int] = {}

    @property
    def shown_evidence(self) -> str:
        """The evidence in one line; numbers with four digits."""
        return ", ".join(
            f"{name.replace('_', ' ')}: {value if isinstance(value, str) else f'{value:.4g}'}"
            for name, value in self.evidence.items()
        )


class Trust(_Record):
    """trust/<suite>.json"""

    suite: str
    checks: Annotated[list[Check], Field(max_length=100)]

    @property
    def flags(self) -> list[Check]:
        """The checks that say that the numbers may be too kind."""
        return [check for check in self.checks if check.status == FLAGGED]


def read_trust(store: Store, cell_id: str, left_out: LeftOut) -> dict[str, Trust]:
    """The trust checks of a cell by suite; what can't be read is named."""
    found = read_keyed(store, cell_id, FOLDER, Trust, left_out)
    return {record.suite: record for _, record in found}

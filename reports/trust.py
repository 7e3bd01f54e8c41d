"""What cells hold of trust checks: read and checked, for the site."""

from __future__ import annotations

from benchmark.results import Store
from benchmark.results.records import TrustRecord
from reports.keyed import read_keyed
from reports.left_out import LeftOut

FOLDER = "trust"

# The check that a row without rank has flagged.
CLEAN_ACCURACY = "clean accuracy"

PASSED, FLAGGED, NOT_APPLICABLE = "passed", "flagged", "not-applicable"


def read_trust(store: Store, cell_id: str, left_out: LeftOut) -> dict[str, TrustRecord]:
    """The trust checks of a cell by suite; what can't be read is named."""
    found = read_keyed(store, cell_id, FOLDER, TrustRecord, left_out)
    return {record.suite: record for _, record in found}

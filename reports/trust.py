"""What cells hold of trust checks: read and checked, for the site."""

from __future__ import annotations

from benchmark.results import Store
from benchmark.results.records import TrustRecord
from reports.keyed import read_keyed
from reports.left_out import LeftOut

FOLDER = "trust"

# The check that a row without rank has flagged.
CLEAN_ACCURACY = "clean accuracy"


def read_trust(store: Store, cell_id: str, left_out: LeftOut) -> dict[str, TrustRecord]:
    """The trust checks of a cell by suite; what can't be read, or could not be made, is named."""
    found = {}
    for key, record in read_keyed(store, cell_id, FOLDER, TrustRecord, left_out):
        if record.status == "ok" and record.checks:
            found[record.suite] = record
        else:
            told = f": {record.reason}" if record.reason else ""
            left_out.add(f"cells/{cell_id}/{FOLDER}/{key}.json", f"no check was made{told}")
    return found

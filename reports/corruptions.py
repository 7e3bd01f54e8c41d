"""What cells hold of common corruptions: read and checked."""

from __future__ import annotations

from benchmark.results import Store
from benchmark.results.records import CorruptionsRecord
from reports.keyed import read_keyed
from reports.left_out import LeftOut

FOLDER = "corruptions"


def read_corruptions(store: Store, cell_id: str, left_out: LeftOut) -> CorruptionsRecord | None:
    """A cell's accuracy on corrupted images; None where it wasn't measured, or failed."""
    for _, record in read_keyed(store, cell_id, FOLDER, CorruptionsRecord, left_out):
        if record.status == "ok":
            return record
        left_out.add(f"cells/{cell_id}/{FOLDER}", f"{record.status}: {record.reason}")
    return None

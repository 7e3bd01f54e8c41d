"""What cells hold of transfer between frameworks: read and checked."""

from __future__ import annotations

from benchmark.results import Store
from benchmark.results.records import TransferRecord
from reports.keyed import read_keyed
from reports.left_out import LeftOut

FOLDER = "transfers"


def read_transfers(store: Store, cell_id: str, left_out: LeftOut) -> tuple[TransferRecord, ...]:
    """The transfers of a cell, in the order of the frameworks."""
    return tuple(
        record for _, record in read_keyed(store, cell_id, FOLDER, TransferRecord, left_out)
    )

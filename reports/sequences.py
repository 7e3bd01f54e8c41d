"""What cells hold of the sequence protocol: read and checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.errors import StoreError
from benchmark.results import Store
from benchmark.results.records import SequenceRecord
from reports.keyed import read_keyed
from reports.left_out import LeftOut

FOLDER = "sequences"


@dataclass(frozen=True)
class Sequence:
    """One learner of one cell.

    `worst`, (episodes,), is under all families together in the end; None without a result.
    """

    record: SequenceRecord
    worst: np.ndarray | None = None


def read_sequences(store: Store, cell_id: str, left_out: LeftOut) -> tuple[Sequence, ...]:
    """All learners of a cell in the order of their keys; those without a result too."""
    found = []
    for key, record in read_keyed(store, cell_id, FOLDER, SequenceRecord, left_out):
        one = Sequence(record) if record.status != "ok" else _read(store, cell_id, key, record)
        if one is None:
            path = f"cells/{cell_id}/{FOLDER}/{key}.json"
            left_out.add(path, "its episodes are missing, or don't follow the schema")
        else:
            found.append(one)
    return tuple(found)


def _read(store: Store, cell_id: str, key: str, record: SequenceRecord) -> Sequence | None:
    try:
        arrays = store.read_arrays(cell_id, f"{FOLDER}/{key}", f"{key}.npz")
    except StoreError:
        return None
    each = len(record.families)
    shapes = {"correct": (record.episodes, each, each), "worst": (record.episodes, each)}
    for name, shape in shapes.items():
        value = arrays.get(name)
        if value is None or value.dtype.kind != "f" or value.shape != shape:
            return None
        if not ((value >= 0) & (value <= 1)).all():
            return None
    return Sequence(record, arrays["worst"][:, -1])

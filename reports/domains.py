"""What cells hold of adaptation to another data set: read and checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.errors import StoreError
from benchmark.results import Store
from benchmark.results.records import DomainRecord
from reports.keyed import read_keyed
from reports.left_out import LeftOut

FOLDER = "domains"


@dataclass(frozen=True)
class Domain:
    """One method of one cell; `robust` is (episodes, shots), None without a result."""

    record: DomainRecord
    robust: np.ndarray | None = None


def read_domains(store: Store, cell_id: str, left_out: LeftOut) -> tuple[Domain, ...]:
    """All methods of a cell in the order of their keys; those without a result too."""
    found = []
    for key, record in read_keyed(store, cell_id, FOLDER, DomainRecord, left_out):
        one = Domain(record) if record.status != "ok" else _read(store, cell_id, key, record)
        if one is None:
            path = f"cells/{cell_id}/{FOLDER}/{key}.json"
            left_out.add(path, "its episodes are missing, or don't follow the schema")
        else:
            found.append(one)
    return tuple(found)


def _read(store: Store, cell_id: str, key: str, record: DomainRecord) -> Domain | None:
    try:
        arrays = store.read_arrays(cell_id, f"{FOLDER}/{key}", f"{key}.npz")
    except StoreError:
        return None
    robust = arrays.get("robust")
    if robust is None or robust.dtype.kind != "f":
        return None
    right = robust.shape == (record.episodes, len(record.shots))
    return Domain(record, robust) if right and ((robust >= 0) & (robust <= 1)).all() else None

"""What cells hold of adaptation to another data set: read and checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.results import Store
from benchmark.results.records import DomainRecord
from reports.keyed import are_shares, read_episodes
from reports.left_out import LeftOut

FOLDER = "domains"


@dataclass(frozen=True)
class Domain:
    """One method of one cell; `robust` and `clean` are (episodes, shots), None without a result."""

    record: DomainRecord
    robust: np.ndarray | None = None
    clean: np.ndarray | None = None


def read_domains(store: Store, cell_id: str, left_out: LeftOut) -> tuple[Domain, ...]:
    """All methods of a cell in the order of their keys; those without a result too."""
    return tuple(read_episodes(store, cell_id, FOLDER, DomainRecord, _made, left_out))


def _made(record: DomainRecord, arrays: dict[str, np.ndarray]) -> Domain | None:
    if record.status != "ok":
        return Domain(record)
    found = [arrays.get(name) for name in ("robust", "clean")]
    right = all(are_shares(values, (record.episodes, len(record.shots))) for values in found)
    return Domain(record, *found) if right else None

"""What cells hold of the sequence protocol: read and checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.results import Store
from benchmark.results.records import SequenceRecord
from reports.keyed import are_shares, read_episodes
from reports.left_out import LeftOut

FOLDER = "sequences"


@dataclass(frozen=True)
class Sequence:
    """One learner of one cell; arrays are None without a result.

    `worst`, (episodes,), is under all families together in the end; `correct`, (episodes, arrivals,
    families), under each after each arrival.
    """

    record: SequenceRecord
    worst: np.ndarray | None = None
    correct: np.ndarray | None = None


def read_sequences(store: Store, cell_id: str, left_out: LeftOut) -> tuple[Sequence, ...]:
    """All learners of a cell in the order of their keys; those without a result too."""
    return tuple(read_episodes(store, cell_id, FOLDER, SequenceRecord, _made, left_out))


def _made(record: SequenceRecord, arrays: dict[str, np.ndarray]) -> Sequence | None:
    if record.status != "ok":
        return Sequence(record)
    each = len(record.families)
    shapes = {"correct": (record.episodes, each, each), "worst": (record.episodes, each)}
    right = all(are_shares(arrays.get(name), shape) for name, shape in shapes.items())
    return Sequence(record, arrays["worst"][:, -1], arrays["correct"]) if right else None

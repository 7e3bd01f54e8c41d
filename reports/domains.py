"""What cells hold of adaptation to another data set: read and checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.results import Store
from benchmark.results.records import DomainRecord
from reports.keyed import are_shares, fullest, read_episodes
from reports.left_out import LeftOut
from reports.weakness import is_weakly_attacked

FOLDER = "domains"


@dataclass(frozen=True)
class Domain:
    """One method of one cell; `robust` and `clean` are (episodes, shots), None without a result.

    `autoattack` is of the first episodes, maybe of none.
    """

    record: DomainRecord
    robust: np.ndarray | None = None
    clean: np.ndarray | None = None
    autoattack: np.ndarray | None = None

    @property
    def robust_of_attacked(self) -> list[float]:
        """For each number of shots, what PGD left of the episodes that AutoAttack saw."""
        if self.robust is None or self.autoattack is None:
            return []
        found: list[float] = self.robust[: len(self.autoattack)].mean(axis=0).tolist()
        return found

    @property
    def guesses(self) -> list[bool]:
        """For each number of shots, whether clean answers can't be told from guessing."""
        if self.robust is None:
            return [False for _ in self.record.shots]
        return [clean.low <= 1 / self.record.classes for clean in self.record.clean]

    @property
    def is_weakly_attacked(self) -> list[bool]:
        """For each number of shots, whether PGD was too weak to judge by."""
        if self.robust is None or self.autoattack is None:
            return [False for _ in self.record.shots]
        pairs = zip(self.robust.T, self.autoattack.T, strict=True)
        return [is_weakly_attacked(*pair, self.record.queries) for pair in pairs]


def read_domains(store: Store, cell_id: str, left_out: LeftOut) -> tuple[Domain, ...]:
    """All methods of a cell in the order of their keys; those without a result too.

    Of one that was run with AutoAttack on more and on fewer episodes the one with more.
    """
    found = fullest(
        read_episodes(store, cell_id, FOLDER, DomainRecord, _made, left_out),
        alike=lambda one: (one.record.size, one.record.method),
        has=lambda one: (one.robust is not None, one.record.autoattack_episodes),
    )
    return tuple(found)


def _made(record: DomainRecord, arrays: dict[str, np.ndarray]) -> Domain | None:
    if record.status != "ok":
        return Domain(record)
    attacked = min(record.autoattack_episodes, record.episodes)
    lengths = {"robust": record.episodes, "clean": record.episodes}
    lengths |= {"autoattack": attacked} if attacked else {}
    found = {name: arrays.get(name) for name in lengths}
    right = all(are_shares(found[n], (count, len(record.shots))) for n, count in lengths.items())
    return Domain(record, **found) if right else None

"""What cells hold of the few-shot protocol: read, checked, and what a model is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmark.results import Store
from benchmark.results.records import FewShotRecord
from reports.keyed import are_shares, fullest, read_episodes
from reports.left_out import LeftOut
from reports.weakness import is_weakly_attacked

FOLDER = "few-shot"
# What there is of each episode; the last two where they were asked for.
SHARES = ("clean", "robust", "stored_queries", "autoattack")


@dataclass(frozen=True)
class FewShot:
    """One read-out of one cell; `shares`, by their names in `SHARES`, are (episodes,)."""

    record: FewShotRecord
    shares: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def validation(self) -> float:
        """What its setting left on validation classes, which a read-out is chosen by."""
        tried = self.record.tuning.tried if self.record.tuning else []
        mine = [one["robust"] for one in tried if _is_of(one, self.record.setting)]
        return max(mine, default=-1.0)

    @property
    def guesses(self) -> bool:
        """Whether its answers to clean queries can't be told from guessing."""
        clean = self.record.clean
        return clean is not None and clean.low <= 1 / self.record.ways

    @property
    def is_weakly_attacked(self) -> bool:
        """Whether AutoAttack breaks so many queries that PGD has left, in the same episodes."""
        left = self.shares.get("autoattack", np.empty(0))
        robust = self.shares.get("robust", np.empty(0))
        return is_weakly_attacked(robust, left, self.record.ways * self.record.queries)


def read_few_shot(store: Store, cell_id: str, left_out: LeftOut) -> tuple[FewShot, ...]:
    """All read-outs of a cell, by ways, shots and name; those without a result too.

    Of one that was run with more and with less beside the same numbers the fullest.
    """
    found = fullest(
        read_episodes(store, cell_id, FOLDER, FewShotRecord, _made, left_out),
        alike=lambda one: (one.record.size, one.record.readout),
        has=lambda one: (bool(one.shares), one.record.autoattack_episodes, one.record.asks_stored),
    )
    return tuple(sorted(found, key=lambda o: (o.record.ways, o.record.shots, o.record.readout)))


def chosen(found: Sequence[FewShot]) -> FewShot | None:
    """The read-out of one size that a model is judged by: the best on validation classes."""
    ran = [one for one in found if one.shares]
    return max(ran, key=lambda one: one.validation, default=None)


def _made(record: FewShotRecord, arrays: dict[str, np.ndarray]) -> FewShot | None:
    if record.status != "ok":
        return FewShot(record)
    shares = {name: arrays[name] for name in SHARES if name in arrays}
    # Only the last is of some of the episodes.
    attacked = min(record.autoattack_episodes, record.episodes)
    lengths = {**dict.fromkeys(SHARES, record.episodes), SHARES[-1]: attacked}
    right = all(are_shares(values, (lengths[name],)) for name, values in shares.items())
    return FewShot(record, shares) if right and {"clean", "robust"} <= set(shares) else None


def _is_of(tried: Mapping[str, float], setting: Mapping[str, float]) -> bool:
    return all(tried.get(name) == value for name, value in setting.items())

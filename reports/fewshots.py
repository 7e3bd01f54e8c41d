"""What cells hold of the few-shot protocol: read, checked, and what a model is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmark.errors import StoreError
from benchmark.results import Store
from benchmark.results.records import FewShotRecord
from reports.keyed import read_keyed
from reports.left_out import LeftOut

FOLDER = "few-shot"
# What there is of each episode; the last two where they were asked for.
SHARES = ("clean", "robust", "stored_queries", "autoattack")

# What read-outs share that stand in one table: version, episodes, queries, attack steps, ways,
# shots.
Size = tuple[int, int, int, int, int, int]


@dataclass(frozen=True)
class FewShot:
    """One read-out of one cell; `shares`, by their names in `SHARES`, are (episodes,)."""

    record: FewShotRecord
    shares: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def size(self) -> Size:
        """What it may be compared within."""
        return (*self.record.size, self.record.shots)

    @property
    def validation(self) -> float:
        """What its setting left on validation classes, which a read-out is chosen by."""
        tried = self.record.tuning.tried if self.record.tuning else []
        mine = [one["robust"] for one in tried if _is_of(one, self.record.setting)]
        return max(mine, default=-1.0)


def read_few_shot(store: Store, cell_id: str, left_out: LeftOut) -> tuple[FewShot, ...]:
    """All read-outs of a cell, by ways, shots and name; those without a result too."""
    found = []
    for key, record in read_keyed(store, cell_id, FOLDER, FewShotRecord, left_out):
        one: FewShot | None = (
            FewShot(record) if record.status != "ok" else _with_shares(store, cell_id, key, record)
        )
        if one is None:
            path = f"cells/{cell_id}/{FOLDER}/{key}.json"
            left_out.add(path, "its episodes are missing, or don't follow the schema")
        else:
            found.append(one)
    return tuple(sorted(found, key=lambda o: (o.record.ways, o.record.shots, o.record.readout)))


def chosen(found: Sequence[FewShot]) -> FewShot | None:
    """The read-out of one size that a model is judged by: the best on validation classes."""
    ran = [one for one in found if one.shares]
    return max(ran, key=lambda one: one.validation, default=None)


def _with_shares(store: Store, cell_id: str, key: str, record: FewShotRecord) -> FewShot | None:
    try:
        arrays = store.read_arrays(cell_id, f"{FOLDER}/{key}", f"{key}.npz")
    except StoreError:
        return None
    shares = {name: arrays[name] for name in SHARES if name in arrays}
    whole = [name for name in SHARES[:3] if name in shares]
    right = all(
        value.dtype.kind == "f" and value.ndim == 1 and ((value >= 0) & (value <= 1)).all()
        for value in shares.values()
    )
    if not right or any(len(shares[name]) != record.episodes for name in whole):
        return None
    return FewShot(record, shares) if {"clean", "robust"} <= set(shares) else None


def _is_of(tried: Mapping[str, float], setting: Mapping[str, float]) -> bool:
    return all(tried.get(name) == value for name, value in setting.items())

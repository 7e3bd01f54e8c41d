"""What cells hold of the adaptation protocol: read, checked, and summed up.

A cell may hold several protocols of different size; shown is the one with the most episodes.
Numbers over held-out families are means of each episode's numbers: all families of a protocol have
the same supports and queries in an episode.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmark.errors import StoreError
from benchmark.results import Store
from benchmark.results.records import TUNING, FamilyRecord, TuningRecord
from reports.keyed import are_shares, read_stage
from reports.left_out import LeftOut
from reports.statistics import Interval, over_episodes

FOLDER = "adaptations"
HELD_OUT = "held-out"


@dataclass(frozen=True)
class FamilyResult:
    """One family of one cell; the arrays are there exactly when the status is "ok".

    `tuned` are the rates that its own was chosen among, and on how many episodes; empty where no
    tuning is stored that came to its rate.
    """

    record: FamilyRecord
    correct: np.ndarray | None = None  # (episodes, shots, steps)
    seen: np.ndarray | None = None  # (episodes, steps)
    tuned: tuple[Any, ...] = ()

    @property
    def size(self) -> tuple[Any, ...]:
        """What results share that are compared: the record's, and what the rate was chosen by."""
        return (*self.record.size, self.tuned)

    @property
    def held_out(self) -> bool:
        return self.record.role == HELD_OUT


@dataclass(frozen=True)
class Summary:
    """What the held-out families of a cell say together.

    `before` and `after` are at 0 and at the tuned steps, with the largest support; `area` is under
    the curve over steps, `forgetting` what the `seen_families` lose to it (negative), or gain.
    Where other runs have measured other seen families, it is of the families with most in common.
    """

    families: tuple[str, ...]
    shots: int
    episodes: int
    before: float
    after: float
    area: Interval
    area_of_each: np.ndarray  # (episodes,)
    forgetting: float
    seen_families: tuple[str, ...]
    over_steps: list[float]  # at the largest support
    over_shots: list[float]  # at the tuned steps
    seen: list[float]


def read_adaptations(store: Store, cell_id: str, left_out: LeftOut) -> tuple[FamilyResult, ...]:
    """The families of the cell's largest protocol, in the order of their roles and names."""
    keys = store.stage_keys(cell_id, FOLDER)
    of_tunings = [key for key in keys if f"{FOLDER}/{key}".startswith(TUNING)]
    tunings = [
        read_stage(store, cell_id, f"{FOLDER}/{key}", TuningRecord, left_out) for key in of_tunings
    ]
    found = [
        replace(one, tuned=_tuned(one.record, tunings))
        for key in keys
        if key not in of_tunings and (one := _read(store, cell_id, key, left_out)) is not None
    ]
    if not found:
        return ()
    # Of one size are also those that a rate was chosen for otherwise
    alike: dict[tuple[Any, ...], dict[str, FamilyResult]] = {}
    for one in found:
        told = one.record
        chosen_by = (told.rate, told.tuned_steps, one.tuned)
        mine = alike.setdefault((told.size, *chosen_by), {})
        mine[told.family] = one
    largest = max(alike, key=lambda size: (size[0], len(alike[size]), size))
    roles = ("seen", "validation", HELD_OUT)
    chosen = alike[largest].values()
    return tuple(sorted(chosen, key=lambda o: (roles.index(o.record.role), o.record.family)))


def _tuned(record: FamilyRecord, tunings: Iterable[TuningRecord | None]) -> tuple[Any, ...]:
    """The rates and episodes that a family's rate was chosen by.

    Where several tunings came to the same they make no difference to its numbers: the largest.
    """
    told = [
        (tuple(one.rates), one.episodes)
        for one in tunings
        if one is not None
        and (one.version, one.rate, one.tuned_steps, one.shots, one.steps)
        == (record.version, record.rate, record.tuned_steps, record.shots, record.steps)
        and one.labels_used == (record.shots[-1] + record.queries) * one.episodes
    ]
    return max(told, key=lambda one: (one[1], len(one[0]), one[0]), default=())


def summary(adaptations: tuple[FamilyResult, ...]) -> Summary | None:
    """What the held-out families say together; None where there is none with a result."""
    held = [one for one in adaptations if one.held_out and one.correct is not None]
    if not held:
        return None
    record = held[0].record
    tuned = record.steps.index(record.tuned_steps)
    correct = np.mean([one.correct for one in held if one.correct is not None], axis=0)
    told, alike = _alike(held)
    seen = np.mean(alike, axis=0)  # (episodes, steps)
    largest = correct[:, -1]  # (episodes, steps)
    areas = np.trapezoid(largest, record.steps, axis=1) / record.steps[-1]
    return Summary(
        families=tuple(one.record.family for one in held),
        shots=record.shots[-1],
        episodes=record.episodes,
        before=float(largest[:, 0].mean()),
        after=float(largest[:, tuned].mean()),
        area=over_episodes(areas, queries=record.queries),
        area_of_each=areas,
        forgetting=float((seen[:, tuned] - seen[:, 0]).mean()),
        seen_families=told,
        over_steps=largest.mean(axis=0).tolist(),
        over_shots=correct[:, :, tuned].mean(axis=0).tolist(),
        seen=seen.mean(axis=0).tolist(),
    )


def most_of(told: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The seen families that most have; of as many the first in order."""
    usual, _ = Counter(sorted(told)).most_common(1)[0]
    return usual


def _alike(held: Sequence[FamilyResult]) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """The seen families of most of these families, and what is left of them there."""
    told = [tuple(one.record.seen_families) for one in held]
    usual = most_of(told)
    return usual, [
        one.seen
        for one, mine in zip(held, told, strict=True)
        if mine == usual and one.seen is not None
    ]


def _read(store: Store, cell_id: str, key: str, left_out: LeftOut) -> FamilyResult | None:
    stage = f"{FOLDER}/{key}"
    path = f"cells/{cell_id}/{stage}.json"
    record = read_stage(store, cell_id, stage, FamilyRecord, left_out)
    if record is None or record.status != "ok":
        return None if record is None else FamilyResult(record)
    try:
        arrays = store.read_arrays(cell_id, stage, f"{key}.npz")
    except StoreError:
        left_out.add(path, "it has no curves that can be read")
        return None
    correct, seen = arrays.get("correct"), arrays.get("seen")
    shapes = (
        (record.episodes, len(record.shots), len(record.steps)),
        (record.episodes, len(record.steps)),
    )
    if not (are_shares(correct, shapes[0]) and are_shares(seen, shapes[1])):
        left_out.add(path, "its curves don't follow the schema")
        return None
    return FamilyResult(record, correct, seen)

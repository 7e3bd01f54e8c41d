"""From a results folder to checked values; whatever can't be read is named and left out.

Stored records are taken as hostile: each is checked against the schema here, once, and everything
after can trust the types. Texts in them remain texts, to be escaped where they are shown.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import SchemaError, StoreError
from benchmark.results import STAGES, Store, dataset_name, failed_stages, fits
from benchmark.results.records import (
    AttackRecord,
    CellRecord,
    CertificationRecord,
    ClaimsRecord,
    CorruptionsRecord,
    ExternalRecord,
    PublishedRecord,
    SupportRecord,
    TrainingRecord,
    TransferRecord,
    TrustRecord,
)
from reports.adaptations import FamilyResult, read_adaptations
from reports.attacked import ARRAYS, Outcomes, outcomes_of
from reports.certification import read_certifications
from reports.corruptions import read_corruptions
from reports.curves import Curve, read_curves
from reports.domains import Domain, read_domains
from reports.fewshots import FewShot, read_few_shot
from reports.keyed import of_this_version, read_stage
from reports.left_out import NO_CELL, STRAY, STRAY_OF_ATTACKS, LeftOut
from reports.runs import Run, read_runs
from reports.sequences import Sequence, read_sequences
from reports.text import one_line
from reports.transfers import read_transfers
from reports.trust import read_trust

CLAIMS = "claims"  # folder of the adversarial examples that others made


@dataclass(frozen=True)
class Attack:
    """One attack of one cell; `outcomes` is there exactly when the status is "ok"."""

    key: str
    name: str
    status: str  # "ok", "failed", "not-applicable" or "missing"
    reason: str = ""
    record: AttackRecord | None = None
    outcomes: Outcomes | None = None
    folder: str = "attacks"

    @property
    def claimed(self) -> bool:
        """Whether somebody made it elsewhere; then it is of the cell, and of no suite."""
        return self.folder == CLAIMS

    @property
    def without_result(self) -> bool:
        """Whether it should have a result and has none."""
        return self.status in ("failed", "missing")


@dataclass(frozen=True)
class Cell:
    """One cell that ended, with all of its attacks by key."""

    cell_id: str
    record: CellRecord
    config: dict[str, Any]  # as stored, to be shown
    training: TrainingRecord | None
    adaptation: SupportRecord | None
    attacks: dict[str, Attack]
    adaptations: tuple[FamilyResult, ...] = ()
    trust: dict[str, TrustRecord] = field(default_factory=dict)  # by suite
    curves: tuple[Curve, ...] = ()
    transfers: tuple[TransferRecord, ...] = ()
    runs: dict[str, Run] = field(default_factory=dict)  # by suite
    corruptions: CorruptionsRecord | None = None
    certifications: tuple[CertificationRecord, ...] = ()
    few_shot: tuple[FewShot, ...] = ()
    sequences: tuple[Sequence, ...] = ()
    domains: tuple[Domain, ...] = ()
    published: PublishedRecord | None = None

    def under(self, suite: str) -> list[Attack]:
        """The attacks of a suite in its order, then what others claim, which counts in each."""
        keys = dict.fromkeys(self.record.suites.get(suite, ()))
        return [*(self.attacks[key] for key in keys), *self._claims] if keys else []

    @property
    def _claims(self) -> list[Attack]:
        return [one for one in self.attacks.values() if one.claimed]

    def class_name(self, label: int | None) -> str | None:
        """What a label is called: the class's name where it is stored, else its number."""
        if label is None:
            return None
        known = self.record.classes
        return known[label] if 0 <= label < len(known) else str(label)


@dataclass(frozen=True)
class Results:
    """Everything that could be read of a store, by cell id, and what could not."""

    store: Store
    cells: tuple[Cell, ...]
    left_out: LeftOut


# How the names of claims begin.
CLAIMED = "claims by "

# Stages whose failures a leaderboard tells.
_TOLD_ELSEWHERE = ("attacks/", "trust/")

# A results folder, or what was read of it.
Source = Path | str | Results


def read(out: Source, only: Collection[str] | None = None) -> Results:
    """All cells of a results folder, or those given; what was read already is given back.

    Raises `StoreError` if `out` isn't one.
    """
    if isinstance(out, Results):
        return out
    store = Store.open(out)
    left_out = LeftOut()
    cell_ids = store.cell_ids()
    if only is None:
        for name in _names(store.path / "cells") - set(cell_ids):
            left_out.add(f"cells/{name}", NO_CELL)
    else:
        cell_ids = [cell_id for cell_id in cell_ids if cell_id in only]
    cells = [_read_cell(store, cell_id, left_out) for cell_id in cell_ids]
    return Results(store, tuple(cell for cell in cells if cell is not None), left_out)


def failures(out: Path | str) -> dict[str, dict[str, str]]:
    """Cell to its stages that failed, and why; but for attacks and trust checks, told elsewhere."""
    store = Store.open(out)
    return {
        cell_id: {
            stage: one_line(str(record.get("reason", "")))
            for stage, record in failed_stages(store, cell_id)
            if not stage.startswith(_TOLD_ELSEWHERE)
        }
        for cell_id in store.cell_ids()
    }


def _read_cell(store: Store, cell_id: str, left_out: LeftOut) -> Cell | None:
    folder = store.cell_folder(cell_id)
    stored = store.read_cell(cell_id)
    if stored is None:
        exists = (folder / "cell.json").exists()
        reason = (
            "damaged, changed, or of another schema"
            if exists
            else "this cell hasn't ended: run it again, or delete its folder"
        )
        left_out.add(f"cells/{cell_id}" + ("/cell.json" if exists else ""), reason)
        return None
    try:
        record = CellRecord.read(stored)
    except SchemaError as error:
        left_out.add(f"cells/{cell_id}/cell.json", str(error))
        return None
    if not fits(cell_id, stored["config"]):
        left_out.add(f"cells/{cell_id}/cell.json", "its configuration is that of another cell")
        return None
    known = {"cell.json", *store.stage_folders(cell_id)}
    training = read_stage(store, cell_id, "training", TrainingRecord, left_out)
    adaptation = read_stage(store, cell_id, "adaptation", SupportRecord, left_out)
    given = read_stage(store, cell_id, "given", ExternalRecord, left_out)
    for stage in STAGES:
        known |= {f"{stage}.json", *(store.read_stage(cell_id, stage) or {"files": ()})["files"]}
    for name in _names(folder) - known:
        left_out.add(f"cells/{cell_id}/{name}", STRAY)
    if record.status == "ok" and not any(record.suites.values()):
        left_out.add(f"cells/{cell_id}", "it ended well, but no attack was run on it")
    return Cell(
        cell_id,
        record,
        _shown(stored["config"]),
        training,
        adaptation,
        _read_attacks(store, cell_id, record, left_out),
        read_adaptations(store, cell_id, left_out),
        read_trust(store, cell_id, left_out),
        read_curves(store, cell_id, left_out),
        read_transfers(store, cell_id, left_out),
        read_runs(store, cell_id, left_out),
        read_corruptions(store, cell_id, left_out),
        read_certifications(store, cell_id, left_out),
        read_few_shot(store, cell_id, left_out),
        read_sequences(store, cell_id, left_out),
        read_domains(store, cell_id, left_out),
        None if given is None else given.published,
    )


def _shown(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration as it is published: without the folders of the machine."""
    dataset = config["dataset"]
    return {**config, "dataset": {**dataset, "name": dataset_name(dataset["name"])}}


def _read_attacks(
    store: Store, cell_id: str, record: CellRecord, left_out: LeftOut
) -> dict[str, Attack]:
    """The attacks that the suites name; one that can't be read has the status "missing"."""
    prefix = f"cells/{cell_id}/attacks"
    stored = store.stage_keys(cell_id, "attacks")
    known = {f"{key}{suffix}" for key in stored for suffix in (".json", ".npz")}
    for name in _names(store.cell_folder(cell_id) / "attacks") - known:
        left_out.add(f"{prefix}/{name}", STRAY_OF_ATTACKS)
    named = {key for keys in record.suites.values() for key in keys}
    for key in set(stored) - named:
        if store.read_stage(cell_id, f"attacks/{key}") is None:
            left_out.add(f"{prefix}/{key}.json", "damaged or foreign: no suite names it")
    attacks: dict[str, Attack] = {}
    index: np.ndarray | None = None
    for key in sorted(named):
        attack = _read_attack(store, cell_id, key)
        if attack.outcomes is not None:
            found = attack.outcomes.test_index
            index = found if index is None else index
            if not np.array_equal(index, found):
                attack = _missing(key, "attacked other examples than the attacks before it")
        if attack.status == "missing" and record.status == "ok":
            left_out.add(f"{prefix}/{key}.json", attack.reason)
        attacks[key] = attack
    return attacks | _read_claims(store, cell_id, index, left_out)


def _read_claims(
    store: Store, cell_id: str, index: np.ndarray | None, left_out: LeftOut
) -> dict[str, Attack]:
    """What others claim; whatever gives no outcomes is left out, and lowers nothing."""
    found: dict[str, Attack] = {}
    for key in store.stage_keys(cell_id, CLAIMS):
        one = _read_attack(store, cell_id, key, folder=CLAIMS)
        if not one.name.startswith(CLAIMED):  # it could stand for an attack of the suite
            left_out.add(f"cells/{cell_id}/{CLAIMS}/{key}.json", "its name is not one of claims")
        elif one.outcomes is None or index is None:
            left_out.add(f"cells/{cell_id}/{CLAIMS}/{key}.json", one.reason or one.status)
        elif not np.array_equal(one.outcomes.test_index, index):
            left_out.add(f"cells/{cell_id}/{CLAIMS}/{key}.json", "it is of other examples")
        else:
            names = [other.name for other in found.values()]
            again = names.count(one.name)
            found[key] = replace(one, name=f"{one.name} ({again + 1})") if again else one
    return found


def _read_attack(store: Store, cell_id: str, key: str, *, folder: str = "attacks") -> Attack:
    stage = f"{folder}/{key}"
    try:
        stored = store.read_stage(cell_id, stage)
        if stored is None:
            return _missing(key, "missing, damaged, or measured on other weights")
        schema = ClaimsRecord if folder == CLAIMS else AttackRecord
        record = of_this_version(schema.read(stored))
        if record.status != "ok":
            return Attack(key, record.name or key, record.status, record.reason, record)
        arrays = store.read_arrays(cell_id, stage, f"{key}.npz", only=ARRAYS)
        outcomes = outcomes_of(arrays)
    except SchemaError as error:
        return _missing(key, str(error))
    except StoreError:
        return _missing(key, "it has no outcomes that can be read")
    if outcomes is None:
        return _missing(key, "its outcomes don't follow the schema")
    return Attack(key, record.name or key, "ok", record.reason, record, outcomes, folder)


def _missing(key: str, reason: str) -> Attack:
    return Attack(key, key.rpartition("-")[0] or key, "missing", reason)


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()

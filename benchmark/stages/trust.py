"""The trust checks: the stored attacks of a cell brought together and looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from benchmark.attacks.classes import attack_class
from benchmark.attacks.suites import AttackSpec
from benchmark.cells import BASELINE, Cell
from benchmark.results import Record, Store
from benchmark.results.identity import CHECKS_VERSION, checks_of
from benchmark.results.records import TrustRecord
from benchmark.stages.attack import Attack
from benchmark.stages.context import Context
from benchmark.stages.stage import Result, Stage
from benchmark.trust.checks import run
from benchmark.trust.subject import Attacked, Subject

# Examples that are looked at, and effort on each, roughly.
_EXAMPLES, _EACH = 64, 350.0

# What a cell and its undefended twin share.
_SHARED = ("dataset", "model", "framework", "threat", "seed", "examples", "extra_data")


class TrustChecks(Stage):
    """Stage "trust/<suite>": every check of `benchmark.trust.checks`, with its evidence.

    It is made again where the attacks have other outcomes than those that it looked at, and where
    the checks are of another version.

    Args:
        suite: its name.
        attacks: the stages of its attacks.
        examples: of the cell.
        needs: the stages that make the model.
    """

    label = "trust checks"

    def __init__(
        self,
        suite: str,
        path: str,
        attacks: Sequence[Attack],
        examples: int,
        needs: tuple[str, ...],
    ) -> None:
        self.suite, self.path, self.attacks, self.needs = suite, path, attacks, needs
        self.effort = min(examples, _EXAMPLES) * _EACH

    def run(self, context: Context) -> Result:
        """Checks; one that can't be made is flagged."""
        progress = context.reporter.stage(self.label)
        record = run(self.subject(context), progress=progress)
        attacks = self._checksums(context.store, context.cell.cell_id)
        made = TrustRecord(
            suite=self.suite,
            attacks=attacks,
            status="ok",
            checks_version=CHECKS_VERSION,
            **record,
        )
        return made, {}

    def fits(self, record: Record, store: Store, cell_id: str) -> bool:
        """Whether the checks are these, and the attacks have the outcomes that they had."""
        if checks_of(record) != CHECKS_VERSION:
            return False
        return bool(record.get("attacks") == self._checksums(store, cell_id))

    def failed(self, reason: str) -> TrustRecord:
        """The record where the checks could not be begun."""
        return TrustRecord(suite=self.suite, attacks={}, checks=[], status="failed", reason=reason)

    def _checksums(self, store: Store, cell_id: str) -> dict[str, list[str]]:
        """Key of each attack to the checksums of its outcomes, which change with them."""
        records = {one.key: store.read_stage(cell_id, one.path) or {} for one in self.attacks}
        return {key: sorted(record.get("files", {}).values()) for key, record in records.items()}

    def subject(self, context: Context) -> Subject:
        """What the checks look at."""
        cell, target = context.cell, context.target
        return Subject(
            estimator=target.estimator,
            pipeline=target.once,
            x=target.x,
            y=target.y,
            clean_prediction=target.clean_prediction,
            norm=cell.norm,
            eps=cell.eps,
            seed=cell.seed,
            attacks=[_attacked(context, stage) for stage in self.attacks],
            twin=_left_of_twin(context, self.attacks),
            is_twin=cell.defense == BASELINE,
            trained_here=cell.source is None,
            judge=target.judge,
            clean=target.clean,
            weights=target.weights,
        )


def _attacked(context: Context, stage: Attack) -> Attacked:
    record = context.record(stage.path) or {"name": stage.spec.name, "status": "missing"}
    arrays = _arrays(context.store, context.cell.cell_id, stage, record)
    # What has failed may be so since its class isn't there, and says nothing of budgets
    bounded = record["status"] == "ok" and _bounded(stage.spec)
    return Attacked(record, arrays, bounded=bounded)


def _arrays(store: Store, cell_id: str, stage: Attack, record: Record) -> dict[str, np.ndarray]:
    has_arrays = record["status"] == "ok"
    return store.read_arrays(cell_id, stage.path, f"{stage.key}.npz") if has_arrays else {}


def _bounded(spec: AttackSpec) -> bool:
    """Whether the attack is told a budget; minimal-norm attacks leave it where they have to."""
    return "eps" in attack_class(spec.entry).attack_params


def _left_of_twin(context: Context, attacks: Sequence[Attack]) -> float | None:
    """The share of the undefended twin's correct examples that the same attacks leave right.

    Of those that any of them was run on: slow ones are on some.
    """
    cell, store = context.cell, context.store
    twin = _twin(cell, store)
    if twin is None:
        return None
    found = []
    for stage in attacks:
        record = store.read_stage(twin, stage.path)
        if record is None or record.get("status") != "ok":
            continue
        if (record["norm"], record["eps"]) != (cell.norm, cell.eps):
            continue
        found.append(_arrays(store, twin, stage, record))
    if not found:
        return None
    met = np.any([one["clean_correct"] & one.get("attacked", True) for one in found], axis=0)
    broken = np.any([one["success"] for one in found], axis=0)
    return float(1 - broken[met].mean()) if met.any() else None


def _twin(cell: Cell, store: Store) -> str | None:
    """The cell that differs in nothing but that it is undefended; the cell itself if it is that."""
    if cell.defense == BASELINE:
        return cell.cell_id
    ours = cell.config()
    # Ids begin alike, so that other cells are not read.
    prefix = f"{dataclasses.replace(cell, defense=BASELINE).trained_prefix}-s{cell.seed}-"
    for cell_id in store.cell_ids(prefix):
        record = store.read_cell(cell_id)
        config = (record or {}).get("config", {})
        if _is_baseline(config) and all(config.get(name) == ours.get(name) for name in _SHARED):
            return cell_id
    return None


def _is_baseline(config: Record) -> bool:
    return bool(config) and config.get("defense", {}).get("name") == BASELINE

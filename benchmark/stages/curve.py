"""The security curve: robust accuracy over a grid of budgets."""

from __future__ import annotations

from benchmark.attacks.curves import Arrays, from_bounded_runs, from_distances
from benchmark.attacks.suites import SecurityCurve
from benchmark.results import Record, npz_writer
from benchmark.results.identity import PROTOCOL_VERSION
from benchmark.results.records import CurveRecord
from benchmark.stages.attack import Attack, effort_each
from benchmark.stages.context import Context
from benchmark.stages.stage import Result, Versioned


class Curve(Versioned):
    """Stage "curves/<key>": a record, and an npz with `success`, (budgets, n) bool.

    Where its attack is not applicable or failed, so is the curve.

    Args:
        curve: the budgets and the attack's name.
        key: changes with everything that changes the curve on this cell.
        attack: the stage of the attack.
        examples: of the cell.
    """

    def __init__(self, curve: SecurityCurve, key: str, attack: Attack, examples: int) -> None:
        self.curve, self.key, self.attack = curve, key, attack
        self.path, self.label = f"curves/{key}", f"curve {curve.attack}"
        self.needs = (*attack.needs, attack.path)
        count = min(examples, curve.examples or examples)
        each = effort_each(attack.spec)
        self.effort = count * each * len(curve.budgets)

    def run(self, context: Context) -> Result:
        """From the distances of a minimal-norm attack, or from a run at each budget.

        Always the latter of a random model, whose nearest points tell nothing.
        """
        record, arrays = self.drawn(context)
        files = {f"{self.key}.npz": npz_writer(arrays)} if arrays else {}
        return CurveRecord(**record, protocol_version=PROTOCOL_VERSION), files

    def drawn(self, context: Context) -> tuple[Record, Arrays]:
        """The record, and its arrays where there is a curve."""
        told = context.record(self.attack.path)
        if told["status"] != "ok" or told["eps"] is None:
            reason = told["reason"] or "its threat has no budget"
            return {"attack": self.curve.attack, "status": "not-applicable", "reason": reason}, {}
        cell = context.cell
        is_random = told.get("draws", 1) > 1
        if self.attack.spec.entry.is_minimal and not is_random:
            name = f"{self.attack.key}.npz"
            arrays = context.store.read_arrays(cell.cell_id, self.attack.path, name)
            return from_distances(self.curve, told, arrays)
        return from_bounded_runs(
            self.curve,
            self.attack.spec,
            context.target,
            norm=cell.norm,
            eps=cell.eps,
            seed=cell.seed,
            progress=context.reporter.stage(self.label),
            timeout=self.attack.timeout,
        )

    def failed(self, reason: str) -> CurveRecord:
        """The record where it could not be drawn."""
        return CurveRecord(attack=self.curve.attack, status="failed", reason=reason)

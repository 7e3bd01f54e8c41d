"""Adversarial examples that somebody made elsewhere, judged on the cell's model."""

from __future__ import annotations

from benchmark.attacks.claims import PREFIX, Claims, judge
from benchmark.results import npz_writer
from benchmark.results.identity import PROTOCOL_VERSION
from benchmark.results.records import ClaimsRecord
from benchmark.stages.context import Context
from benchmark.stages.stage import Result, Stage


class ForeignClaims(Stage):
    """Stage "claims/<key>": a record and arrays as of an attack, and the points.

    They are of the cell, not of a suite: the worst case under each of its suites counts them.

    Args:
        claims: about examples of the cell.
        needs: the stages that make the model.
    """

    def __init__(self, claims: Claims, needs: tuple[str, ...]) -> None:
        self.claims, self.needs = claims, needs
        self.key = claims.key
        self.path, self.label = f"claims/{self.key}", f"{PREFIX}{claims.author}"
        self.effort = float(len(claims.index))

    def run(self, context: Context) -> Result:
        """Measures and asks once."""
        cell = context.cell
        context.reporter.stage(self.label)
        record, arrays = judge(
            self.claims, context.target, norm=cell.norm, eps=cell.eps, seed=cell.seed
        )
        record["protocol_version"] = PROTOCOL_VERSION
        found = ClaimsRecord(**record)
        context.reporter.notice(f"{self.label}: {found.judgement}")
        return found, {f"{self.key}.npz": npz_writer(arrays)}

    def failed(self, reason: str) -> ClaimsRecord:
        """The record where they could not be judged."""
        return ClaimsRecord(key=self.key, name=self.label, status="failed", reason=reason)

"""What the stages of a cell store: its model, attacks, trust checks, curves and transfers."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from benchmark.results.identity import CHECKS_VERSION, FIRST_CHECKS
from benchmark.results.records.schema import (
    Amount,
    CostRecord,
    Count,
    ProtocolRecord,
    Schema,
    Share,
    StageRecord,
    Status,
    Table,
    other_version,
)


class ModelRecord(StageRecord):
    """What making a model took."""

    seconds: Amount
    threads: Count | None = None
    steps: Count | None = None
    cost: CostRecord = CostRecord()


class TrainingRecord(ModelRecord):
    """training.json

    taken_from: the cell whose training gave the same weights. peak_memory: bytes of the process,
    with framework and data, at most; on a CPU, where the system tells.
    """

    learned: Any = None
    history: list[dict[str, Any]] = []
    overfitting: dict[str, Any] | None = None
    restored_epoch: Count | None = None
    notices: list[str] = []
    taken_from: str | None = None
    peak_memory: Amount | None = None


class SupportRecord(ModelRecord):
    """adaptation.json"""

    labels_used: Count | None = None


class PublishedRecord(Schema):
    """Robust and clean accuracy that somebody published of a model, and where."""

    robust_accuracy: Share
    clean_accuracy: Share | None = None
    source: str = ""


class ExternalRecord(StageRecord):
    """given.json; `published` is what the user told, or the table of a model zoo."""

    seconds: Amount
    source: dict[str, Any]
    published: PublishedRecord | None = None


class Violations(Schema):
    """How many points of an attack left the budget or the box, or are not finite."""

    budget: Count = 0
    box: Count = 0
    non_finite: Count = 0


class AttackRecord(ProtocolRecord):
    """attacks/<key>.json

    `source` is the defense on whose model it was made, `made_on` the cell with that model.
    `draws`: of each answer of a random model; what one of them is expected to get right before and
    after it are `clean_expected_accuracy` and `expected_accuracy`. `batch_size`: examples at a
    time, where that isn't 250. Those from `seconds` on are of an attack that ran.
    """

    status: Status
    key: str = ""
    name: str
    attack: str = ""
    arguments: dict[str, Any] = {}
    identity: list[Any] | None = None
    families: list[str] = []
    norm: str = ""
    eps: Amount | None = None
    own_threat: bool = False
    examples: Count | None = None
    batch_size: Count | None = None
    source: str | None = None
    made_on: str = ""
    draws: Count | None = None
    clean_expected_accuracy: Share | None = None
    expected_accuracy: Share | None = None
    seconds: Amount | None = None
    forwards: Amount | None = None
    backwards: Amount | None = None
    clean_accuracy: Share | None = None
    robust_accuracy: Share | None = None
    violations: Violations = Violations()
    abstained: Count | None = None
    silent: Count | None = None
    forgot: Count | None = None


class ClaimsRecord(AttackRecord):
    """claims/<key>.json: adversarial examples of `author`, about `claimed` of the examples.

    `text` is what the author says of them.
    """

    author: str = ""
    text: str = ""
    claimed: Count | None = None

    @property
    def judgement(self) -> str:
        """How many of the claims hold, and what is known of those that don't."""
        lost = (self.clean_accuracy or 0) - (self.robust_accuracy or 0)
        held = round(lost * (self.examples or 0))
        counts = {
            "beyond the budget": self.violations.budget,
            "outside of [0, 1]": self.violations.box,
            "not finite": self.violations.non_finite,
        }
        faults = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        return f"{held} of {self.claimed} hold" + (f" ({faults})" if faults else "")


class CheckRecord(Schema):
    """One trust check: what came of it, in a sentence, and on which evidence."""

    name: str
    status: Literal["passed", "flagged", "not-applicable"]
    sentence: str
    evidence: dict[str, FiniteFloat | int | str] = {}

    @property
    def shown_evidence(self) -> str:
        """The evidence in one line; numbers with four digits."""
        return ", ".join(
            f"{name.replace('_', ' ')}: {value if isinstance(value, str) else f'{value:.4g}'}"
            for name, value in self.evidence.items()
        )


class TrustRecord(StageRecord):
    """trust/<suite>.json; `attacks` maps the key of each to the checksums of its outcomes."""

    checks_version: Count = FIRST_CHECKS
    suite: str
    attacks: dict[str, list[str]] = {}
    checks: Annotated[list[CheckRecord], Field(max_length=100)]
    seconds: Amount | None = None
    forwards: Amount | None = None
    backwards: Amount | None = None

    @property
    def outdated(self) -> str:
        """As of any stage."""
        return other_version("trust checks", self.checks_version, CHECKS_VERSION)

    @property
    def flags(self) -> list[CheckRecord]:
        """The checks that say that the numbers may be too kind."""
        return [check for check in self.checks if check.status == "flagged"]

    @property
    def too_few(self) -> list[CheckRecord]:
        """The checks that say nothing since the attacks ran on too few examples."""
        aside = [check for check in self.checks if check.status == "not-applicable"]
        return [check for check in aside if "too_few" in check.evidence]


class CurveRecord(ProtocolRecord):
    """curves/<key>.json, a security curve; without numbers where the status is not "ok"."""

    attack: str
    norm: str = ""
    eps: list[Amount] = []
    robust_accuracy: list[Share] = []
    examples: Annotated[int, Field(ge=1, le=2**62)] | None = None
    origin: Literal["minimal-norm", "bounded"] | None = Field(default=None, alias="from")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.status == "ok":
            if len(self.eps) < 2 or sorted(set(self.eps)) != self.eps:
                raise ValueError("eps must ascend")
            if len(self.robust_accuracy) != len(self.eps):
                raise ValueError("robust_accuracy must have a point for each eps")
            if sorted(self.robust_accuracy, reverse=True) != self.robust_accuracy:
                raise ValueError("robust_accuracy must not rise with eps")
        return self


class CorruptionsRecord(ProtocolRecord):
    """corruptions/common.json

    Args:
        corruptions: their names.
        constants: the data set whose severities these are.
        accuracy: a row for each corruption, a share for each of 5 severities.
        mean, low, high: mean corruption accuracy, over all of these, with its 95 % interval.
        clean_accuracy: of the same examples as they are.
    """

    corruptions: list[str] = []
    constants: str = ""
    accuracy: Table = []
    mean: Share | None = None
    low: Share | None = None
    high: Share | None = None
    clean_accuracy: Share | None = None
    examples: Count | None = None
    seconds: Amount | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.status == "ok":
            if not self.accuracy or len(self.accuracy) != len(self.corruptions):
                raise ValueError("accuracy must have a row for each of corruptions")
            if any(len(row) != 5 for row in self.accuracy):
                raise ValueError("accuracy must have a share for each of 5 severities")
            if None in (self.mean, self.low, self.high, self.clean_accuracy, self.examples):
                raise ValueError("mean, low, high, clean_accuracy and examples must be there")
        return self


class CertificationRecord(StageRecord):
    """certification/<key>.json, by randomised smoothing with `sigma`, `n0`, `n` and `alpha`.

    Args:
        examples: how many were certified.
        radii: L2 radii, ascending.
        certified_accuracy: of each, the share that is right with a certificate that goes so far.
        abstained: examples of which nothing is certified.
        mean_radius: over all examples, 0 for those that are wrong.
        radius_needed: the least L2 radius whose ball holds the cell's threat.
        certified: the share that is right with a certificate that goes so far.
        broken: certificates that an attack showed to be wrong; the status is "failed" then.
    """

    sigma: Amount | None = None
    n0: Count | None = None
    n: Count | None = None
    alpha: Share | None = None
    examples: Count | None = None
    radii: list[Amount] = []
    certified_accuracy: list[Share] = []
    abstained: Count | None = None
    mean_radius: Amount | None = None
    radius_needed: Amount | None = None
    certified: Share | None = None
    broken: Count | None = None
    seconds: Amount | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.status == "ok":
            asked, told = (self.sigma, self.n, self.alpha), (self.certified, self.abstained)
            if not self.examples or None in (*asked, *told, self.radius_needed, self.mean_radius):
                raise ValueError("what was asked for and what came of it must be there")
            if len(self.radii) < 2 or sorted(set(self.radii)) != self.radii:
                raise ValueError("radii must ascend")
            if len(self.certified_accuracy) != len(self.radii):
                raise ValueError("certified_accuracy must have a point for each of radii")
            if sorted(self.certified_accuracy, reverse=True) != self.certified_accuracy:
                raise ValueError("certified_accuracy must not rise with the radius")
            if self.broken:
                raise ValueError("a broken certificate is no result")
        return self


class TransferRecord(StageRecord):
    """transfers/<the twin's framework>.json

    Args:
        twin: id of the cell that differs in nothing but the framework.
        attack: ART's class that made the examples.
        examples: how many there were: those that both models classify correctly.
        success: shares of them that fool a model: made on, tried on, this cell's model first.
    """

    twin: str
    attack: str
    arguments: dict[str, Any] = {}
    examples: Count
    success: Table | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.success is not None and [len(row) for row in self.success] != [2, 2]:
            raise ValueError("success must be 2 by 2")
        return self

"""What the meta-test stores: the tuning, and each attack family."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from benchmark.results.records.schema import (
    Amount,
    CostRecord,
    Count,
    Number,
    Points,
    ProtocolRecord,
    Schema,
    Share,
    Status,
    Table,
)


class MetaTestRecord(ProtocolRecord):
    """What the records of all meta-tests have: the version of their own protocol.

    Numbers of different versions are never ranked together; `VERSION` is the one measured now.
    `ALIKE` names what else results share that are compared: whatever changes their numbers, but the
    model and the way of adapting it. `given_up`, where a record has it, is the share of queries
    that stayed right because the attack gave nothing finite and within budget for them.
    """

    VERSION: ClassVar[int]
    ALIKE: ClassVar[tuple[str, ...]] = ()

    version: Count

    @property
    def size(self) -> tuple[Any, ...]:
        """The version, and what `ALIKE` names."""
        values = (getattr(self, name) for name in ("version", *self.ALIKE))
        return tuple(tuple(value) if isinstance(value, list) else value for value in values)

    @property
    def is_replaced(self) -> bool:
        """Whether a newer version of the protocol has replaced this one."""
        return self.version < self.VERSION


class TuningRecord(MetaTestRecord):
    """adaptations/tuning-<hash>.json; `accuracy` is over rates, shots and steps."""

    VERSION = 2

    version: Count = 1
    family: str = ""
    rate: Number
    tuned_steps: Count
    rates: list[Number] = []
    shots: list[Count] = []
    steps: list[Count] = []
    episodes: Count = 0
    accuracy: list[list[list[Number]]] = []  # sums, which may pass 1 by their rounding
    labels_used: Count | None = None
    seconds: Amount | None = None
    cost: CostRecord = CostRecord()


class EstimateRecord(Schema):
    """A mean over episodes and its interval."""

    mean: Number
    low: Number
    high: Number


class FamilyRecord(MetaTestRecord):
    """adaptations/<family>-<hash>.json; without numbers where the status is not "ok"."""

    VERSION = TuningRecord.VERSION
    ALIKE = ("episodes", "queries", "shots", "steps", "attack_steps")

    status: Status
    version: Count = 1
    family: str
    description: str = ""
    role: Literal["seen", "validation", "held-out"]
    norm: str = ""
    eps: Amount | None = None
    rate: Number
    tuned_steps: Count
    shots: Points
    steps: Points
    episodes: Annotated[int, Field(ge=2, le=1_000_000)]
    queries: Annotated[int, Field(ge=1, le=1_000_000)]
    attack_steps: Count = 0
    labels_used: Count
    seconds: Amount | None = None
    cost: CostRecord = CostRecord()
    measuring_cost: CostRecord = CostRecord()
    accuracy: Table = []
    low: Table = []
    high: Table = []
    clean_accuracy: Table = []
    seen_families: list[str] = []
    seen_accuracy: list[Share] = []
    area: EstimateRecord | None = None
    area_over_shots: EstimateRecord | None = None
    forgetting: list[EstimateRecord] = []
    given_up: Share | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for points in (self.shots, self.steps):
            if points[0] != 0 or sorted(set(points)) != points:
                raise ValueError("shots and steps must ascend from 0")
        if self.tuned_steps not in self.steps:
            raise ValueError("tuned_steps must be one of the steps")
        if self.status == "ok":
            tables = (self.accuracy, self.low, self.high, self.clean_accuracy)
            if any(len(table) != len(self.shots) for table in tables):
                raise ValueError("a table must have a row for each of shots")
            curves = [*(curve for table in tables for curve in table), self.seen_accuracy]
            if any(len(curve) != len(self.steps) for curve in curves):
                raise ValueError("a curve must have a point for each of steps")
        return self

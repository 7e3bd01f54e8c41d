"""What the few-shot meta-test stores of a read-out."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from benchmark.results.records.metatest import EstimateRecord, MetaTestRecord
from benchmark.results.records.schema import (
    Amount,
    CostRecord,
    Count,
    Number,
    Schema,
    Share,
    Status,
)


class ChoiceRecord(Schema):
    """What a setting was chosen by, on so many validation classes at a time.

    tried: settings, each with the share "robust" that it left.
    """

    ways: Count
    episodes: Count
    tried: list[dict[str, Number]] = []
    cost: CostRecord = CostRecord()


class FewShotRecord(MetaTestRecord):
    """few-shot/<read-out>-<ways>way-<shots>shot-<hash>.json; no numbers unless the status is "ok".

    labels_used and cost are those of one adaptation; `autoattack` is of the first episodes alone.
    groups_apart: whether queries are of other groups (films, patients) than supports of a class.
    """

    VERSION = 2
    ALIKE = (
        "episodes",
        "queries",
        "attack_steps",
        "support_attack_steps",
        "tuning_episodes",
        "ways",
        "shots",
        "groups_apart",
    )

    status: Status
    readout: str
    description: str = ""
    ways: Annotated[int, Field(ge=2, le=1_000_000)]
    shots: Annotated[int, Field(ge=1, le=1_000_000)]
    queries: Annotated[int, Field(ge=1, le=1_000_000)]
    episodes: Annotated[int, Field(ge=2, le=1_000_000)]
    attack_steps: Count
    support_attack_steps: Count = 0
    tuning_episodes: Count = 0
    autoattack_episodes: Count = 0
    asks_stored: bool = False
    groups_apart: bool = False
    norm: str = ""
    eps: Amount | None = None
    labels_used: Count
    setting: dict[str, Number] = {}
    tuning: ChoiceRecord | None = None
    clean: EstimateRecord | None = None
    robust: EstimateRecord | None = None
    stored_queries: EstimateRecord | None = None
    autoattack: EstimateRecord | None = None
    robust_of_attacked: Share | None = None
    given_up: Share | None = None
    seconds: Amount | None = None
    cost: CostRecord = CostRecord()
    measuring_cost: CostRecord = CostRecord()
    autoattack_cost: CostRecord = CostRecord()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.status == "ok" and (self.clean is None or self.robust is None):
            raise ValueError("clean and robust must be there")
        return self

"""What the sequence protocol stores of a learner."""

from __future__ import annotations

from typing import Annotated, Literal, Self

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
    Table,
)

Least = Annotated[int, Field(ge=1, le=1_000_000)]


class LearnerChoiceRecord(Schema):
    """What a learner's setting was chosen by: families in a row, on validation data.

    tried: settings, each with the share "mean" that it left under these families.
    """

    families: list[str]
    tried: list[dict[str, Number]] = []
    cost: CostRecord = CostRecord()


class SequenceRecord(MetaTestRecord):
    """sequences/<learner>-<hash>.json; no numbers unless the status is "ok".

    `accuracy` has a row for each arrival and a column for each family; `mean` and `worst` are over
    the families that have arrived. `forgetting` is the accuracy under a family in the end, minus
    that right after it was learned, averaged over all but the last. Labels and costs are those of
    one episode.
    """

    VERSION = 2
    ALIKE = (
        "episodes",
        "queries",
        "attack_steps",
        "labels",
        "rounds",
        "steps",
        "rates",
        "distance_weights",
        "tuning_episodes",
        "families",
    )

    status: Status
    learner: str
    description: str = ""
    families: Annotated[list[str], Field(min_length=2, max_length=50)]
    roles: list[Literal["seen", "validation", "held-out"]] = []
    norm: str = ""
    eps: list[Amount] = []
    labels: Least
    rounds: Least
    steps: Least
    episodes: Annotated[int, Field(ge=2, le=1_000_000)]
    queries: Least
    attack_steps: Least
    rates: list[Number] = []
    distance_weights: list[Number] = []
    tuning_episodes: Least
    labels_used: Count
    setting: dict[str, Number] = {}
    tuning: LearnerChoiceRecord | None = None
    accuracy: Table = []
    mean: list[EstimateRecord] = []
    worst: list[EstimateRecord] = []
    clean: list[EstimateRecord] = []
    forgetting: EstimateRecord | None = None
    given_up: Share | None = None
    seconds: Amount | None = None
    cost: CostRecord = CostRecord()
    measuring_cost: CostRecord = CostRecord()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.status != "ok":
            return self
        each = len(self.families)
        estimates = (self.mean, self.worst, self.clean)
        lengths = {len(self.roles), len(self.accuracy), *map(len, estimates)}
        if lengths | {len(row) for row in self.accuracy} != {each}:
            raise ValueError("a curve must have a point for each of families")
        if self.forgetting is None:
            raise ValueError("forgetting is missing")
        return self

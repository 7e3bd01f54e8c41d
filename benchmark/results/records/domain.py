"""What adaptation to another data set stores of a method."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from benchmark.portable import dataset_name
from benchmark.results.records.metatest import EstimateRecord, MetaTestRecord
from benchmark.results.records.schema import (
    Amount,
    CostRecord,
    Count,
    Number,
    Share,
    Status,
)

Least = Annotated[int, Field(ge=1, le=1_000_000)]


class DomainRecord(MetaTestRecord):
    """domains/<method>-<hash>.json; no numbers unless the status is "ok".

    setting, labels_used, cost, clean, robust and autoattack, which is of the first episodes alone,
    have an entry for each of `shots`; labels and `cost` are those of one adaptation. So have the
    costs of all episodes: of choosing the settings, of measuring, and of AutoAttack in it. Records
    from before these were counted have none.
    """

    VERSION = 3
    ALIKE = (
        "adapt_to",
        "fingerprint",
        "resize",
        "episodes",
        "queries",
        "attack_steps",
        "support_attack_steps",
        "rates",
        "rounds",
        "steps",
        "tuning_episodes",
        "shots",
    )

    status: Status
    adapt_to: Annotated[str, AfterValidator(dataset_name)]
    fingerprint: str
    resize: bool = False
    method: str
    description: str = ""
    classes: Annotated[int, Field(ge=2, le=1_000_000)]
    norm: str = ""
    eps: Amount | None = None
    shots: Annotated[list[Least], Field(min_length=1, max_length=50)]
    episodes: Annotated[int, Field(ge=2, le=1_000_000)]
    queries: Least
    attack_steps: Least
    support_attack_steps: Least
    rates: list[Number] = []
    rounds: list[Least] = []
    steps: Least
    tuning_episodes: Least
    autoattack_episodes: Count = 0
    labels_used: list[Count] = []
    setting: list[dict[str, Number]] = []
    tried: list[dict[str, Number]] = []
    cost: list[CostRecord] = []
    tuning_cost: list[CostRecord] = []
    measuring_cost: list[CostRecord] = []
    autoattack_cost: list[CostRecord] = []
    clean: list[EstimateRecord] = []
    robust: list[EstimateRecord] = []
    autoattack: list[EstimateRecord] = []
    given_up: Share | None = None
    seconds: Amount | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        curves: tuple[list[Any], ...] = (
            self.labels_used,
            self.setting,
            self.cost,
            self.clean,
            self.robust,
        )
        if self.autoattack_episodes:
            curves = *curves, self.autoattack
        if self.status == "ok" and {len(curve) for curve in curves} != {len(self.shots)}:
            raise ValueError("a curve must have a point for each of shots")
        return self

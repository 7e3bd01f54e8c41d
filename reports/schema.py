"""The schema of stored records, as far as reports read them; whatever else they hold is ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat

from benchmark.results import dataset_name, without_folders

Integer = Annotated[int, Field(ge=-(2**62), le=2**62)]
Count = Annotated[int, Field(ge=0, le=2**62)]
Reason = Annotated[str, AfterValidator(without_folders)]
Amount = Annotated[FiniteFloat, Field(ge=0, le=1e18)]  # so that sums stay finite


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class DatasetConfig(_Record):
    """The data set's name and the fingerprint of its arrays."""

    name: Annotated[str, AfterValidator(dataset_name)]
    fingerprint: str = ""


class DefenseConfig(_Record):
    """The defense's name and all of its parameters."""

    name: str
    parameters: dict[str, Any] = {}


class ThreatConfig(_Record):
    """Norm and budget, in pixel scale."""

    norm: str
    eps: Amount


class Config(_Record):
    """What a cell was asked to do."""

    dataset: DatasetConfig
    model: str
    framework: str
    defense: DefenseConfig
    threat: ThreatConfig
    seed: Integer
    epochs: Count | None = None
    budget_ge: Amount | None = None
    examples: Count


class CellRecord(_Record):
    """cell.json"""

    config: Config
    status: Literal["ok", "failed", "diverged"]
    reason: Reason = ""
    suites: dict[str, list[str]] = {}
    classes: list[str] = []
    versions: dict[str, Any] = {}
    git: dict[str, Any] | None = None
    device: str = ""
    threads: Count | None = None
    seconds: Amount | None = None
    gradient_evaluations: Amount | None = None
    started: str = ""


class StageRecord(_Record):
    """training.json or adaptation.json"""

    seconds: Amount
    labels_used: Count | None = None
    steps: Count | None = None
    cost: dict[str, Any] = {}
    history: list[dict[str, Any]] = []


class Violations(_Record):
    """How many points of an attack left the budget or the box, or are not finite."""

    budget: Count = 0
    box: Count = 0
    non_finite: Count = 0


class AttackRecord(_Record):
    """attacks/<key>.json"""

    name: str
    attack: str = ""
    arguments: dict[str, Any] = {}
    status: Literal["ok", "failed", "not-applicable"]
    reason: Reason = ""
    seconds: Amount | None = None
    forwards: Amount | None = None
    backwards: Amount | None = None
    violations: Violations = Violations()
    norm: str = ""
    eps: Amount | None = None
    silent: Count | None = None
    made_on: str = ""
    source: Any = None  # of an attack that was made on another cell's model
    files: dict[str, str] = {}

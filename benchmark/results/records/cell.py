"""What a cell's own record holds, and what was asked for beside it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from benchmark.digest import digest
from benchmark.portable import dataset_name
from benchmark.results.records.schema import Amount, Count, Integer, Reason, Schema, StageRecord

_LONGEST_TOLD = 100  # characters in which features are named; others are counted


class DatasetConfig(Schema):
    """The data set's name, the fingerprint of its arrays, and how it was made ready.

    distribution: name and version of the other distribution that contributes it.
    """

    name: Annotated[str, AfterValidator(dataset_name)]
    fingerprint: str = ""
    image_size: Count | None = None
    split_seed: Count = 0
    label: str | None = None
    group: str | None = None
    distribution: str | None = None
    classes: dict[str, list[str]] | None = None


class DefenseConfig(Schema):
    """The defense's name and all of its parameters; `distribution` as that of a data set.

    support: "clean" where labelled examples are adapted to as they are; where they should be and
    that isn't told, they were attacked first, by an earlier version.
    """

    name: str
    parameters: dict[str, Any] = {}
    distribution: str | None = None
    support: str | None = None


class ThreatConfig(Schema):
    """Norm and budget, in pixel scale.

    features: of a table, to the multiple of eps that is the feature's own, where that isn't 1.
    columns: a digest of the names that features go by, in their order; earlier versions told none.
    """

    norm: str
    eps: Amount
    features: dict[str, Amount] | None = None
    columns: str | None = None

    @property
    def of_features(self) -> str:
        """The budgets of single features in short, another text for other ones; "" without."""
        if self.features is None:
            return ""
        told = [f"{name} \u00d7{weight:g}" for name, weight in self.features.items() if weight]
        held = [name for name, weight in self.features.items() if not weight]
        immutable = f"immutable {', '.join(held)}" if held else ""
        named = "; ".join(filter(None, (immutable, ", ".join(told))))
        if len(named) <= _LONGEST_TOLD:
            return named
        counts = [f"{len(held)} immutable"] if held else []
        counts += [f"{len(told)} of other budgets"] if told else []
        return f"{', '.join(counts)}; {digest(self.features)[:8]}"


class ExtraDataConfig(Schema):
    """More training data: a share of each batch.

    `examples` are trained with; `left_out` are those of the file that are also in the test or
    validation part.
    """

    name: Annotated[str, AfterValidator(dataset_name)]
    fingerprint: str
    examples: Count
    left_out: Count = 0
    share: Annotated[float, Field(gt=0, lt=1)]


class Config(Schema):
    """What a cell was asked to do; `source` tells of a model that someone else trained.

    origin: of a model that is built by code of its owner, or trained on from a file of weights.
    precision: of the training, where that isn't float32.
    """

    dataset: DatasetConfig
    model: str
    framework: str
    defense: DefenseConfig
    threat: ThreatConfig
    seed: Integer
    epochs: Count | None = None
    budget_ge: Amount | None = None
    examples: Count
    source: dict[str, Any] | None = None
    origin: dict[str, Any] | None = None
    extra_data: ExtraDataConfig | None = None
    precision: str | None = None

    @property
    def origin_in_short(self) -> str | None:
        """Whose a model, a defense and data are, and what a training starts from; None where ours.

        Of a model that someone else trained also what stands around it, such as means of channels.

        It ends with a digest, so that nothing else has the same text.
        """
        whole: dict[str, Any] = {
            "defense": self.defense.distribution,
            "data": self.dataset.distribution,
        }
        given = {"head": "linear", **self.defense.parameters}
        is_clean = (given.get("inner_loss"), given["head"]) == ("clean", "linear")
        if is_clean and self.defense.support is None:
            whole["support"] = "an attacked support"
        # What a file of weights is called makes no other model
        source = {name: one for name, one in (self.source or {}).items() if name != "weights"}
        whole |= {"source": source, **(self.origin or {})}
        whole = {name: one for name, one in whole.items() if one}
        if not whole:
            return None
        named = ("init", "defense", "distribution", "data", "support")
        told = [str(whole[name]) for name in named if name in whole]
        told = told or ["given" if source else "own code"]
        told += ["new head"] if "new_head" in whole else []
        return f"{', '.join(told)}; {digest(whole)[:8]}"


CellStatus = Literal["ok", "failed", "diverged"]


class CellRecord(Schema):
    """cell.json: how a cell ended, and where it was worked on. `suites`: name to attacks' keys.

    `data` tells what was done to the inputs, and which examples are duplicates.
    """

    cell_id: str = ""
    schema_version: int | None = None
    config: Config
    status: CellStatus
    reason: Reason = ""
    suites: dict[str, list[str]] = {}
    classes: list[str] = []
    data: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    git: dict[str, Any] | None = None
    device: str = ""
    threads: Count | None = None
    processor: str = ""
    seconds: Amount | None = None
    gradient_evaluations: Amount | None = None
    started: str = ""


class RunRecord(StageRecord):
    """runs/<suite>.json: what was asked for, beside the configurations of cells.

    suite_from: name and version of the other distribution that contributes the suite. split: of
    classes, the seed or the lists that it came to.
    """

    suite: str
    suite_file: str | None = None
    suite_digest: str | None = None
    suite_from: str | None = None
    given: Annotated[list[str], Field(max_length=1000)] = []
    attacks: dict[str, dict[str, Any]] = {}
    protocol: str = "none"
    adaptation: dict[str, Any] = {}
    split: Count | dict[str, list[str]] | None = None
    attack_timeout: Amount | None = None
    batch_size: Count | Literal["auto"] | None = None

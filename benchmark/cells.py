"""A cell is one (data set, model, framework, defense, seed): what it is called, what is recorded.

Its id hashes its whole configuration and the schema version. Equal ids mean equal work.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import defenses
from benchmark import datasets
from benchmark.checkout import git_state
from benchmark.datasets.classes import ClassSplit, recorded
from benchmark.datasets.features import columns
from benchmark.frameworks import processor, versions
from benchmark.portable import dataset_name, without_folders
from benchmark.results import Record
from benchmark.results.identity import cell_id_of, id_begins
from benchmark.results.records import CellRecord, CellStatus, Config
from defenses import wrappers
from defenses.training import PRECISIONS

if TYPE_CHECKING:
    from benchmark.config import RunConfig
    from benchmark.datasets import Dataset

BASELINE = "none"  # the undefended twin
CLEAN = "clean"  # of a support that is adapted to as it is


@dataclass(frozen=True)
class Cell:
    """One model to train and to attack.

    dataset: its name, without the folders of a path: the fingerprint says which data are meant.
    defense: such as "none", or "none+jpeg" with a wrapper attached. parameters: all of the
    defense's parameters, as JSON values, and each wrapper's arguments under its name. eps: in pixel
    scale [0, 1] under `norm`. examples: how many test examples are attacked. source: where a model
    comes from that someone else trained (`benchmark.external.model.source`); `defense` is its name.
    label_column: of a table: the one with the classes. group_column: the one whose rows of one
    value no split parts.
    origin: tells a model from others of its name, where its owner's code builds it or a file of
    weights starts it. extra_data: what is trained with beside the data set
    (`benchmark.datasets.extra.ExtraData.record`). precision: of its training; None for float32.
    defense_from, dataset_from: name and version of the other distribution that contributes it.
    class_split: of the data, where some classes are held out. features: of a table, those whose
    budget is another multiple of eps than 1, and columns, under which names; see
    `benchmark.datasets.features`. clean_support: whether the defense adapts to its labelled
    examples as they are.
    """

    dataset: str
    dataset_fingerprint: str
    image_size: int | None
    split_seed: int
    model: str
    framework: str
    defense: str
    parameters: Mapping[str, Any] = field(hash=False)
    norm: str
    eps: float
    seed: int
    epochs: int | None
    budget_ge: int | None
    examples: int
    source: Mapping[str, Any] | None = field(default=None, hash=False)
    label_column: str | None = None
    group_column: str | None = None
    origin: Mapping[str, Any] | None = field(default=None, hash=False)
    extra_data: Mapping[str, Any] | None = field(default=None, hash=False)
    precision: str | None = None
    defense_from: str | None = None
    dataset_from: str | None = None
    class_split: ClassSplit | None = None
    features: Mapping[str, float] | None = field(default=None, hash=False)
    columns: str | None = None
    clean_support: bool = False

    def config(self) -> Record:
        """The configuration as `cell.json` holds it."""
        # What most cells lack is left out, so that their ids stay.
        more = {"source": self.source, "origin": self.origin, "extra_data": self.extra_data}
        label = {} if self.label_column is None else {"label": self.label_column}
        label |= {} if self.group_column is None else {"group": self.group_column}
        label |= {} if self.dataset_from is None else {"distribution": self.dataset_from}
        defense = {} if self.defense_from is None else {"distribution": self.defense_from}
        defense |= {"support": CLEAN} if self.clean_support else {}
        classes = {} if self.class_split is None else {"classes": self.class_split.record()}
        features = {} if self.features is None else {"features": dict(self.features)}
        columns = {} if self.columns is None else {"columns": self.columns}
        return {
            "dataset": {
                "name": self.dataset,
                "fingerprint": self.dataset_fingerprint,
                "image_size": self.image_size,
                "split_seed": self.split_seed,
                **label,
                **classes,
            },
            "model": self.model,
            "framework": self.framework,
            "defense": {"name": self.defense, "parameters": dict(self.parameters), **defense},
            "threat": {"norm": self.norm, "eps": self.eps, **features, **columns},
            "seed": self.seed,
            "epochs": self.epochs,
            "budget_ge": self.budget_ge,
            "examples": self.examples,
            **{name: dict(value) for name, value in more.items() if value is not None},
            **({} if self.precision is None else {"precision": self.precision}),
        }

    @functools.cached_property
    def cell_id(self) -> str:
        """A readable name, safe as a folder's, that ends with the configuration's hash."""
        return cell_id_of(self.config())

    @property
    def trained_prefix(self) -> str:
        """How the ids of all cells begin that the same defense trains on data of this name."""
        return id_begins(self.dataset, self.model, self.framework, self.trained_by)

    @property
    def trained_by(self) -> str:
        """The defense that trains the model, without its wrappers."""
        return wrappers.split(self.defense)[0]

    @property
    def wrapped_in(self) -> dict[str, Mapping[str, Any]]:
        """Wrapper to its arguments, in the order in which they were attached."""
        return {name: self.parameters[name] for name in wrappers.split(self.defense)[1]}

    @property
    def training_parameters(self) -> dict[str, Any]:
        """The parameters of the training alone."""
        attached = self.wrapped_in
        return {name: value for name, value in self.parameters.items() if name not in attached}

    @property
    def label(self) -> str:
        """What a person calls the cell within one run."""
        return f"{self.defense} {self.framework} seed {self.seed}"


def cell_of(config: Mapping[str, Any]) -> Cell:
    """The cell of a configuration as `cell.json` holds it: the inverse of `Cell.config`.

    Raises `KeyError` or `TypeError` for what is no such configuration.
    """
    dataset, defense, threat = config["dataset"], config["defense"], config["threat"]
    return Cell(
        dataset=dataset["name"],
        dataset_fingerprint=dataset["fingerprint"],
        image_size=dataset["image_size"],
        split_seed=dataset["split_seed"],
        model=config["model"],
        framework=config["framework"],
        defense=defense["name"],
        parameters=defense["parameters"],
        norm=threat["norm"],
        eps=threat["eps"],
        seed=config["seed"],
        epochs=config["epochs"],
        budget_ge=config["budget_ge"],
        examples=config["examples"],
        source=config.get("source"),
        label_column=dataset.get("label"),
        group_column=dataset.get("group"),
        origin=config.get("origin"),
        extra_data=config.get("extra_data"),
        precision=config.get("precision"),
        defense_from=defense.get("distribution"),
        clean_support=defense.get("support") == CLEAN,
        dataset_from=dataset.get("distribution"),
        class_split=None if (split := dataset.get("classes")) is None else recorded(split),
        features=threat.get("features"),
        columns=threat.get("columns"),
    )


def expand(
    run: RunConfig,
    dataset: Dataset,
    *,
    parameters: Mapping[str, Mapping[str, Any]],
    origin: Mapping[str, Any] | None = None,
    extra_data: Mapping[str, Any] | None = None,
    features: Mapping[str, float] | None = None,
    clean_supports: Collection[str] = (),
) -> list[Cell]:
    """The cells of a run, undefended twins first, never one twice.

    Args:
        run: a resolved configuration: `model` and `eps` are not None.
        parameters: all parameters of each defense in `defenses_of(run)`.
        origin: of the model (`benchmark.models.provided.origin.Origin.record`).
        extra_data: what is trained with beside the data set.
        features: what their budgets are; see `Cell`.
        clean_supports: the defenses that adapt to clean examples.
    """
    assert run.model is not None
    assert run.eps is not None
    return [
        Cell(
            dataset=dataset_name(dataset.name),
            dataset_fingerprint=dataset.fingerprint,
            image_size=run.image_size,
            split_seed=run.split_seed,
            model=run.model,
            framework=framework,
            defense=defense,
            parameters=_canonical(parameters[defense]),
            norm=run.norm,
            eps=run.eps,
            seed=seed,
            epochs=run.epochs,
            budget_ge=run.budget_ge,
            examples=min(run.examples, len(dataset.x_test)),
            label_column=run.label,
            group_column=run.group,
            origin=origin,
            extra_data=extra_data,
            precision=None if run.precision == PRECISIONS[0] else run.precision,
            defense_from=defenses.distribution(wrappers.split(defense)[0]),
            clean_support=defense in clean_supports,
            dataset_from=datasets.distribution(run.dataset),
            class_split=dataset.class_split,
            features=features,
            columns=columns(dataset, features),
        )
        for defense in defenses_of(run)
        for seed in run.seed
        for framework in run.framework
    ]


def defenses_of(run: RunConfig) -> list[str]:
    """The defenses of a run, with the undefended twin in front unless it was turned off."""
    twin = [BASELINE] if run.baseline else []
    return list(dict.fromkeys([*twin, *run.defense]))


def cell_record(
    cell: Cell,
    *,
    status: CellStatus,
    suites: Mapping[str, Sequence[str]],
    device: str,
    threads: int,
    seconds: float,
    started: str,
    gradient_evaluations: float | None = 0.0,
    reason: str = "",
    classes: Sequence[str] = (),
    data: Mapping[str, Any] | None = None,
) -> Record:
    """The content of `cell.json` for a cell that ended, well or not.

    Args:
        status: "ok", "failed" or "diverged"; `reason` says why if not ok.
        suites: suite name to the keys of its attacks.
        device: "cpu", or "cuda" with the card's name; see `benchmark.frameworks.named`.
        seconds: wall time of the whole cell.
        started: ISO 8601 time at which the cell began.
        gradient_evaluations: of training and support stage together; None where nobody knows.
        classes: names of the data's classes, in the order of their labels; empty if unknown.
        data: what else is to be said of the data; left out where that is nothing.
    """
    named: dict[str, Any] = {"classes": list(classes)} if classes else {}
    named |= {"data": dict(data)} if data else {}
    record = CellRecord(
        config=Config(**cell.config()),
        status=status,
        reason=without_folders(reason),
        suites={name: list(keys) for name, keys in suites.items()},
        versions=versions(cell.framework),
        git=git_state(),
        device=device,
        threads=threads,
        processor=processor(),
        seconds=seconds,
        gradient_evaluations=gradient_evaluations,
        started=started,
        **named,
    )
    return record.stored()


def _canonical(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters as JSON gives them back, so that a tuple and a list are one configuration."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(parameters), allow_nan=False))
    return plain

"""A stored cell made ready to be checked: its data, its models, its attacks."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

import defenses
from benchmark import datasets, documents, frameworks, models
from benchmark.attacks.arguments import Value
from benchmark.attacks.specification import TRANSFER, AttackSpec, Suite
from benchmark.attacks.suites import load_suite, recorded_attack, suite_names, suite_of
from benchmark.attacks.target import Target
from benchmark.cells import Cell, cell_of
from benchmark.datasets import Dataset
from benchmark.errors import BenchError, ConfigError, SchemaError, StoreError
from benchmark.external.loading import ready
from benchmark.external.model import from_source
from benchmark.job import Job
from benchmark.metatest.model import Adaptable
from benchmark.models.provided.origin import origin_of
from benchmark.registry import check_installed
from benchmark.reporter import Reporter
from benchmark.results import Record, Store
from benchmark.results.records import CellRecord, schema_of
from benchmark.stages.context import Context

# Attack to arguments that were set.
Arguments = Mapping[str, Mapping[str, Value]]


@dataclass(frozen=True)
class Machine:
    """Where the check runs: device "cpu" or "cuda", and the threads of one operation."""

    device: str
    threads: int


class Loaded:
    """One cell; what is asked for is read or built once.

    Everything raises `BenchError` where it is missing, damaged, or not to be run here.
    """

    def __init__(self, out: str, cell_id: str, data_dir: str | None, machine: Machine) -> None:
        self.store, self.cell_id, self.machine = Store.open(out, anew=True), cell_id, machine
        self._data_dir = data_dir
        record = self.store.read_cell(cell_id)
        if record is None:
            raise StoreError("cell.json is missing or damaged")
        self.record = CellRecord.read(record).stored()
        self.cell: Cell = cell_of(record["config"])

    @property
    def suites(self) -> dict[str, list[str]]:
        """Suite to the keys of its attacks, as the record has it."""
        found: dict[str, list[str]] = self.record["suites"]
        return found

    @functools.cached_property
    def same_machine(self) -> bool:
        """Whether the record is of a machine of this kind, so that equal work gives equal bits."""
        here = {
            "device": self.machine.device,
            "threads": self.machine.threads,
            "processor": frameworks.processor(),
            "versions": frameworks.versions(self.cell.framework),
        }
        return self.machine.device == "cpu" and all(
            self.record.get(name) == value for name, value in here.items()
        )

    @functools.cached_property
    def context(self) -> Context:
        """What stages are made again with; it tells nobody of its progress.

        Raises:
            StoreError: the model is built by its owner's code.
        """
        origin = None
        check_installed(self.cell)
        if self.cell.source is None:
            # With all that a run checks: a record may name anything
            origin = origin_of(self.cell.model, None)
            if origin.builder is not None:
                raise StoreError("its model is built by code of its owner, which is not run here")
        context = Context(
            self.cell,
            self.store,
            self.machine.device,
            Reporter(None, self.cell_id),
            data_dir=self._data_dir,
            origin=origin,
            sources=self._sources(),
        )
        if self.cell.source is not None:
            context.model = self._external(context.dataset)
        return context

    @property
    def data(self) -> Dataset:
        """The cell's data set."""
        return self.context.dataset

    @property
    def fitted(self) -> defenses.Fitted:
        """The model as its training left it; of a trained cell."""
        self._check_weights("training", "weights")
        return self.context.fitted

    @property
    def adaptable(self) -> Adaptable:
        """What the meta-test of attack families, and that of their sequence, begin with."""
        self.check_beginning()
        return self.context.adaptable

    def check_beginning(self) -> None:
        """Raises where the weights that the meta-test begins with are not those of the records."""
        self._check_weights("training", "weights")
        if self.defense.fits_last_layer:
            self._check_weights("adaptation", "adapted")

    @property
    def defense(self) -> defenses.Defense:
        """What trained the cell."""
        return self.context.defense

    @property
    def model(self) -> models.Model:
        """The model that was attacked."""
        if self.cell.source is None:
            self._check_weights("training", "weights")
            if self.defense.adapts:
                self._check_weights("adaptation", "adapted")
        return self.context.model

    @property
    def target(self) -> Target:
        """What was attacked, on the examples that the configuration draws."""
        _ = self.model
        return self.context.target

    def stage(self, name: str) -> Record:
        """The record of a stage that has to be there."""
        record = self.found(name)
        if record is None:
            raise StoreError(f"the stored {name} is missing or damaged")
        return record

    def found(self, name: str) -> Record | None:
        """What the schema has of a stage's record, to be compared; None where it is damaged.

        Without what it was made of, which `replay` looks at. Raises `SchemaError` where it
        doesn't follow the schema.
        """
        record = self.store.read_whole(self.cell_id, name)
        if record is None:
            return None
        told = schema_of(name).read(record).stored()
        return {field: value for field, value in told.items() if field != "made_of"}

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of a stage "<folder>/<key>"; raises `StoreError` without them."""
        return self.store.read_arrays(self.cell_id, name, f"{name.partition('/')[2]}.npz")

    def suite(self, name: str, given: Arguments | None = None) -> Suite | None:
        """A suite of the project, or of the file whose text is stored; None where neither is.

        `given` are arguments that were set on top.
        """
        text = self.suite_text(name)
        if text is not None:
            return suite_of(name, text, given or {})
        return load_suite(name, given) if name in suite_names() else None

    def suite_text(self, name: str) -> str | None:
        """The text of the suite's file, as a run stored it; None where none did."""
        if name not in self.suites:
            return None
        stage = self.run_stage(name)
        files = (self.found(stage) or {}).get("files", {})
        if len(files) != 1:
            return None
        path = self.store.cell_folder(self.cell_id) / "runs" / next(iter(files))
        return documents.text(path)

    def run_stage(self, suite: str) -> str:
        """The stage that holds what was asked for under a suite."""
        return Job(self.cell, suite, (), str(self.store.path), None).run_stage

    def attacks_of(
        self, suite: str, given: Arguments | None = None
    ) -> tuple[AttackSpec, ...] | None:
        """What the cell is attacked with under a suite; None where its file isn't stored."""
        found = self.suite(suite, given)
        if found is None:
            return None
        budgets = datasets.budgets(self.cell.dataset, self.cell.norm, self.cell.eps)
        attacks = found.with_budgets(budgets).attacks
        return (*attacks, TRANSFER) if self.cell.wrapped_in else attacks

    def attack(self, key: str) -> AttackSpec:
        """The attack behind a key, from its record; StoreError if the key is another one's."""
        record = self.stage(f"attacks/{key}")
        name = str(record.get("name"))
        for spec in self._candidates(name, record):
            if self.job("", (spec,)).attack_keys()[spec.name] == key:
                return spec
        raise StoreError(f"what the attack {key} is told to be doesn't give this key")

    def job(self, suite: str, attacks: tuple[AttackSpec, ...] | None = None) -> Job:
        """The cell's work under a suite, by default with the attacks that are stored of it."""
        if attacks is None:
            attacks = tuple(self.attack(key) for key in self.suites[suite])
        found = self.suite(suite)
        curve = found.curve if found is not None else None
        out = str(self.store.path)
        return Job(
            self.cell,
            suite,
            attacks,
            out,
            self._data_dir,
            curve=curve,
            corruptions=found is not None and found.corruptions,
            certification=None if found is None else found.certification,
            sources=self.context.sources,
        )

    def _candidates(self, name: str, record: Record) -> Iterator[AttackSpec]:
        if "identity" in record:
            yield recorded_attack(name, record["identity"])
            return
        for suite in self.suites:  # a record of an older version
            yield from (spec for spec in self.attacks_of(suite) or () if spec.name == name)

    def _check_weights(self, stage: str, name: str) -> None:
        """Raises `StoreError` where a stage's weights are not whole."""
        weights = self.context.weights_file(name)
        if weights not in self.stage(stage)["files"]:
            raise StoreError(f"{weights} is missing or damaged")

    def _sources(self) -> dict[str, str]:
        """Defense to the cell on whose model attacks were made, as the records tell."""
        keys = {key for keys in self.suites.values() for key in keys}
        told = {}
        for key in keys:
            try:
                record = self.found(f"attacks/{key}") or {}
            except SchemaError:
                continue  # told where this attack is checked; it says nothing of the others
            if record.get("made_on"):
                told[record["source"]] = record["made_on"]
        return told

    def _external(self, data: Dataset) -> models.Model:
        """A model that someone else trained, from the stored weights; no code of theirs runs."""
        cell = self.cell
        assert cell.source is not None
        if cell.source["builder"] or not _is_built_in(cell.source["architecture"]):
            raise StoreError("its model is built by code of its owner, which is not run here")
        record = self.stage("given")
        if len(record["files"]) != 1:
            raise StoreError("the stored weights are missing or damaged")
        (name,) = record["files"]
        weights = str(self.store.cell_folder(self.cell_id) / name)
        given = from_source(cell.defense, cell.source, weights)
        shape, classes = data.input_shape, data.classes
        return ready(given, cell, shape, classes, device=self.machine.device)


def _is_built_in(architecture: str | None) -> bool:
    """Whether it names no code; None is a `.keras` file's own."""
    try:
        return architecture is None or bool(models.canonical(architecture))
    except ConfigError:
        return False


@functools.lru_cache(maxsize=1)
def load_cell(out: str, cell_id: str, data_dir: str | None, machine: Machine) -> Loaded:
    """The cell; the last one is kept for the claims that follow."""
    return Loaded(out, cell_id, data_dir, machine)


def why_not(error: Exception) -> str:
    """An error in one line."""
    words = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
    return (words.splitlines() or [type(error).__name__])[0]

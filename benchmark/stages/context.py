"""What the stages of one cell share while they run: each thing made once, when it is asked for."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import defenses
from benchmark import datasets, frameworks, models
from benchmark.attacks.target import Target, target
from benchmark.cells import Cell
from benchmark.datasets import Dataset, Measured
from benchmark.examples import attacked_examples
from benchmark.external.loading import ready, rebuilder
from benchmark.external.model import ExternalModel
from benchmark.metatest.model import Adaptable
from benchmark.reporter import Reporter
from benchmark.results import Record, Store
from benchmark.stages.surrogates import Surrogates
from defenses.wrappers import encoded_shape


@dataclass
class Context:
    """A cell at work.

    Args:
        cell: what is worked on.
        store: where its stages are.
        device: "cpu" or "cuda".
        reporter: is told of progress.
        data_dir: where the data set is looked for.
        dataset_name: as it was given, with the path that it has on this machine; the cell's own
            name where that is not known.
        measured: what the plan found in the data.
        external: the model, where someone else trained it.
        sources: defense to the id of the cell on whose model attacks `from:` it are made.
        threads: CPU threads of one operation.
    """

    cell: Cell
    store: Store
    device: str
    reporter: Reporter
    data_dir: str | None = None
    dataset_name: str | None = None
    measured: Measured | None = None
    external: ExternalModel | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1

    def record(self, path: str) -> Record:
        """The record of a stage that is done; empty where it isn't."""
        return self.store.read_stage(self.cell.cell_id, path) or {}

    @functools.cached_property
    def dataset(self) -> Dataset:
        """The cell's data."""
        return load_dataset(self.cell, self.data_dir, self.dataset_name, self.measured)

    @functools.cached_property
    def builder(self) -> ModuleType:
        """`benchmark.models.pytorch` or `benchmark.models.tensorflow`."""
        return frameworks.part(frameworks.BUILDERS, self.cell.framework)

    @functools.cached_property
    def defense(self) -> defenses.Defense:
        """The defense that trains the cell's model."""
        threat = defenses.Threat(self.cell.norm, self.cell.eps)
        return defenses.create(self.cell.trained_by, threat, self.cell.training_parameters)

    def build(self, stored: Path | None = None) -> models.Model:
        """The cell's model, with its initial weights or those of a file that a stage stored."""
        specification = models.specification(
            self.cell.model,
            encoded_shape(self.cell.wrapped_in, self.dataset.input_shape),
            self.dataset.classes,
        )
        weights = specification.initial_weights(self.cell.seed)
        model = models.built(self.cell.framework, specification, weights, device=self.device)
        if stored is not None:
            self.builder.load_weights(model, stored)
        return model

    def weights_file(self, name: str) -> str:
        """The name of a file of weights in the cell's framework."""
        return f"{name}{frameworks.WEIGHTS_SUFFIXES[self.cell.framework]}"

    @functools.cached_property
    def fitted(self) -> defenses.Fitted:
        """The trained model, from the store unless the training stage has just made it."""
        return self._resumed("weights")

    @functools.cached_property
    def adapted(self) -> defenses.Fitted:
        """The trained model as it is attacked: after the support stage, where there is one."""
        return self._resumed("adapted") if self.defense.adapts else self.fitted

    def _resumed(self, name: str) -> defenses.Fitted:
        folder = self.store.cell_folder(self.cell.cell_id)
        model = self.build(folder / self.weights_file(name))
        return self.defense.resume(model, self.record("training").get("learned"))

    @functools.cached_property
    def model(self) -> models.Model:
        """What is attacked, without what stands around it."""
        if self.external is None:
            return self.adapted.model
        shape, classes = self.dataset.input_shape, self.dataset.classes
        return ready(self.external, self.cell, shape, classes, device=self.device)

    @functools.cached_property
    def target(self) -> Target:
        """The model with what stands around it, and the test examples that are attacked."""
        index = attacked_examples(self.cell, self.dataset)
        others = None
        if self.external is None:
            others = Surrogates(
                self.store, self.cell, self.dataset, self.device, sources=self.sources
            )
        return target(
            self.cell,
            self.model,
            self.dataset,
            index,
            device=self.device,
            surrogates=others,
            rebuild=rebuilder(self.external, self.cell, self.dataset, device=self.device),
        )

    @functools.cached_property
    def adaptable(self) -> Adaptable:
        """A copy of the trained model to adapt again and again; the trained one stays as it is."""
        wrap = frameworks.part(frameworks.ESTIMATORS, self.cell.framework).wrap
        shape, classes = self.dataset.input_shape, self.dataset.classes
        estimator = functools.partial(wrap, input_shape=shape, classes=classes, device=self.device)
        return Adaptable(self.fitted.kernel.copy(), estimator)


def load_dataset(
    cell: Cell,
    data_dir: str | None,
    name: str | None = None,
    measured: Measured | None = None,
) -> Dataset:
    """The cell's data set; a worker keeps the last one for the cells that follow.

    `name` is its name with the path on this machine, and `measured` what was found in it, where
    that is known.
    """
    return _load_cached(
        name or cell.dataset,
        cell.dataset_fingerprint,
        data_dir,
        cell.image_size,
        cell.split_seed,
        cell.label_column,
        measured,
    )


@functools.lru_cache(maxsize=1)
def _load_cached(
    name: str,
    fingerprint: str,
    data_dir: str | None,
    image_size: int | None,
    split_seed: int,
    label: str | None,
    measured: Measured | None,
) -> Dataset:
    dataset = datasets.load(
        name,
        data_dir=Path(data_dir) if data_dir else None,
        image_size=image_size,
        split_seed=split_seed,
        label=label,
        before=measured,
        keep=True,
    )
    if dataset.fingerprint != fingerprint:
        raise RuntimeError(f"data set {name} changed while the run was going on; start again")
    return dataset

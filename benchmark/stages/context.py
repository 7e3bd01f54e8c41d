"""What the stages of one cell share while they run: each thing made once, when it is asked for."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Literal

import defenses
from benchmark import datasets, frameworks, models
from benchmark.attacks.aiming import target
from benchmark.attacks.sizes import AUTO, fitting
from benchmark.attacks.target import Target
from benchmark.cells import Cell
from benchmark.datasets import ClassSplit, Dataset, Measured, features
from benchmark.datasets.extra import ExtraData
from benchmark.errors import ModelError
from benchmark.estimators.estimator import Estimator
from benchmark.estimators.passes import CHUNK
from benchmark.examples import attacked_examples
from benchmark.external.loading import ready, rebuilder
from benchmark.external.model import ExternalModel
from benchmark.metatest.model import Adaptable
from benchmark.metatest.readouts.model import Adapted
from benchmark.models.provided.building import make
from benchmark.models.provided.origin import Origin
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
        origin: of the model, where it is on this machine; told by the cell's model otherwise.
        extra_data: what is trained with beside the data set.
        sources: defense to the id of the cell on whose model attacks `from:` it are made.
        threads: CPU threads of one operation.
        batch_size: examples that attacks and read-outs take at a time.
    """

    cell: Cell
    store: Store
    device: str
    reporter: Reporter
    data_dir: str | None = None
    dataset_name: str | None = None
    measured: Measured | None = None
    external: ExternalModel | None = None
    origin: Origin | None = None
    extra_data: ExtraData | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    batch_size: int | Literal["auto"] = CHUNK

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
        cell, data = self.cell, None if self.cell.features is None else self.dataset
        threat = features.threat(cell.norm, cell.eps, cell.features, data)
        return defenses.create(cell.trained_by, threat, cell.training_parameters)

    def build(
        self, stored: Path | None = None, *, encoded: bool = True, classes: int | None = None
    ) -> models.Model:
        """The cell's model, with its initial weights or those of a file that a stage stored.

        `encoded`: whether it takes what the wrappers around it give, or the data themselves.
        `classes`: its outputs, where they are not those of the data.
        """
        cell, shape = self.cell, self.dataset.input_shape
        made = make(
            self.origin or Origin(cell.model),
            encoded_shape(cell.wrapped_in, shape) if encoded else shape,
            classes or self.dataset.classes,
            framework=cell.framework,
            seed=cell.seed,
            start=stored is None,
        )
        expected = (cell.framework, (cell.origin or {}).get("builder_sha256"))
        if (made.framework, made.builder_sha256) != expected:
            raise ModelError(f"{cell.model} is no longer the code of this cell; start again")
        model: models.Model = made.model
        if cell.framework == "torch":
            model = made.model.to(self.device)
        if stored is not None:
            self.builder.load_weights(model, stored)
        return model

    def wrap(self, model: models.Model, classes: int | None = None) -> Estimator:
        """An estimator of a model of this framework; of this data's classes, unless told."""
        return self._wrap(model, classes or self.dataset.classes)

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
            others = Surrogates(self.store, self.cell, self._stored_estimator, sources=self.sources)
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
    def at_once(self) -> int:
        """How many examples attacks and read-outs take at a time, also where it was "auto"."""
        if self.batch_size != AUTO:
            return self.batch_size
        if self.device == "cpu":
            return CHUNK
        memory = frameworks.part(frameworks.MEMORY, self.cell.framework)
        return fitting(self.target.estimator, self.target.x, self.target.y, memory)

    @property
    def _begins(self) -> defenses.Fitted:
        """What the meta-test begins with: where training gives no last layer, the support's."""
        return self.adapted if self.defense.fits_last_layer else self.fitted

    @functools.cached_property
    def adaptable(self) -> Adaptable:
        """A copy of the trained model to adapt again and again; the trained one stays as it is."""
        return Adaptable(self._begins.kernel.copy(), self.wrap)

    @functools.cached_property
    def readable(self) -> Adapted:
        """A copy of the trained model whose features heads are read out of."""
        return Adapted(self._begins, self._wrap, self.at_once)

    def _wrap(self, model: models.Model, classes: int) -> Estimator:
        wrap = frameworks.part(frameworks.ESTIMATORS, self.cell.framework).wrap
        shape = self.dataset.input_shape
        found: Estimator = wrap(model, input_shape=shape, classes=classes, device=self.device)
        return found

    def _stored_estimator(self, file: Path) -> Estimator:
        return self.wrap(self.build(file, encoded=False))


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
    dataset = _load_cached(
        name or cell.dataset,
        cell.dataset_fingerprint,
        data_dir,
        cell.image_size,
        cell.split_seed,
        cell.label_column,
        cell.group_column,
        measured,
        cell.class_split,
    )
    # Earlier cells tell none
    if cell.columns not in (None, features.columns(dataset, cell.features)):
        raise RuntimeError(f"columns of {dataset.name} changed while the run went on; start again")
    return dataset


@functools.lru_cache(maxsize=1)
def _load_cached(
    name: str,
    fingerprint: str,
    data_dir: str | None,
    image_size: int | None,
    split_seed: int,
    label: str | None,
    group: str | None,
    measured: Measured | None,
    classes: ClassSplit | None,
) -> Dataset:
    dataset = datasets.load(
        name,
        data_dir=Path(data_dir) if data_dir else None,
        image_size=image_size,
        split_seed=split_seed,
        label=label,
        group=group,
        before=measured,
        classes=classes,
        keep=True,
    )
    if dataset.fingerprint != fingerprint:
        raise RuntimeError(f"data set {name} changed while the run was going on; start again")
    return dataset

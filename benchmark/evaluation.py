"""`benchmark.evaluate`: a suite against a model of the caller's own process."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import random
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import ThreadpoolController

from benchmark import datasets
from benchmark.attacks.aiming import target
from benchmark.attacks.suites import load_suite
from benchmark.cells import Cell, cell_record
from benchmark.datasets import Dataset
from benchmark.datasets.examples import Examples
from benchmark.errors import DataError, ModelError
from benchmark.external import loading
from benchmark.external.builders import framework_of
from benchmark.external.model import ExternalModel, check_name, default_channels, slug
from benchmark.external.trial import EXAMPLES, kind_of
from benchmark.job import Job
from benchmark.reporter import Reporter
from benchmark.results import Store
from benchmark.results.records import ExternalRecord
from benchmark.resume import suites_of
from benchmark.stages.context import Context
from benchmark.text import reason_of
from benchmark.worker import do
from defenses import DefenseError, Threat
from defenses.data import check_classes, checked_data
from defenses.imports import import_torch_first, refuse_wrong_order

if TYPE_CHECKING:
    from pandas import DataFrame

# What arrays are called among data sets; their budgets under other norms are those of npz files.
DATASET = "npz:arrays"


def evaluate(
    model: Any,
    x: Any,
    y: Any,
    *,
    threat: Threat,
    suite: str,
    seed: int,
    name: str,
    attack_timeout: float | None,
    out: Path | str | None,
) -> DataFrame:
    """See `benchmark.evaluate`."""
    import reports

    check_name(name)
    framework = _framework(model)
    x, y = _data(x, y)
    chosen = load_suite(suite)
    ready, given, classes = _ready(model, framework, x, y, name)
    none, names = Examples(x[:0]), tuple(map(str, range(classes)))
    dataset = Dataset(DATASET, none, y[:0], none, y[:0], Examples(x), y, names)
    cell = _cell(model, framework, dataset, threat, seed, given)
    chosen.check_fits(threat.norm, x.shape[1:], classes)
    _check_weights(threat, x)
    budgets = {**datasets.defaults(DATASET).eps, threat.norm: threat.eps}
    with contextlib.ExitStack() as stack:
        folder = out or stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-evaluate-"))
        store = stack.enter_context(Store.create(Path(folder)).lock())
        stack.enter_context(_generators_kept())
        stack.enter_context(_one_thread_of_numpy())
        attacks = chosen.with_budgets(budgets).attacks
        job = Job(
            cell,
            chosen.name,
            attacks,
            str(store.path),
            None,
            external=given,
            attack_timeout=attack_timeout,
            curve=chosen.curve,
            corruptions=chosen.corruptions,
            certification=chosen.certification,
        )
        _run(job, ready, dataset, store)
        frame = reports.load(store.path)
    return frame[frame["cell_id"] == cell.cell_id].reset_index(drop=True)


def _framework(model: Any) -> str:
    framework = framework_of(model)
    if framework is None:
        raise ModelError(
            f"can't evaluate a {type(model).__module__}.{type(model).__name__}; allowed: "
            "torch.nn.Module and keras.Model (of a fitted defense, fitted.model)"
        )
    try:
        refuse_wrong_order(framework)
    except DefenseError as error:
        raise ModelError(str(error)) from error
    import_torch_first()
    return framework


def _data(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    try:
        return checked_data(x, y)
    except DefenseError as error:
        raise DataError(str(error)) from error


def _ready(
    model: Any, framework: str, x: np.ndarray, y: np.ndarray, name: str
) -> tuple[Any, ExternalModel, int]:
    """The model behind this project's conventions, what it gives, and how many classes."""
    kernel = loading.kernel(framework)
    channels = default_channels(framework)
    device = kernel.device_of(model)
    own = kernel.copied(model)
    given = ExternalModel(name, "evaluate:model", channels=channels, outputs="logits")
    try:
        ready = kernel.adapted(own, given, input_shape=x.shape[1:], device=device)
        found = np.asarray(kernel.outputs_of(ready, x[:EXAMPLES]))
    except Exception as error:  # whatever the user's code raises
        raise ModelError(
            f"the model can't take inputs of shape {x.shape[1:]} (a PyTorch module gets images "
            f"as NCHW): {reason_of(error)}"
        ) from error
    _check_outputs(found, len(x[:EXAMPLES]), y)
    given = dataclasses.replace(given, outputs=kind_of(found))
    ready = kernel.adapted(own, given, input_shape=x.shape[1:], device=device)
    return ready, given, found.shape[1]


def _check_outputs(outputs: np.ndarray, count: int, y: np.ndarray) -> None:
    if outputs.ndim != 2 or len(outputs) != count or outputs.shape[1] < 2:
        raise ModelError(
            f"the model gives outputs of shape {outputs.shape} for {count} examples; one logit a "
            "class is needed, (n, classes)"
        )
    if not np.isfinite(outputs).all():
        raise ModelError("the model's outputs are not finite on clean examples; check its weights")
    try:
        check_classes(y, outputs.shape[1])
    except DefenseError as error:
        raise DataError(str(error)) from error


def _cell(
    model: Any, framework: str, dataset: Dataset, threat: Threat, seed: int, given: ExternalModel
) -> Cell:
    digest = hashlib.sha256()
    for array in loading.kernel(framework).arrays_of(model):
        digest.update(np.ascontiguousarray(array).tobytes())
    sha256 = digest.hexdigest()
    return Cell(
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint,
        image_size=None,
        split_seed=0,
        model=slug(type(model).__name__),
        framework=framework,
        defense=given.name,
        parameters={"sha256": sha256[:12]},
        norm=threat.norm,
        eps=threat.eps,
        seed=seed,
        epochs=None,
        budget_ge=None,
        examples=len(dataset.x_test),
        source={
            "architecture": None,
            "builder": given.model,
            "builder_sha256": None,
            "weights": None,
            "weights_sha256": sha256,
            "channels": given.channels,
            "mean": [],
            "std": [],
            "outputs": given.outputs,
        },
        features=_features(threat),
    )


def _features(threat: Threat) -> dict[str, float] | None:
    """Position to the weight of each feature whose weight is not 1; None where there is none."""
    return {str(place): w for place, w in enumerate(threat.weights or ()) if w != 1} or None


def _check_weights(threat: Threat, x: np.ndarray) -> None:
    if threat.weights is not None and x.shape[1:] != (len(threat.weights),):
        raise DataError(
            f"the threat has weights of {len(threat.weights)} features, and x is {x.shape}"
        )


def _run(job: Job, model: Any, dataset: Dataset, store: Store) -> None:
    """The stages of the suite, and the cell's record."""
    cell, clock = job.cell, time.perf_counter()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    device = loading.kernel(cell.framework).device_of(model)
    attacked = target(cell, model, dataset, np.arange(len(dataset.x_test)), device=device)
    record = ExternalRecord(seconds=0.0, source=dict(cell.source or {}))
    store.write_stage(cell.cell_id, "given", record.stored())
    context = Context(cell, store, device, Reporter(None, cell.cell_id), external=job.external)
    context.dataset, context.model, context.target = dataset, model, attacked
    for stage in job.stages:
        if not stage.essential:  # the model is there already
            do(stage, context)
    ended = cell_record(
        cell,
        status="ok",
        suites=suites_of(job, store),
        device=device,
        threads=0,
        seconds=time.perf_counter() - clock,
        started=started,
        gradient_evaluations=None,
    )
    store.write_cell(cell.cell_id, ended)


@contextlib.contextmanager
def _one_thread_of_numpy() -> Iterator[None]:
    """Unless the environment tells: its threads would wait for the CPUs that PyTorch's spin on.

    What PyTorch may compute with itself, MKL or an OpenBLAS of OpenMP's threads, is left alone.
    """
    if "OPENBLAS_NUM_THREADS" in os.environ:
        yield
        return
    own = {"internal_api": "openblas", "threading_layer": "pthreads"}
    with ThreadpoolController().select(**own).limit(limits=1):
        yield


@contextlib.contextmanager
def _generators_kept() -> Iterator[None]:
    """The caller's global generators, which attacks seed for themselves, go on as they were."""
    ours, theirs = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(ours)
        np.random.set_state(theirs)  # noqa: NPY002

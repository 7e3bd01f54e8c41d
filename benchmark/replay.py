"""One stored claim against its model again: weights loaded, adversarial examples replayed.

This runs in a process of the cell's framework. A claim holds if the data are the same, the model
says of the clean examples and of the stored adversarial ones what it is said to have said, these
are within budget and range, and the accuracies follow from the outcomes. Another machine may round
otherwise, so a prediction counts as the same if its score is within `ROUNDING` of the largest.
Behind ART's defenses the whole pipeline answers, a random one with the draws that it had.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

import defenses
from benchmark import frameworks, models
from benchmark.attacks.measure import measure
from benchmark.attacks.running import judging_seed
from benchmark.attacks.target import Target, target
from benchmark.cells import Cell, cell_of
from benchmark.datasets import Dataset
from benchmark.errors import BenchError, StoreError
from benchmark.external.given import from_source
from benchmark.external.loading import BUILDERS, ready
from benchmark.results import Record, Store
from benchmark.stages.context import load_dataset
from benchmark.verify import DIFFERS, HOLDS, UNCHECKED, Claim, serve_claims
from defenses.wrappers import WRAPPERS, encoded_shape

ROUNDING = 1e-3

_VIOLATIONS = {
    "budget": "leave the budget",
    "box": "leave the range [0, 1]",
    "non_finite": "are not finite",
}

_SHOWN = 3  # differences that are told of one claim

Arrays = dict[str, np.ndarray]


def serve(connection: Connection, framework: str, device: str, threads: int) -> None:
    """Answers claims that come over `connection` with (state, text) until it is closed."""
    place = frameworks.prepare(framework, device=device, threads=threads)
    serve_claims(connection, functools.partial(replay, device=place))


def replay(claim: Claim, *, device: str) -> tuple[str, str]:
    """State and text of a verdict; an error means that the claim can't be checked."""
    try:
        store = Store.open(claim.out)
        cell = _cell(store, claim.cell_id)
        if cell.cell_id != claim.cell_id:
            return DIFFERS, f"its configuration is that of {cell.cell_id}"
        record = store.read_stage(claim.cell_id, f"attacks/{claim.key}")
        if record is None:
            return DIFFERS, "the stored attack is damaged"
        arrays = store.read_arrays(claim.cell_id, f"attacks/{claim.key}", f"{claim.key}.npz")
        target = _target(claim.out, claim.cell_id, claim.data_dir, device)
        found = list(_differences(cell, record, arrays, target))
    except BenchError as error:
        return UNCHECKED, str(error)
    except Exception as error:
        traceback.print_exc()
        return UNCHECKED, f"{type(error).__name__}: {error}".splitlines()[0]
    if found:
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        return DIFFERS, "; ".join(found[:_SHOWN]) + more
    clean, samples = len(arrays["test_index"]), len(arrays["sample_index"])
    return HOLDS, f"{clean} clean predictions and {samples} adversarial examples replayed"


def _cell(store: Store, cell_id: str) -> Cell:
    record = store.read_cell(cell_id)
    if record is None:
        raise StoreError("cell.json is missing or damaged")
    return cell_of(record["config"])


@functools.lru_cache(maxsize=1)
def _target(out: str, cell_id: str, data_dir: str | None, device: str) -> Target:
    """The model of a cell, its stored weights, what is around it, and the whole test part."""
    store = Store.open(out)
    cell = _cell(store, cell_id)
    data = load_dataset(cell, data_dir)
    model = (
        _model(store, cell, data, device)
        if cell.source is None
        else _given(store, cell, data, device)
    )
    one = target(cell, model, data, np.arange(1), device=device)
    return dataclasses.replace(
        one,
        x=data.x_test,
        y=data.y_test,
        clean_prediction=np.empty(0, dtype=np.int64),
        index=np.arange(len(data.x_test)),
    )


def _given(store: Store, cell: Cell, data: Dataset, device: str) -> Any:
    """A model that someone else trained, from the weights in the store; no code of theirs runs."""
    assert cell.source is not None
    if cell.source["architecture"] not in (None, *models.names()) or cell.source["builder"]:
        raise StoreError("its model is built by code of its owner, which is not run here")
    record = store.read_stage(cell.cell_id, "given")
    if record is None or len(record["files"]) != 1:
        raise StoreError("the stored weights are missing or damaged")
    (name,) = record["files"]
    given = from_source(cell.defense, cell.source, str(store.cell_folder(cell.cell_id) / name))
    return ready(given, cell, data.input_shape, data.classes, device=device)


def _model(store: Store, cell: Cell, data: Dataset, device: str) -> Any:
    """The model of a trained cell."""
    builder = importlib.import_module(BUILDERS[cell.framework])
    model_input = encoded_shape(cell.wrapped_in, data.input_shape)
    specification = models.specification(cell.model, model_input, data.classes)
    model = builder.build(specification, specification.initial_weights(cell.seed))
    model = model.to(device) if cell.framework == "torch" else model
    folder = store.cell_folder(cell.cell_id)
    adapted = (folder / "adaptation.json").exists()
    stage, name = ("adaptation", "adapted") if adapted else ("training", "weights")
    record = store.read_stage(cell.cell_id, stage)
    weights = f"{name}{builder.WEIGHTS_SUFFIX}"
    if record is None or weights not in record["files"]:
        raise StoreError(f"the stored {stage} is missing or damaged")
    builder.load_weights(model, folder / weights)
    threat = defenses.Threat(cell.norm, cell.eps)
    defense = defenses.create(cell.trained_by, threat, cell.training_parameters)
    return defense.resume(model).model


def _differences(cell: Cell, record: Record, arrays: Arrays, target: Target) -> Iterator[str]:
    """Everything in which the claim doesn't hold, in words."""
    given = (record["norm"], record["eps"])
    if not record.get("own_threat") and given != (cell.norm, cell.eps):
        yield f"attacked within {given[0]} {given[1]} instead of {cell.norm} {cell.eps}"
    index, label = arrays["test_index"], arrays["label"]
    if not _same_labels(index, label, target.y):
        yield "the test examples have other labels"
        return
    frameworks.seed_everything(cell.seed)  # as it was when the attacks began
    scores = target.predict(target.x[index])
    if wrong := int((~agrees(scores, arrays["clean_prediction"])).sum()):
        yield f"{wrong} of {len(index)} clean predictions differ"
    correct, success = arrays["clean_correct"], arrays["success"]
    if not np.array_equal(correct, arrays["clean_prediction"] == label):
        yield "what is clean-correct doesn't follow from the predictions"
    attacked = arrays.get("attacked", np.ones(len(index), dtype=bool))
    accuracies = {
        "clean_accuracy": correct[attacked].mean(),
        "robust_accuracy": (correct & ~success)[attacked].mean(),
    }
    for name, found in accuracies.items():
        if abs(record[name] - found) > 1e-9:
            yield f"{name} is told as {record[name]}, the outcomes give {found}"
    yield from _sample_differences(cell, record, arrays, target)


def _sample_differences(
    cell: Cell, record: Record, arrays: Arrays, target: Target
) -> Iterator[str]:
    """The same of the stored adversarial examples."""
    samples, clean = arrays["sample_adversarial"], arrays["sample_clean"]
    places = {int(number): row for row, number in enumerate(arrays["test_index"])}
    rows = np.array([places[int(number)] for number in arrays["sample_index"]], dtype=np.int64)
    if not len(rows):
        return
    if samples.shape != clean.shape or not np.array_equal(
        clean, target.x[arrays["test_index"][rows]]
    ):
        yield "the stored clean examples are not those of the data"
        return
    scores = _judged(cell, record, arrays, target, rows)
    label, told = arrays["label"][rows], arrays["adversarial_prediction"][rows]
    found = measure(
        clean,
        samples,
        scores,
        clean_prediction=arrays["clean_prediction"][rows],
        label=label,
        norm=record["norm"],
        eps=float("inf") if record["eps"] is None else record["eps"],
    )
    for name, count in found.violations.items():
        if count:
            yield f"{count} of {len(rows)} adversarial examples {_VIOLATIONS[name]}"
    fooled = agrees(scores, told) & (told != label) & arrays["success"][rows]
    if lost := int((~fooled).sum()):
        yield f"{lost} of {len(rows)} adversarial examples don't fool the model as told"


def _judged(
    cell: Cell, record: Record, arrays: Arrays, target: Target, rows: np.ndarray
) -> np.ndarray:
    """What the pipeline says of the stored adversarial examples, with the draws that it then had.

    A random defense draws for the whole batch at once, whatever is in it: so each example stands
    where it stood, among clean ones.
    """
    if not any(WRAPPERS[name].random for name in cell.wrapped_in):
        return target.predict(arrays["sample_adversarial"])
    batch = target.x[arrays["test_index"]]
    batch[rows] = arrays["sample_adversarial"]
    frameworks.seed_everything(judging_seed(cell.seed, record["name"]))
    return target.predict(batch)[rows]


def agrees(scores: np.ndarray, told: np.ndarray) -> np.ndarray:
    """Whether each prediction `told` (n,) is the largest of its scores (n, classes), or nearly."""
    chosen = scores[np.arange(len(scores)), told]
    same: np.ndarray = chosen >= scores.max(axis=1) - ROUNDING
    return same


def _same_labels(index: np.ndarray, label: np.ndarray, known: np.ndarray) -> bool:
    fits = index.ndim == 1 and index.size and index.min() >= 0 and index.max() < len(known)
    return bool(fits) and np.array_equal(label, known[index])

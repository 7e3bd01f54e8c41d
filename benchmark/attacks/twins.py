"""Transfer between frameworks: adversarial examples of one model, tried on its twin.

The twin is the cell that differs in nothing but the framework. Its stored weights are built in the
framework at hand, where both models then find the same examples as at home, to float tolerance.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

import defenses
from benchmark import frameworks
from benchmark.attacks.creating import create
from benchmark.attacks.measure import measure as measure_attack
from benchmark.attacks.running import judging_seed
from benchmark.attacks.suites import AttackSpec
from benchmark.attacks.surrogates import stored_estimator
from benchmark.attacks.target import Target
from benchmark.cells import Cell, Job
from benchmark.datasets import Dataset
from benchmark.reporter import Reporter
from benchmark.results import Store, npz_writer

FOLDER = "transfers"
ATTACK = AttackSpec("pgd", "pgd", {"max_iter": 20, "eps_step": "0.125 eps", "num_random_init": 1})
EXAMPLES = 200
_OTHER = {"torch": "tensorflow", "tensorflow": "torch"}


def twin_of(cell: Cell) -> Cell:
    """The cell that differs in nothing but the framework."""
    return dataclasses.replace(cell, framework=_OTHER[cell.framework])


def measure(
    job: Job, target: Target, dataset: Dataset, store: Store, reporter: Reporter, *, device: str
) -> None:
    """Try the adversarial examples of the job's model and of its twin on each other.

    A stage "transfers/<the twin's framework>": a record, and an npz with `fools`, (2, 2, n) bool:
    of the model that the examples were made on, and of the one that they were tried on, this model
    first. Nothing is done while the twin is not trained: whichever of the two comes second does it.
    Models that someone else trained and models behind input or output defenses are left out.
    """
    twin_cell = twin_of(job.cell)
    stage = f"{FOLDER}/{twin_cell.framework}"
    if job.given or job.cell.wrapped_in or store.read_stage(job.cell.cell_id, stage):
        return
    weights = trained_weights(twin_cell, store)
    if weights is None:
        return
    reporter.stage("transfer between frameworks")
    twin = stored_estimator(job.cell, dataset, weights, device)
    record, fools = transferred(job.cell, target, twin)
    files = {f"{twin_cell.framework}.npz": npz_writer({"fools": fools})}
    store.write_stage(job.cell.cell_id, stage, record, files)


def transferred(cell: Cell, target: Target, twin: Any) -> tuple[dict[str, Any], np.ndarray]:
    """The stage's record and `fools`, of the cell's model and its twin's estimator."""
    fools = transfer(
        (target.estimator, twin),
        target.x[:EXAMPLES],
        target.y[:EXAMPLES],
        norm=cell.norm,
        eps=cell.eps,
        seed=cell.seed,
    )
    return {
        "status": "ok",
        "twin": twin_of(cell).cell_id,
        "attack": ATTACK.entry.target.partition(":")[2],
        "arguments": ATTACK.resolved(cell.eps),
        "examples": int(fools.shape[2]),
        # Of the examples that both models classify correctly.
        "success": fools.mean(axis=2).tolist() if fools.shape[2] else None,
    }, fools


def transfer(
    estimators: tuple[Any, Any],
    x: np.ndarray,
    y: np.ndarray,
    *,
    norm: str,
    eps: float,
    seed: int,
) -> np.ndarray:
    """Which adversarial examples of each model fool each, (2, 2, n): made on, tried on.

    Those that leave the budget or the box fool nobody.

    Args:
        estimators: of two models.
        x: clean examples; those count that both models classify correctly, n of them.
        y: their labels.
        norm: of the threat.
        eps: the budget.
        seed: of the attack's starts, which are the same on both models.
    """
    right = np.all([_predict(one, x) == y for one in estimators], axis=0)
    x, y = x[right], y[right]
    fools = np.zeros((2, 2, len(x)), dtype=bool)
    if not len(x):
        return fools
    for made, source in enumerate(estimators):
        frameworks.seed_everything(judging_seed(seed, FOLDER))
        x_adv = create(ATTACK, source, norm, eps).generate(x=x.copy(), y=y)
        for tried, victim in enumerate(estimators):
            found = measure_attack(
                x, x_adv, victim.predict(x_adv), clean_prediction=y, label=y, norm=norm, eps=eps
            )
            fools[made, tried] = found.success
    return fools


def _predict(estimator: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(estimator.predict(x).argmax(axis=1))


def trained_weights(twin: Cell, store: Store) -> Path | None:
    """The file of the weights that the twin is attacked with; None while it has none."""
    if store.read_stage(twin.cell_id, "training") is None:
        return None
    adapts = defenses.create(
        twin.trained_by, defenses.Threat(twin.norm, twin.eps), twin.training_parameters
    ).adapts
    if adapts and store.read_stage(twin.cell_id, "adaptation") is None:
        return None
    suffix = {"torch": ".safetensors", "tensorflow": ".weights.h5"}[twin.framework]
    return store.cell_folder(twin.cell_id) / f"{'adapted' if adapts else 'weights'}{suffix}"

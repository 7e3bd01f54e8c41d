"""Trainings in bfloat16: near float32, near each other in both frameworks, never measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import serve
from small_defenses import BUILDERS, SMALL, THREAT, build, data

import defenses
from benchmark import models
from benchmark.cells import cell_of
from benchmark.config import read
from benchmark.errors import UnknownName
from benchmark.executors.interface import Task
from benchmark.job import Job
from benchmark.plans.run import make_plan
from benchmark.results import Store
from benchmark.stages.training import training_key

FRAMEWORKS = ("torch", "tensorflow")


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_defense_trains_in_bfloat16(framework: str, name: str) -> None:
    x, y = data()
    trained = {}
    for precision in ("float32", "bf16"):
        model = build(framework)
        fitted = defenses.create(name, THREAT, SMALL[name]).fit(
            model, x, y, epochs=1, precision=precision
        )
        trained[precision] = fitted.outcome.history[0]["loss"]
        assert all(value.dtype == np.float32 for value in fitted.kernel.weights().values())
        assert fitted.predict(x[:2]).dtype == np.float32
    assert trained["bf16"] != trained["float32"]
    assert trained["bf16"] == pytest.approx(trained["float32"], rel=0.05)


STEADY = {"optimizer": "sgd", "learning_rate": 0.01}
UPDATES = {"none": STEADY, "pgd-at": {**STEADY, "attack_steps": 2}}


@pytest.mark.parametrize(("name", "parameters"), UPDATES.items(), ids=UPDATES)
def test_both_frameworks_take_nearly_equal_steps(name: str, parameters: dict[str, Any]) -> None:
    specification = models.specification("preact-resnet18(width=4)", (8, 8, 3), 3)
    start, (x, y) = specification.initial_weights(0), data((8, 8, 3), count=16)
    defense = defenses.create(name, THREAT, parameters)

    def moved(framework: str, precision: str) -> np.ndarray:
        """How one update moves weights and running statistics."""
        model = BUILDERS[framework].build(specification, start)
        defense.fit(model, x, y, epochs=1, precision=precision)
        found = BUILDERS[framework].get_weights(model)
        return np.concatenate([(found[one] - start[one]).ravel() for one in start if one in found])

    torch, tensorflow = (moved(framework, "bf16") for framework in FRAMEWORKS)
    apart = np.linalg.norm(torch - tensorflow)
    assert apart < 0.03 * np.linalg.norm(torch)
    # Both round alike
    assert apart < 0.3 * np.linalg.norm(torch - moved("torch", "float32"))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_is_not_an_update_is_in_float32(framework: str) -> None:
    x, y = data()
    kernel = defenses.create("pgd-at", THREAT, SMALL["pgd-at"]).resume(build(framework)).kernel
    usual = kernel.predict(x), kernel.input_gradient(x, y)
    draws = {"x": x[:16], "y": y[:16], "start": np.zeros_like(x[:16])}
    with kernel.in_bfloat16():
        kernel.step(draws, learning_rate=0.0, eps=0.1)
    np.testing.assert_array_equal(kernel.predict(x), usual[0])
    np.testing.assert_array_equal(kernel.input_gradient(x, y), usual[1])


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(defenses.DefenseError, match="unknown precision 'fp16'"):
        defenses.create("none", THREAT).fit(build("torch"), *data(), epochs=1, precision="fp16")


def planned(**given: Any) -> Job:
    usual = {"defense": "none", "framework": "torch", "model": "mlp", "epochs": 1, "examples": 10}
    return make_plan(read({**usual, "baseline": False, **given})).jobs[0]


def test_it_is_part_of_the_cell_and_of_its_training_key_where_it_is_not_float32() -> None:
    usual, plain, lowered = (
        planned(**given).cell for given in ({}, {"precision": "float32"}, {"precision": "bf16"})
    )
    assert usual.cell_id == plain.cell_id
    assert "precision" not in usual.config()
    assert lowered.config()["precision"] == "bf16"
    assert cell_of(lowered.config()) == lowered
    assert training_key(lowered) != training_key(usual)


def test_a_run_trains_so(tmp_path: Path) -> None:
    store, losses = Store.create(tmp_path), []
    for precision in ("float32", "bf16"):
        job = planned(precision=precision, out=str(tmp_path))
        serve(Task(job, stages=("training",), ends=False))
        stored = store.read_stage(job.cell.cell_id, "training")
        assert stored is not None
        losses.append(stored["history"][0]["loss"])
    assert losses[0] != losses[1]


def test_another_type_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown precision 'fp16'"):
        read({"defense": "none", "precision": "fp16"})

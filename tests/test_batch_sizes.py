"""How many examples attacks take at a time: what is asked for, what fits, what a record says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import untrained
from serving import serve

import defenses
from benchmark import frameworks
from benchmark.attacks.running import run_attack
from benchmark.attacks.sizes import fitting, smaller
from benchmark.attacks.suites import AttackSpec
from benchmark.config import read
from benchmark.errors import ConfigError
from benchmark.estimators.passes import asking, chunks, rows_at_once
from benchmark.plans.run import make_plan
from benchmark.reporter import Reporter
from benchmark.results import Store
from benchmark.stages.context import Context
from benchmark.verification.attack import check
from benchmark.verification.comparison import Comparison
from benchmark.verification.loaded import Loaded, Machine

PGD = AttackSpec("pgd", "pgd", {"max_iter": 2})


def test_passes_are_cut_into_batches_of_the_size() -> None:
    with asking(4):
        assert [(part.start, part.stop) for part in chunks(9)] == [(0, 4), (4, 8), (8, 12)]
    assert (rows_at_once(), len(chunks(501))) == (250, 3)


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_an_attack_takes_so_many_at_a_time_and_says_so(make_target: Any, framework: str) -> None:
    target = make_target(framework)
    seen: list[int] = []
    gradient = target.estimator.loss_gradient

    def watched(x: Any, y: Any, *more: Any, **rest: Any) -> Any:
        seen.append(len(x))
        return gradient(x, y, *more, **rest)

    target.estimator.loss_gradient = watched
    told = {"key": "k", "norm": "linf", "eps": 0.01, "seed": 0}
    with asking(5):
        record, _ = run_attack(PGD, target, **told)
    assert max(seen) == record["batch_size"] == 5
    usual, _ = run_attack(PGD, target, **told)
    assert "batch_size" not in usual
    assert usual["backwards"] == record["backwards"]


def memory(free: int, each: int) -> Any:
    """Of a device, where an example takes `each` bytes."""

    def taken_by(call: Callable[[], object]) -> int:
        call()
        return 24 * each

    return SimpleNamespace(free=lambda: free, taken_by=taken_by)


SIZES = {
    "plenty": (10**9, 1, 4000),
    "whole steps of the usual size": (6_000_000, 1000, 3500),
    "less than the usual": (10_000, 1000, 6),
    "hardly any": (100, 1000, 1),
}


@pytest.mark.parametrize(("free", "each", "expected"), SIZES.values(), ids=SIZES)
def test_auto_goes_by_free_memory(make_target: Any, free: int, each: int, expected: int) -> None:
    target = make_target("torch")
    found = fitting(target.estimator, target.x, target.y, memory(free, each))
    assert found == expected
    assert target.estimator.passes.backwards == 0


@pytest.mark.parametrize(("device", "expected"), [("cpu", 250), ("cuda", 4000)])
def test_auto_asks_the_device_and_is_the_usual_size_on_a_cpu(
    make_target: Any, monkeypatch: pytest.MonkeyPatch, device: str, expected: int
) -> None:
    monkeypatch.setattr(frameworks, "part", lambda table, framework: memory(10**9, 1))
    cell = SimpleNamespace(framework="torch")
    context = Context(cell, None, device, Reporter(None, ""), batch_size="auto")  # type: ignore[arg-type]
    context.__dict__["target"] = make_target("torch")
    assert context.at_once == expected


def test_read_outs_take_as_many_rows_at_a_time_as_attacks() -> None:
    cell = SimpleNamespace(framework="torch")
    context = Context(cell, None, "cpu", Reporter(None, ""), batch_size=7)  # type: ignore[arg-type]
    fitted = defenses.create("pgd-at", untrained.THREAT).resume(untrained.model("torch"))
    context.__dict__ |= {"fitted": fitted, "defense": fitted.defense}
    assert context.readable.rows == 7


def short_of_memory(target: Any, most: int) -> Any:
    """The target, on a device where a pass of more examples runs out of memory."""
    gradient = target.estimator.loss_gradient

    def limited(x: Any, y: Any, *more: Any, **rest: Any) -> Any:
        if min(len(x), rows_at_once()) > most:
            raise MemoryError("no room")
        return gradient(x, y, *more, **rest)

    target.estimator.loss_gradient = limited
    return target


ROOM = {
    "a quarter fits": (7, "try --batch-size 6, or fewer --jobs: 24 "),
    "nothing fits": (0, "try fewer --jobs: 24 "),
}


@pytest.mark.parametrize(("most", "words"), ROOM.values(), ids=ROOM)
def test_where_memory_runs_out_a_size_is_named_that_fits(
    make_target: Any, most: int, words: str
) -> None:
    target = short_of_memory(make_target("torch"), most)
    with asking(24):
        record, _ = run_attack(PGD, target, key="k", norm="linf", eps=0.01, seed=0)
    assert record["status"] == "failed"
    assert record["reason"] == f"out of memory (MemoryError: no room); {words}" + (
        "examples are asked about at a time"
    )


def test_another_error_while_sizes_are_tried_is_no_answer(make_target: Any) -> None:
    target = make_target("torch")
    target.estimator.loss_gradient = lambda *given, **named: 1 / 0
    with pytest.raises(ZeroDivisionError):
        smaller(target.estimator, target.x, target.y)


@pytest.mark.parametrize("given", ["0", "-3", "many", 2.5, True])
def test_a_wrong_size_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="give auto, or a whole number from 1 up"):
        read({"defense": "none", "batch_size": given})


def test_a_run_keeps_to_it_and_is_verified_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("attacks:\n  pgd: {attack: pgd, arguments: {max_iter: 2}}\n")
    out = tmp_path / "out"
    given = {"defense": "none", "framework": "torch", "model": "mlp", "epochs": 1, "examples": 20}
    plan = make_plan(read({**given, "suite": "mine.yaml", "out": str(out), "batch_size": "8"}))
    store = Store.create(out)
    (job,) = plan.jobs
    serve(job)
    usual = make_plan(read({**given, "suite": "mine.yaml", "out": str(out)}))
    assert usual.jobs[0].attack_keys() == job.attack_keys()
    for key in job.attack_keys().values():
        record = store.read_stage(job.cell.cell_id, f"attacks/{key}")
        assert record is not None
        assert record["batch_size"] == 8
        loaded = Loaded(str(out), job.cell.cell_id, None, Machine("cpu", 1))
        found = Comparison()
        check(loaded, key, found)
        assert found.differs == []

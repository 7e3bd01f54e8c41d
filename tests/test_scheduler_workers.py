"""What the scheduler decides about workers: who is hired, stays or goes, and what a fall costs."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sleeping_worker
from scripted_executor import MAKING, REST, Scripted, jobs, run

from benchmark.errors import BenchError
from benchmark.events import CellFinished, CellPaused, CellStarted
from benchmark.executors import scheduler
from benchmark.executors.interface import Gone
from benchmark.results import Store

DIES = Gone("killed by SIGKILL")
LOST = Gone("its machine was lost", lost=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "out")


def behind(job: Any, *others: Any) -> Any:
    """`job`, of which nothing begins before the others have ended."""
    needs = frozenset(other.cell.cell_id for other in others)
    return replace(job, after=needs, training_after=needs)


def outcomes(done: list[CellFinished]) -> list[tuple[int, str]]:
    return [(one.job.cell.seed, one.status) for one in done]


@pytest.mark.parametrize("fall", [DIES, LOST], ids=["dies", "machine-lost"])
def test_who_falls_at_a_part_of_a_cell_that_has_ended_costs_nothing(
    store: Store, fall: Gone
) -> None:
    executor = Scripted(
        store,
        most=2,
        raises=frozenset({(0, "attack fgsm")}),
        fate={(0, "attack pgd", 1): fall},
    )
    done, events = run(executor, *jobs(store, 2), long=0.0)
    assert outcomes(done) == [(0, "failed"), (1, "ok")]
    assert sum(one[1:] == (0, ("attacks/pgd",)) for one in executor.given) == 1
    paused = [(one.job.cell.seed, one.done) for one in events if isinstance(one, CellPaused)]
    assert (0, False) in paused


def test_a_part_is_told_as_done_where_its_cell_goes_on_and_nowhere_else(store: Store) -> None:
    """Else progress would count the last part of a cell twice, or the others never."""
    _, events = run(Scripted(store), *jobs(store, 2), long=0.0)
    paused = [one.job.cell.seed for one in events if isinstance(one, CellPaused)]
    assert paused == [0, 0, 0, 1, 1, 1]  # the making, and each of two attacks


def test_a_task_isnt_taken_from_a_worker_of_the_other_framework(store: Store) -> None:
    """What a slot may be given, the scripted executor asserts."""
    executor = Scripted(store, most=2, unplaced=frozenset({1}))
    torch, other = jobs(store, 2), sleeping_worker.job(store.path, 2, framework="tensorflow")
    done, _ = run(executor, *torch[:1], other, *torch[1:])
    assert sorted(outcomes(done)) == [(0, "ok"), (1, "ok"), (2, "ok")]
    assert len(executor.given) == 6  # the making and the rest of each


def test_who_had_its_task_taken_is_let_go_once_it_has_a_place(store: Store) -> None:
    executor = Scripted(store, most=2, unplaced=frozenset({1}), slow=frozenset({2}))
    first, second = jobs(store, 2)
    last = sleeping_worker.job(store.path, 2, framework="tensorflow")
    run(executor, first, second, behind(last, first, second))
    assert executor.let_go.index(1) < len(executor.let_go) - 1


@pytest.mark.parametrize("distributed", [True, False])
def test_a_worker_stays_for_what_waits_for_others_where_a_new_one_takes_its_time(
    store: Store, distributed: bool
) -> None:
    executor = Scripted(store, most=2, slow=frozenset({0}), distributed=distributed)
    slow = sleeping_worker.job(store.path, 0, framework="tensorflow")
    quick, waits = (sleeping_worker.job(store.path, seed) for seed in (1, 2))
    run(executor, slow, quick, behind(waits, slow))
    assert executor.hired[:2] == [(0, "tensorflow"), (1, "torch")]
    assert len(executor.hired) == (2 if distributed else 3)


def test_a_worker_stays_for_parts_of_a_cell_that_is_being_made(store: Store) -> None:
    executor = Scripted(store, most=2, slow=frozenset({0}))
    run(executor, *jobs(store, 2), long=0.0)
    assert len(executor.hired) == 2
    assert {slot for slot, seed, _ in executor.given if seed == 0} == {0, 1}


def test_a_worker_isnt_kept_for_what_only_the_other_framework_can_do(store: Store) -> None:
    executor = Scripted(store, most=2, slow=frozenset({0}))
    run(executor, sleeping_worker.job(store.path, 0, framework="tensorflow"), *jobs(store, 2)[1:])
    assert executor.let_go[0] == 1


@pytest.mark.parametrize("fails", [True, False])
def test_a_worker_isnt_kept_for_what_a_failed_cell_or_another_framework_waits_for(
    store: Store, fails: bool
) -> None:
    slow, other = (sleeping_worker.job(store.path, seed, framework="tensorflow") for seed in (0, 2))
    executor = Scripted(
        store,
        most=4,
        slow=frozenset({0}),
        raises=frozenset({(1, "attack fgsm")} if fails else {}),
    )
    others = [] if fails else [behind(other, slow)]
    run(executor, slow, sleeping_worker.job(store.path, 1), *others, long=0.0)
    assert (1, "tensorflow") in executor.hired  # for an attack of the slow one


def test_a_worker_that_could_wait_gives_its_place_to_what_can_begin(store: Store) -> None:
    executor = Scripted(store, most=2, slow=frozenset({0}))
    other = sleeping_worker.job(store.path, 3, framework="tensorflow")
    run(executor, *jobs(store, 3), other)
    order = [(seed, stages) for _, seed, stages in executor.given]
    assert order.index((3, MAKING)) < order.index((0, REST))


def test_a_worker_may_wait_while_others_are_hired_beside_it(store: Store) -> None:
    executor = Scripted(store, most=3, slow=frozenset({0}))
    torch = jobs(store, 2)
    other = sleeping_worker.job(store.path, 2, framework="tensorflow")
    run(executor, *torch, behind(other, torch[1]))
    assert [framework for _, framework in executor.hired] == ["torch", "torch", "tensorflow"]
    assert executor.let_go == [2, 0]


def test_a_new_worker_takes_the_slot_of_the_one_that_fell(store: Store) -> None:
    executor = Scripted(store, most=2, slow=frozenset({1}), fate={(0, "training", 1): DIES})
    run(executor, *jobs(store, 3))
    assert executor.hired == [(0, "torch"), (1, "torch"), (0, "torch")]


def test_who_falls_before_it_has_a_place_fails_its_task_or_gives_it_back(store: Store) -> None:
    executor = Scripted(store, falls=[LOST, DIES])
    done, events = run(executor, *jobs(store, 2))
    assert [(one.job.cell.seed, one.status, one.reason) for one in done] == [
        (0, "failed", "killed by SIGKILL while starting"),
        (1, "ok", ""),
    ]
    assert [one.attempt for one in events if isinstance(one, CellStarted)] == [2, 1, 1]
    assert [one.job.cell.seed for one in events if isinstance(one, CellPaused)] == [1]


def test_nobody_is_hired_for_a_folder_that_is_gone(store: Store) -> None:
    executor = Scripted(store)
    shutil.rmtree(store.path)
    with pytest.raises(BenchError, match="was moved or removed"):
        run(executor, *jobs(store, 1))
    assert (executor.hired, executor.stopped) == ([], True)


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the scheduler's clock is a second."""
    clock = itertools.count()
    monkeypatch.setattr(scheduler, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))


@pytest.mark.usefixtures("ticks")
def test_a_cell_of_several_tasks_is_timed_from_the_first(store: Store) -> None:
    (done,), _ = run(Scripted(store), *jobs(store, 1))
    record = store.read_cell(done.job.cell.cell_id)
    assert record is not None
    assert (record["seconds"], done.seconds) == (2.0, 3.0)  # the first look was 0, the rest's 1


@pytest.mark.usefixtures("ticks")
def test_a_cell_of_one_task_keeps_the_time_that_its_worker_took(store: Store) -> None:
    (done,), _ = run(Scripted(store, distributed=False), *jobs(store, 1))
    record = store.read_cell(done.job.cell.cell_id)
    assert record is not None
    assert "seconds" not in record  # as in the record that the scripted worker sends


@pytest.mark.usefixtures("ticks")
def test_a_fall_is_recorded_with_what_the_cell_had_cost(store: Store) -> None:
    (done,), _ = run(Scripted(store, fate={(0, "attack pgd", 1): DIES}), *jobs(store, 1))
    record = store.read_cell(done.job.cell.cell_id)
    assert record is not None
    assert record["gradient_evaluations"] == 1000.0
    assert record["seconds"] == 3.0

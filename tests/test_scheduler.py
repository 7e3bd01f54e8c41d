"""What the scheduler decides about tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sleeping_worker
from scripted_executor import MAKING, REST, Scripted, jobs, run

from benchmark.cli.progress import Progress
from benchmark.events import CellFinished, CellNotice, CellPaused, CellProgress, CellStarted
from benchmark.executors.interface import Gone
from benchmark.executors.scheduler import MOST_ATTEMPTS
from benchmark.executors.tasks import Waiting
from benchmark.results import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "out")


def test_a_cell_is_made_and_then_goes_on_where_it_was(store: Store) -> None:
    executor = Scripted(store)
    done, _ = run(executor, *jobs(store, 2))
    assert executor.given == [(0, 0, MAKING), (0, 0, REST), (0, 1, MAKING), (0, 1, REST)]
    assert [one.status for one in done] == ["ok", "ok"]
    assert executor.hired == [(0, "torch")]


def test_without_a_cluster_a_cell_is_one_task(store: Store) -> None:
    executor = Scripted(store, distributed=False)
    run(executor, *jobs(store, 2), long=0.0)
    assert executor.given == [(0, 0, None), (0, 1, None)]


def test_long_attacks_are_tasks_of_their_own_and_the_rest_waits_for_them(store: Store) -> None:
    executor = Scripted(store, most=2, slow=frozenset({0}))
    done, events = run(executor, *jobs(store, 1), long=0.0)
    assert [stages for _, _, stages in executor.given] == [
        MAKING, ("attacks/fgsm",), ("attacks/pgd",), ("trust/quick", "transfers/tensorflow"),
    ]  # fmt: skip
    assert {slot for slot, _, _ in executor.given} == {0, 1}
    assert [one.status for one in done] == ["ok"]
    assert sum(isinstance(event, CellFinished) for event in events) == 1
    assert all(event.done for event in events if isinstance(event, CellPaused))
    begins = [event.begins for event in events if isinstance(event, CellStarted)]
    assert begins == [True, False, False, False]  # else each is shown as the start of the cell


LOST = Gone("its machine was lost", ": heartbeat", lost=True)


def test_a_task_of_a_lost_machine_is_given_out_again_with_the_next_number(store: Store) -> None:
    executor = Scripted(store, fate={(0, "attack pgd", 1): LOST})
    done, events = run(executor, *jobs(store, 1))
    assert [one.status for one in done] == ["ok"]
    assert [stages for _, _, stages in executor.given] == [MAKING, REST, REST]
    assert [one.attempt for one in events if isinstance(one, CellStarted)] == [1, 1, 2]


def test_a_task_whose_machines_are_lost_again_and_again_fails_its_cell(store: Store) -> None:
    fate = {(0, "training", attempt): LOST for attempt in range(1, MOST_ATTEMPTS + 1)}
    done, _ = run(Scripted(store, fate=fate), *jobs(store, 2))
    assert [(one.job.cell.seed, one.status) for one in done] == [(0, "failed"), (1, "ok")]
    assert done[0].reason == "its machine was lost while training: heartbeat"
    record = store.read_cell(done[0].job.cell.cell_id)
    assert record is not None
    assert (record["status"], record["reason"]) == ("failed", done[0].reason)


def test_a_worker_that_dies_by_itself_fails_its_cell_at_once(store: Store) -> None:
    executor = Scripted(store, fate={(0, "attack pgd", 1): Gone("killed by SIGKILL", "; see log")})
    done, _ = run(executor, *jobs(store, 2))
    assert [one.status for one in done] == ["failed", "ok"]
    assert done[0].reason == "killed by SIGKILL during attack pgd; see log"


def test_other_tasks_of_a_cell_that_failed_are_dropped(store: Store) -> None:
    dies = Gone("killed by SIGKILL")
    executor = Scripted(store, fate={(0, "attack fgsm", 1): dies})
    done, _ = run(executor, *jobs(store, 2), long=0.0)
    assert [(one.job.cell.seed, one.status) for one in done] == [(0, "failed"), (1, "ok")]
    assert (0, 0, ("attacks/pgd",)) not in executor.given


def test_a_cell_that_fails_in_two_tasks_ends_once(store: Store) -> None:
    """Else the run would be over with a cell that nobody has begun."""
    fails = frozenset({(0, "attack fgsm"), (0, "attack pgd")})
    done, _ = run(Scripted(store, most=2, raises=fails), *jobs(store, 2), long=0.0)
    assert [(one.job.cell.seed, one.status) for one in done] == [(0, "failed"), (1, "ok")]


def test_where_a_failed_cell_is_dropped_the_others_keep_their_order(store: Store) -> None:
    first, *others = jobs(store, 7)
    waiting = Waiting((first, *others), store, parts=True, long=-1.0)
    waiting.take("torch")
    waiting.made(first)
    waiting.cell_ended(first)
    taken = iter(lambda: waiting.take("torch"), None)
    assert [task.job.cell.seed for task in taken] == [1, 2, 3, 4, 5, 6]


def test_a_training_waits_for_one_like_it_and_the_rest_for_all_that_it_needs(store: Store) -> None:
    twin, same, other = jobs(store, 3)
    needs = frozenset({twin.cell.cell_id})
    same = replace(same, after=needs, training_after=needs)
    other = replace(other, after=needs)
    executor = Scripted(store, most=2, slow=frozenset({0}))
    run(executor, twin, same, other)
    order = [(seed, stages) for _, seed, stages in executor.given]
    assert order.index((2, MAKING)) < order.index((0, REST)) < order.index((2, REST))
    assert order.index((0, REST)) < order.index((1, MAKING))


def test_a_task_isnt_kept_for_a_worker_that_has_no_place(store: Store) -> None:
    executor = Scripted(store, most=2, unplaced=frozenset({1}))
    done, _ = run(executor, *jobs(store, 3))
    assert [one.status for one in done] == ["ok"] * 3
    assert {slot for slot, _, _ in executor.given} == {0}
    assert len(executor.given) == 6  # the making and the rest of each, once


def test_a_worker_stays_for_what_is_still_to_come_unless_others_need_its_place(
    store: Store,
) -> None:
    first, second = jobs(store, 2)
    second = replace(second, after=frozenset({first.cell.cell_id}))
    second = replace(second, training_after=second.after)
    stays = Scripted(store, most=2, slow=frozenset({0}))
    run(stays, first, second)
    assert stays.hired == [(0, "torch")]

    goes = Scripted(store, most=1)
    run(goes, first, *jobs(store, 1, framework="tensorflow"))
    assert [framework for _, framework in goes.hired] == ["torch", "tensorflow"]


def test_no_more_workers_are_hired_than_there_is_room_for(store: Store) -> None:
    executor = Scripted(store, most=3, slow=frozenset(range(9)))
    run(executor, *jobs(store, 9))
    assert sorted({slot for slot, _ in executor.hired}) == [0, 1, 2]


def test_the_framework_with_the_most_to_do_is_hired_for_first(store: Store) -> None:
    executor = Scripted(store, most=3, slow=frozenset(range(9)))
    many = [sleeping_worker.job(store.path, seed) for seed in range(4)]
    few = [sleeping_worker.job(store.path, seed, framework="tensorflow") for seed in (4, 5)]
    run(executor, *few, *many)
    assert [framework for _, framework in executor.hired[:3]] == ["torch", "tensorflow", "torch"]


def test_a_part_that_fails_its_cell_ends_it(store: Store) -> None:
    executor = Scripted(store, raises=frozenset({(0, "training")}))
    done, _ = run(executor, *jobs(store, 2))
    assert [(one.job.cell.seed, one.status) for one in done] == [(0, "failed"), (1, "ok")]
    assert [stages for _, seed, stages in executor.given if seed == 0] == [MAKING]


def test_a_stage_that_failed_is_told_with_its_cell(store: Store) -> None:
    done, _ = run(Scripted(store, fails=frozenset({(0, "attack fgsm")})), *jobs(store, 2))
    assert [[one.stage for one in cell.failed] for cell in done] == [["attack fgsm"], []]


def test_what_is_tried_again_elsewhere_is_not_told_as_failed_before(store: Store) -> None:
    fails = frozenset({(0, "attack fgsm")})
    (done,), events = run(
        Scripted(store, fails=fails, fate={(0, "attack pgd", 1): LOST}), *jobs(store, 1)
    )
    assert [one.stage for one in done.failed] == ["attack fgsm"]
    told = [one.text for one in events if isinstance(one, CellNotice)]
    assert told == ["its machine was lost during attack pgd; it begins again elsewhere"]


def test_a_worker_that_falls_before_its_first_task_fails_that(store: Store) -> None:
    """Else a worker that can't start would be hired for ever."""
    dies = Gone("killed by SIGKILL")
    executor = Scripted(store, fate={(0, "training", 1): dies}, silent=True)
    done, _ = run(executor, *jobs(store, 1))
    assert [(one.status, one.reason) for one in done] == [
        ("failed", "killed by SIGKILL while starting")
    ]


def test_a_worker_that_falls_between_two_tasks_costs_none(store: Store) -> None:
    dies = Gone("killed by SIGKILL")
    executor = Scripted(store, fate={(1, "training", 1): dies}, silent=True, dies_once=True)
    done, events = run(executor, *jobs(store, 2))
    assert [one.status for one in done] == ["ok", "ok"]
    assert {one.attempt for one in events if isinstance(one, CellStarted)} == {1}
    assert not [one for one in events if isinstance(one, CellNotice)]


def test_progress_counts_parts_of_a_cell_where_they_are(store: Store) -> None:
    (job,) = jobs(store, 1, attacks=1)
    job = replace(job, training=1000.0)
    _, attack, trust, _ = job.stages
    now = [0.0]
    progress = Progress([job], workers=2, clock=lambda: now[0])
    progress.update(CellStarted(job, 0, part=("training",)))
    progress.update(CellProgress(job, 0, "training", 0.0))
    now[0] = 1000.0  # so an effort of one takes a second
    assert progress.update(CellPaused(job, 0, done=True)) == ("training", 1000.0)
    whole = attack.effort + trust.effort
    assert progress.left() == pytest.approx(whole)

    for done in (False, True):  # first the machine is lost
        progress.update(CellStarted(job, 1, part=(attack.label,), begins=False))
        progress.update(CellProgress(job, 1, attack.label, 0.0))
        assert progress.cell_left(1) == pytest.approx(attack.effort)
        now[0] += attack.effort if done else 0.0
        progress.update(CellPaused(job, 1, done=done))
        assert progress.left() == pytest.approx(trust.effort if done else whole)
    progress.update(CellStarted(job, 0, part=(trust.label,), begins=False))
    progress.update(CellFinished(job, 0, "ok", "", 4.0))
    assert progress.left() == 0.0


def test_the_rest_of_a_cell_waits_for_an_attack_that_begins_again(store: Store) -> None:
    executor = Scripted(store, most=4, fate={(0, "attack fgsm", 1): LOST})
    run(executor, *jobs(store, 1), long=0.0)
    assert [stages for _, _, stages in executor.given] == [
        MAKING, ("attacks/fgsm",), ("attacks/pgd",), ("attacks/fgsm",),
        ("trust/quick", "transfers/tensorflow"),
    ]  # fmt: skip


def test_long_attacks_wait_for_the_cells_that_theirs_needs(store: Store) -> None:
    needed, job = jobs(store, 2)
    job = replace(job, after=frozenset({needed.cell.cell_id}))
    executor = Scripted(store, most=4, slow=frozenset({0}))
    run(executor, needed, job, long=0.0)
    order = [(seed, stages) for _, seed, stages in executor.given]
    last = order.index((0, ("trust/quick", "transfers/tensorflow")))
    assert order.index((1, MAKING)) < last < order.index((1, ("attacks/fgsm",)))

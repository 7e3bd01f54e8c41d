"""How far a run is, from its folder alone, while it goes on and afterwards."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import sleeping_worker

from benchmark import journal
from benchmark.errors import StoreError
from benchmark.events import CellFinished, CellPaused, CellProgress, CellStarted, StageFailed
from benchmark.journal import Journal, path_in
from benchmark.results import Store, lease
from benchmark.status import Running, status


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "out")


def end(store: Store, job: Any, state: str = "ok", reason: str = "") -> None:
    suites = {"quick": ["pgd-1"]}
    record = {"config": job.cell.config(), "status": state, "reason": reason, "suites": suites}
    store.write_cell(job.cell.cell_id, record)


def test_every_cell_is_somewhere_while_a_run_works_on_them(store: Store) -> None:
    jobs = [sleeping_worker.job(store.path, seed) for seed in range(5)]
    done, failed, running, paused, waiting = jobs
    with store.lock() as held, Journal(held, jobs, {"executor": "ray"}) as written:
        for slot, job in enumerate((done, failed, paused)):
            written.write(CellStarted(job, slot, where="n1"))
        end(held, done)
        written.write(CellFinished(done, 0, "ok", "", 1.0))
        end(held, failed, "failed", "killed")
        written.write(CellFinished(failed, 1, "failed", "killed", 1.0))
        written.write(CellPaused(paused, 2, done=True))
        written.write(CellStarted(running, 0, where="n2", attempt=2))
        written.write(CellProgress(running, 0, "attack pgd", 0.0))
        found = status(store.path)

    assert (found.state, found.run["executor"]) == ("at work", "ray")
    assert found.done == [done.cell.cell_id]
    assert found.failed == {failed.cell.cell_id: "failed: killed"}
    (one,) = found.running
    assert one == Running(running.cell.cell_id, "attack pgd", "n2", one.since, 2)
    assert found.waiting == sorted(job.cell.cell_id for job in (paused, waiting))
    assert found.labels[waiting.cell.cell_id] == "none torch seed 4"


def test_a_cell_that_failed_before_waits_for_the_run_that_tries_it_again(store: Store) -> None:
    job = sleeping_worker.job(store.path)
    end(store, job, "failed", "killed")
    with store.lock() as held, Journal(held, [job], {}):
        assert status(store.path).waiting == [job.cell.cell_id]
    found = status(store.path)
    assert (found.state, found.waiting) == ("ended", [])
    assert list(found.failed) == [job.cell.cell_id]


def test_what_a_killed_run_was_at_is_waiting(store: Store) -> None:
    job = sleeping_worker.job(store.path)
    with store.lock() as held, Journal(held, [job], {}) as written:
        written.write(CellStarted(job, 0, where="n1"))
        assert [one.where for one in status(store.path).running] == ["n1"]
        written = path_in(store.path).read_text()
    path_in(store.path).write_text(f'{written}{{"what": "fin')  # it was killed while it wrote
    found = status(store.path)
    assert (found.state, found.running, found.waiting) == ("stopped", [], [job.cell.cell_id])


def test_what_an_earlier_run_left_half_done_is_not_forgotten_by_the_next(store: Store) -> None:
    begun, other = (sleeping_worker.job(store.path, seed) for seed in range(2))
    store.write_stage(begun.cell.cell_id, "training", {"status": "ok"})
    with store.lock() as held, Journal(held, [other], {}):
        end(held, other)
    found = status(store.path)
    assert (found.state, found.done) == ("ended", [other.cell.cell_id])
    assert found.waiting == [begun.cell.cell_id]


def test_a_machine_that_gives_no_sign_is_called_silent(store: Store) -> None:
    job = sleeping_worker.job(store.path)
    with store.lock() as held, Journal(held, [job], {}):
        path = lease.path_of(store.path, 1)
        record = json.loads(path.read_text())
        path.write_text(json.dumps({**record, "machine": "far", "at": "2020-01-01T00:00:00+00:00"}))
        assert status(store.path).state == "silent"


def test_attacks_that_a_done_cell_is_without_are_told(store: Store) -> None:
    job = sleeping_worker.job(store.path)
    cell_id = job.cell.cell_id
    end(store, job)
    record = {"name": "pgd", "status": "failed", "reason": "no gradient"}
    store.write_stage(cell_id, "attacks/pgd-1", record)
    found = status(store.path)
    assert found.done == [cell_id]
    assert found.failed == {f"{cell_id}: attack pgd": "no gradient"}


@pytest.mark.parametrize("changes", [{"status": None}, {"suites": [1]}, {"config": {}}])
def test_a_record_that_is_none_is_told_as_damaged(store: Store, changes: dict[str, Any]) -> None:
    job = sleeping_worker.job(store.path, 0)
    end(store, job)
    record = store.read_cell(job.cell.cell_id)
    assert record is not None
    store.write_cell(job.cell.cell_id, {**record, **changes})
    found = status(store.path)
    assert (found.damaged, found.done) == ([job.cell.cell_id], [])


def test_a_journal_and_a_lock_may_say_anything(store: Store) -> None:
    job = sleeping_worker.job(store.path, 0)
    with store.lock() as held, Journal(held, [job], {}) as written:
        written.write(CellStarted(job, 0, where="n1"))
        path = path_in(store.path)
        path.write_text(path.read_text().replace('"attempt": 1', '"attempt": "many"'))
        lock = lease.path_of(store.path, lease.newest(store.path))
        lock.write_text(json.dumps({"held": True, "machine": "x", "at": "yesterday"}))
        found = status(store.path)
        assert (found.state, [one.attempt for one in found.running]) == ("silent", [1])


def test_a_full_disk_costs_a_run_its_journal_alone(store: Store) -> None:
    job = sleeping_worker.job(store.path)
    with store.lock() as held:
        written = Journal(held, [job], {})
        path_in(store.path).unlink()
        path_in(store.path).symlink_to("/dev/full")
        with written:
            written.write(CellStarted(job, 0, where="n1"))


def test_a_line_after_one_that_was_torn_is_read(store: Store) -> None:
    job = sleeping_worker.job(store.path)
    with store.lock() as held, Journal(held, [job], {}) as written:
        whole = written._stream
        with open("/dev/full", "ab", buffering=0) as written._stream:
            written.write(CellStarted(job, 0, where="n1"))
        whole.write(b'{"what": "star')  # as much as there was room for
        written._stream = whole
        written.write(CellStarted(job, 0, where="n2"))
        (one,) = status(store.path).running

    assert one.where == "n2"


def test_a_journal_that_can_not_be_written_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal, "write_text", full)
    with pytest.raises(StoreError, match=r"can't write .*run\.jsonl: No space left on device"):
        Journal(store, [], {})


def test_a_folder_without_a_journal_tells_what_its_cells_do(store: Store) -> None:
    end(store, sleeping_worker.job(store.path))
    found = status(store.path)
    assert (found.state, len(found.done), found.run) == ("unknown", 1, {})


def test_a_damaged_cell_is_told(store: Store, bench: Any) -> None:
    """Not as done, nor as nothing."""
    whole, torn = (sleeping_worker.job(store.path, seed) for seed in range(2))
    end(store, whole)
    end(store, torn)
    (store.cell_folder(torn.cell.cell_id) / "cell.json").write_text("torn")
    found = status(store.path)
    assert (found.done, found.damaged) == ([whole.cell.cell_id], [torn.cell.cell_id])
    told = f"damaged, changed, or of another schema: {torn.cell.cell_id}"
    assert told in bench("status", store.path).out


def test_a_damaged_stage_of_a_cell_that_is_done_is_told(store: Store, bench: Any) -> None:
    job = sleeping_worker.job(store.path)
    cell_id = job.cell.cell_id
    for stage in ("training", "attacks/pgd-1", "attacks/of-another-suite"):
        store.write_stage(cell_id, stage, {"status": "ok"})
        path = store.cell_folder(cell_id) / f"{stage}.json"
        path.write_text(path.read_text().replace('"ok"', '"OK"'))
    end(store, job)
    found = status(store.path)
    assert (found.done, found.failed) == ([cell_id], {})
    assert found.damaged == [f"{cell_id}: training", f"{cell_id}: attacks/pgd-1"]
    assert f"another schema: {cell_id}: attacks/pgd-1" in bench("status", store.path).out


def test_the_command_prints_lines_or_json(store: Store, bench: Any) -> None:
    jobs = [sleeping_worker.job(store.path, seed) for seed in range(25)]
    with store.lock() as held, Journal(held, jobs, {}) as written:
        written.write(CellStarted(jobs[0], 0, where="n1"))
        written.write(StageFailed(jobs[0], 0, "attack pgd", "no"))
        printed = bench("status", store.path)
        whole = json.loads(bench("status", store.path, "--json").out)
    lines = printed.out.splitlines()
    assert lines[0].endswith("is at work")
    assert lines[1] == "0 cells done, 1 running, 0 failed, 24 waiting"
    assert "(none torch seed 0): starting, on n1 since 20" in lines[2]
    assert lines[-1] == "waiting: and 4 more"
    assert (whole["state"], len(whole["waiting"])) == ("at work", 24)


def test_what_is_no_results_folder_is_refused(bench: Any, tmp_path: Path) -> None:
    printed = bench("status", tmp_path / "nowhere")
    assert (printed.code, "no results folder" in printed.err) == (2, True)

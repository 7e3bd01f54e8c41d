"""Workers, their deaths, and what the store holds of them afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from progressing import CELL, spec

from benchmark import frameworks
from benchmark.errors import MovedError
from benchmark.events import CellFinished, CellNotice, CellProgress, CellStarted, StageFailed
from benchmark.executors.local import Local
from benchmark.executors.scheduler import run
from benchmark.job import Job
from benchmark.process import last_words
from benchmark.results import Store
from benchmark.resume import pending

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _fake_worker_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spawned processes take over the path."""
    monkeypatch.syspath_prepend(str(HERE))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "out")


def job(
    store: Store, behaviour: str = "ok", seed: int = 0, framework: str = "torch", **arguments: Any
) -> Job:
    parameters = {"behaviour": behaviour}
    cell = replace(CELL, framework=framework, parameters=parameters, seed=seed, examples=10)
    return Job(cell, "quick", (spec(**arguments),), str(store.path), None)


def work(jobs: list[Job], store: Store, **options: Any) -> tuple[list[CellFinished], list[Any]]:
    events: list[Any] = []
    on_event = options.pop("on_event", events.append)
    settings = {"workers": 1, "device": "cpu", "serve": "fake_worker:serve"}
    outcomes = run(jobs, store, Local(store, **{**settings, **options}), on_event=on_event)
    return outcomes, events


def served(store: Store) -> list[list[str]]:
    """(process, framework, device, threads, cell id) of every cell that a worker took."""
    return [line.split() for line in (store.path / "served.txt").read_text().splitlines()]


def press_ctrl_c(event: Any) -> None:
    """A callback that interrupts us once a cell is in training."""
    if isinstance(event, CellProgress):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("sigkill", "killed by SIGKILL while training (out of memory?); see logs/torch-1.log"),
        ("sigsegv", "killed by SIGSEGV while training"),
        ("abort", "killed by SIGABRT while training: LLVM ERROR: inconsistency; see logs"),
        ("exit", "worker ended with exit code 3 while training"),
        ("exit-0", "worker ended with exit code 0 while training"),
        ("raise", "worker ended with exit code 1 while training: ValueError: no good[31m; see"),
    ],
)
def test_dead_worker_fails_its_cell_and_the_next_cell_goes_on(
    store: Store, behaviour: str, reason: str
) -> None:
    jobs = [job(store, behaviour), job(store, seed=1)]
    outcomes, _ = work(jobs, store)

    assert [outcome.status for outcome in outcomes] == ["failed", "ok"]
    assert outcomes[0].reason.startswith(reason)
    record = store.read_cell(jobs[0].cell.cell_id)
    assert record is not None
    assert (record["status"], record["reason"]) == ("failed", outcomes[0].reason)
    assert record["config"] == jobs[0].cell.config()
    assert record["suites"] == {"quick": list(jobs[0].attack_keys().values())}


def test_a_notice_is_told_while_its_cell_goes_on(store: Store) -> None:
    noticed = job(store, "notice")
    outcomes, events = work([noticed], store)
    assert [outcome.status for outcome in outcomes] == ["ok"]
    kinds = [type(event) for event in events]
    assert events[kinds.index(CellNotice)] == CellNotice(noticed, 0, "it overfits\x1b[31m")
    assert kinds.index(CellNotice) < kinds.index(CellFinished)


@pytest.mark.parametrize("behaviour", ["ok", "diverge", "sigkill"])
def test_a_cell_begins_after_those_that_it_waits_for(store: Store, behaviour: str) -> None:
    """Also where there is a worker to spare, and where what it waits for ends badly."""
    first = job(store, behaviour)
    second = replace(job(store, seed=1), after=frozenset({first.cell.cell_id}))
    outcomes, events = work([first, second], store, workers=2)

    told = [
        (type(event), event.job.cell.seed)
        for event in events
        if isinstance(event, CellStarted | CellFinished)
    ]
    assert told == [(CellStarted, 0), (CellFinished, 0), (CellStarted, 1), (CellFinished, 1)]
    assert outcomes[1].status == "ok"


def test_a_stage_that_fails_is_told_and_belongs_to_its_cell_alone(store: Store) -> None:
    jobs = [job(store, "fail-attack", seed=0), job(store, "ok", seed=1)]
    outcomes, events = work(jobs, store)

    (failed,) = [event for event in events if isinstance(event, StageFailed)]
    assert (failed.job, failed.stage, failed.reason) == (jobs[0], "attack pgd", "no good\x1b[31m")
    assert [(one.status, one.failed) for one in outcomes] == [("ok", (failed,)), ("ok", ())]
    assert pending(jobs, store) == [jobs[0]]


def test_worker_serves_all_cells_of_its_framework(store: Store) -> None:
    jobs = [
        job(store, seed=seed, framework=framework)
        for seed in (0, 1)
        for framework in ("torch", "tensorflow")
    ]
    outcomes, events = work(jobs, store)

    processes = {(line[0], line[1]) for line in served(store)}
    assert len(processes) == 2
    assert [outcome.status for outcome in outcomes] == ["ok"] * 4
    assert [type(event) for event in events[:5]] == [
        CellStarted,
        CellProgress,
        CellProgress,
        CellProgress,
        CellFinished,
    ]


def test_two_workers_run_side_by_side_and_share_the_cpus(store: Store) -> None:
    jobs = [job(store, "slow", framework=name) for name in ("torch", "tensorflow")]
    _, events = work(jobs, store, workers=2)

    kinds = [type(event) for event in events]
    assert kinds[:2] == [CellStarted, CellStarted]
    assert {event.slot for event in events} == {0, 1}
    cpus = frameworks.cpus()
    assert {line[3] for line in served(store)} == {str(max(1, cpus // 2))}


def test_free_worker_helps_the_framework_with_cells_waiting(store: Store) -> None:
    jobs = [job(store, "slow", seed=seed) for seed in range(2)]
    work(jobs, store, workers=2)

    assert len({line[0] for line in served(store)}) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_the_threads_of_a_cell_are_those_asked_for_with_any_number_of_workers(
    store: Store, workers: int
) -> None:
    work([job(store)], store, workers=workers, threads=3)
    assert [line[3] for line in served(store)] == ["3"]


def test_diverged_cell_is_told_as_the_worker_says(store: Store) -> None:
    outcomes, _ = work([job(store, "diverge"), job(store, seed=1)], store)

    assert [(o.status, o.reason) for o in outcomes] == [
        ("diverged", "no number"),
        ("ok", ""),
    ]


def test_worker_that_falls_between_two_cells_costs_none(store: Store) -> None:
    outcomes, _ = work([job(store, "die-after"), job(store, seed=1)], store)

    assert [outcome.status for outcome in outcomes] == ["ok", "ok"]


def test_worker_that_is_dead_when_its_next_cell_is_sent_costs_none(
    store: Store,
) -> None:
    def slow(event: Any) -> None:
        if isinstance(event, CellFinished):
            time.sleep(0.5)  # until it is dead

    jobs = [job(store, "die-after"), job(store, seed=1), job(store, seed=2)]
    outcomes, _ = work(jobs, store, on_event=slow)

    assert [outcome.status for outcome in outcomes] == ["ok", "ok", "ok"]


def test_worker_that_can_not_start_fails_every_cell(store: Store) -> None:
    jobs = [job(store), job(store, seed=1)]
    outcomes, _ = work(jobs, store, serve="fake_worker:fails_to_start")

    assert {outcome.status for outcome in outcomes} == {"failed"}
    assert "while starting: ImportError: no such framework" in outcomes[0].reason


def test_workers_print_to_their_log_only(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    work([job(store, "raise")], store)

    assert capfd.readouterr() == ("", "")
    log = (store.path / "logs" / "torch-1.log").read_text()
    assert "noise on standard output" in log
    assert "ValueError: no good" in log


def test_last_words_are_those_of_the_last_worker(tmp_path: Path) -> None:
    log = tmp_path / "torch-1.log"
    log.write_text("# first\nMemoryError: old\n")
    start = log.stat().st_size
    log.write_text("# first\nMemoryError: old\n# second\n")

    assert last_words(log, start) == ""
    assert last_words(log, 0) == "MemoryError: old"


@pytest.mark.parametrize(
    ("behaviour", "still_pending"), [("ok", False), ("diverge", True), ("raise", True)]
)
def test_only_cells_that_ended_well_are_done(
    store: Store, behaviour: str, still_pending: bool
) -> None:
    jobs = [job(store, behaviour)]
    assert pending(jobs, store) == jobs

    work(jobs, store)

    assert pending(jobs, store) == (jobs if still_pending else [])


def test_cell_is_pending_when_the_suite_changes(store: Store) -> None:
    work([job(store)], store)
    other = job(store, max_iter=3)

    assert pending([other], store) == [other]


def test_cell_is_pending_when_a_stage_is_damaged(store: Store) -> None:
    done = job(store)
    work([done], store)
    key = done.attack_keys()["pgd"]
    path = store.cell_folder(done.cell.cell_id) / "attacks" / f"{key}.json"
    path.write_text(path.read_text().replace('"ok"', '"OK"'))

    assert pending([done], store) == [done]


def test_cell_is_pending_when_an_attack_failed(store: Store) -> None:
    done = job(store)
    work([done], store)
    key = done.attack_keys()["pgd"]
    stage = f"attacks/{key}"
    store.write_stage(done.cell.cell_id, stage, {"status": "failed", "reason": "no gradient"})

    assert pending([done], store) == [done]


def test_failed_retry_keeps_the_suites_done_before(store: Store) -> None:
    done = job(store, "ok")
    work([done], store)
    strong = Job(done.cell, "strong", (spec("apgd", "apgd"),), done.out, None)

    work([strong], store, serve="fake_worker:fails_to_start")

    record = store.read_cell(done.cell.cell_id)
    assert record is not None
    assert sorted(record["suites"]) == ["quick", "strong"]
    assert record["gradient_evaluations"] == 7.0


@pytest.mark.parametrize("behaviour", ["rename", "rename-and-die"])
def test_a_folder_that_is_moved_meanwhile_ends_the_run_in_one_line_and_keeps_all(
    store: Store, behaviour: str
) -> None:
    jobs = [job(store), job(store, behaviour, seed=1)]
    with pytest.raises(MovedError, match="was moved or removed while it was written to") as caught:
        work(jobs, store)

    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    assert not store.path.exists()
    moved = Store.open(store.path.with_name("moved"))
    assert [job.cell.seed for job in pending(jobs, moved)] == [1]


def test_interrupt_leaves_no_worker(store: Store) -> None:
    jobs = [job(store, "sleep", framework=name) for name in ("torch", "tensorflow")]
    with pytest.raises(KeyboardInterrupt):
        work(jobs, store, workers=2, on_event=press_ctrl_c)

    assert not [process for process in map(int, first_column(store)) if is_alive(process)]
    assert store.read_cell(jobs[0].cell.cell_id) is None


def test_killed_parent_leaves_no_worker(store: Store, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        f"sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent)!r}]\n"
        "from pathlib import Path\n"
        "from benchmark.results import Store\n"
        "import test_runner\n"
        "if __name__ == '__main__':\n"
        f"    store = Store.open({str(store.path)!r})\n"
        "    test_runner.work([test_runner.job(store, 'sleep')], store)\n"
    )
    parent = subprocess.Popen([sys.executable, str(program)])
    try:
        file = store.path / "served.txt"
        wait_until(lambda: file.exists() and file.stat().st_size > 0)  # it is made empty
    finally:
        parent.kill()
        parent.wait()

    worker = int(first_column(store)[0])
    wait_until(lambda: not is_alive(worker))


def first_column(store: Store) -> list[str]:
    return [line[0] for line in served(store)]


def is_alive(process: int) -> bool:
    """Whether a process runs; one that is dead and waits to be collected doesn't."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(condition: Any, seconds: float = 20) -> None:
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        pause.wait(0.05)

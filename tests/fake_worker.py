"""A worker for tests: does with each cell what the cell's parameter `behaviour` says."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection
from multiprocessing.connection import Connection
from pathlib import Path

from benchmark.cells import Cell, cell_record
from benchmark.job import Job
from benchmark.results import Store
from benchmark.results.identity import CHECKS_VERSION, PROTOCOL_VERSION


def serve(connection: Connection, framework: str, device: str, threads: int) -> None:
    work(connection, f"{framework} {device} {threads}", lambda cell: cell.parameters["behaviour"])


def serve_by_seed(connection: Connection, framework: str, device: str, threads: int) -> None:
    """The same for cells of real defenses, which have no such parameter."""
    by_seed = {7: "fail-attack", 8: "sleep", 9: "sigkill"}
    work(connection, f"{framework} {device} {threads}", lambda cell: by_seed.get(cell.seed, "ok"))


def work(connection: Connection, setting: str, behaviour_of: Callable[[Cell], str]) -> None:
    print("noise on standard output")
    connection.send(("ready",))
    while (task := connection.recv()) is not None:
        job = task.job
        cell_id = job.cell.cell_id
        behaviour = behaviour_of(job.cell)
        with open(Path(job.out) / "served.txt", "a", encoding="utf-8") as stream:
            stream.write(f"{os.getpid()} {setting} {cell_id}\n")
        for fraction in (0.0, 0.5, 1.0):
            connection.send(("progress", cell_id, "training", fraction))
        if behaviour == "notice":
            connection.send(("notice", cell_id, "it overfits\x1b[31m"))
        if behaviour.startswith("rename"):
            os.rename(job.out, Path(job.out).with_name("moved"))
        BEHAVIOURS[behaviour]()
        if behaviour == "fail-attack":
            connection.send(("progress", cell_id, "attack pgd", 0.0))
            connection.send(("failed", cell_id, "attack pgd", "no good\x1b[31m"))
        status, reason = ("diverged", "no number") if behaviour == "diverge" else ("ok", "")
        if status == "ok":
            finish_stages(job, failed=("pgd",) if behaviour == "fail-attack" else ())
        record = cell_record(
            job.cell,
            status=status,
            reason=reason,
            suites={job.suite: list(job.attack_keys().values())},
            device="cpu",
            threads=1,
            seconds=0.1,
            started="2026-01-01T00:00:00+00:00",
        )
        Store.open(job.out).write_cell(cell_id, record)
        connection.send(("finished", cell_id, status, reason))
        if behaviour == "die-after":
            os._exit(1)


def fails_to_start(connection: Connection, framework: str, device: str, threads: int) -> None:
    raise ImportError("no such framework")


def finish_stages(job: Job, failed: Collection[str] = ()) -> None:
    """What a real worker leaves behind, without the numbers."""
    store = Store.open(job.out)
    cost = {"forwards": 1, "backwards": 1, "second_order": 0, "gradient_evaluations": 7.0}
    store.write_stage(job.cell.cell_id, "training", {"seconds": 1.0, "cost": cost})
    for name, key in job.attack_keys().items():
        record = {"name": name, "key": key, "status": "ok", "reason": "", "seconds": 2.0}
        record |= {"protocol_version": PROTOCOL_VERSION}
        record |= {"clean_accuracy": 0.9, "robust_accuracy": 0.5, "examples": 10}
        record |= {"norm": "linf", "eps": 0.15}
        record |= {"status": "failed", "reason": "no good"} if name in failed else {}
        store.write_stage(job.cell.cell_id, f"attacks/{key}", record)
    looked_at = {key: [] for key in job.attack_keys().values()}  # its attacks have no files
    trust = {
        "suite": job.suite,
        "checks_version": CHECKS_VERSION,
        "attacks": looked_at,
        "checks": [],
        "status": "ok",
    }
    store.write_stage(job.cell.cell_id, job.trust_stage, trust)
    for name, key in job.adaptation_keys().items():
        record = {"family": name, "status": "ok", "rate": 0.1, "tuned_steps": 1}
        record |= {"protocol_version": PROTOCOL_VERSION}
        store.write_stage(job.cell.cell_id, f"adaptations/{key}", record)


def _raise() -> None:
    raise ValueError("no good\x1b[31m")


def _abort() -> None:
    print("LLVM ERROR: inconsistency", file=sys.stderr, flush=True)
    os.abort()


def _sleep() -> None:
    threading.Event().wait(600)


def _linger() -> None:
    threading.Thread(target=_sleep).start()  # which the process waits for at its end


BEHAVIOURS: dict[str, Callable[[], object]] = {
    "gpu": lambda: print(f"sees GPU {os.environ['CUDA_VISIBLE_DEVICES']}"),
    "ok": lambda: None,
    "slow": lambda: time.sleep(0.3),
    "diverge": lambda: None,
    "notice": lambda: None,
    "fail-attack": lambda: None,
    "raise": _raise,
    "abort": _abort,
    "sleep": _sleep,
    "linger": _linger,
    "exit": lambda: os._exit(3),
    "exit-0": lambda: os._exit(0),
    "sigkill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "sigsegv": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "die-after": lambda: None,
    "rename": lambda: None,
    "rename-and-die": lambda: os._exit(3),
}

"""Workers that are processes of this machine."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from benchmark import frameworks
from benchmark.devices import environment_of
from benchmark.executors.interface import Gone, Message, Task
from benchmark.process import interrupts_held, last_words, spawn
from benchmark.results import Store

SERVE = "benchmark.worker:serve"
_PATIENCE = 5.0  # seconds


@dataclass
class Worker:
    """A process that serves tasks, our end of its pipe, and where in its log it began."""

    process: SpawnProcess
    connection: Connection
    log: Path
    log_start: int

    @classmethod
    def start(cls, serve: str, log: Path, **setting: Any) -> Worker:
        """Starts one; see `benchmark.process.spawn`."""
        start = log.stat().st_size if log.exists() else 0
        process, connection = spawn(serve, log, **setting)
        return cls(process, connection, log, start)

    def said(self) -> Iterator[Message]:
        """What it has said, and its death after that."""
        dead = not self.process.is_alive()  # asked first: what it said before is still read
        try:
            while self.connection.poll():
                yield self.connection.recv()
        except (EOFError, OSError):
            dead = True
        if dead:
            yield self._buried()

    def _buried(self) -> Gone:
        self.process.join(5)
        if self.process.is_alive():  # it closed its pipe and lingers
            self.process.kill()
            self.process.join()
        self.connection.close()
        return _cause_of_death(self.process.exitcode or 0, self.log, self.log_start)


def stop(working: Sequence[Worker], leaving: Sequence[Worker] = ()) -> None:
    """Ends workers: asks those at work by SIGTERM, gives all a few seconds, and kills the rest."""
    everyone = [worker.process for worker in (*working, *leaving)]
    try:
        for worker in working:
            worker.process.terminate()
        deadline = time.monotonic() + _PATIENCE
        for process in everyone:
            process.join(max(0.0, deadline - time.monotonic()))
    finally:
        for process in everyone:
            if process.is_alive():
                process.kill()
            process.join()


class Local:
    """Up to `workers` processes at a time.

    Args:
        store: takes their logs.
        workers: processes at a time.
        threads: of each; None to share the CPUs evenly. Results depend on it in their last digits.
        device: "auto", "cpu" or "cuda".
        devices: numbers of GPUs, of which each process sees one; they take them in turn.
        serve: "module:function" that a process runs; `benchmark.worker.serve` unless given.
    """

    distributed = False

    def __init__(
        self,
        store: Store,
        *,
        workers: int,
        device: str,
        threads: int | None = None,
        devices: Sequence[int] = (),
        serve: str | None = None,
    ) -> None:
        self.device, self._devices = device, devices
        self.threads = threads or max(1, frameworks.cpus() // workers)
        self._store, self._count, self._serve = store, workers, serve or SERVE
        self._workers: dict[int, Worker] = {}
        self._leaving: dict[int, Worker] = {}  # those that were let go, by the slot they had

    def room(self) -> int:
        """As many as were asked for."""
        return self._count

    def hire(self, slot: int, framework: str) -> str:
        """Starts a process, once the one that had the slot, and its GPU, has ended.

        That one has few seconds left, and is killed after them.
        """
        if slot in self._leaving:
            stop((), [self._leaving[slot]])
            del self._leaving[slot]
        log = self._store.log(f"{framework}-{slot + 1}")
        with interrupts_held():
            self._workers[slot] = Worker.start(
                self._serve,
                log,
                framework=framework,
                device=self.device,
                threads=self.threads,
                name=f"bench-{framework}-{slot + 1}",
                environment=environment_of(slot, self._devices),
            )
        return socket.gethostname()

    def send(self, slot: int, what: Task | str | None) -> None:
        """Sends it through the worker's pipe."""
        worker = self._workers[slot]
        if what is None:
            self._leaving[slot] = self._workers.pop(slot)
        with contextlib.suppress(OSError):  # its death is told by `listen`
            worker.connection.send(what)

    def listen(self) -> Iterator[tuple[int, Message]]:
        """Waits until one says something or dies."""
        # A process that a worker forked could hold the pipe open after the worker's death, so the
        # worker itself is waited for too.
        live = self._workers.values()
        wait([w.connection for w in live] + [w.process.sentinel for w in live])
        for slot, worker in list(self._workers.items()):
            for message in worker.said():
                if isinstance(message, Gone):
                    del self._workers[slot]
                yield slot, message
                if self._workers.get(slot) is not worker:
                    break

    def stop(self) -> None:
        """Asks every worker that still runs by SIGTERM, then kills."""
        stop(list(self._workers.values()), list(self._leaving.values()))


def _cause_of_death(code: int, log: Path, log_start: int) -> Gone:
    how = f"killed by {_signal_name(-code)}" if code < 0 else f"worker ended with exit code {code}"
    hint = " (out of memory?)" if code == -signal.SIGKILL else ""
    # Who is killed from outside has no say in it.
    outside = code in (-signal.SIGKILL, -signal.SIGTERM)
    words = "" if outside else last_words(log, log_start)
    said = f": {words}" if words else ""
    return Gone(how, f"{hint}{said}; see {log.parent.name}/{log.name}")


def _signal_name(number: int) -> str:
    names = {known.value: known.name for known in signal.Signals}
    return names.get(number, f"signal {number}")

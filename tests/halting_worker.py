"""The real worker, which stands still in training, then in an attack, until its node is killed."""

from __future__ import annotations

import os
from multiprocessing.connection import Connection
from typing import Any

from benchmark import worker

# What the first and the second attempt at a task stand still at, once they are in the midst of it.
HALTS = ("training", "attack pgd")


class HaltingConnection:
    """A worker's end of its pipe."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._attempt = connection, 0

    def recv(self) -> Any:
        received = self._connection.recv()
        self._attempt = getattr(received, "attempt", self._attempt)
        return received

    def send(self, message: tuple[Any, ...]) -> None:
        self._connection.send(message)
        halt = HALTS[self._attempt - 1 : self._attempt]
        if message[0] == "progress" and message[2] in halt and message[3] > 0:
            self._connection.poll(None)  # nobody answers; this ends as whoever listens is gone
            os._exit(1)


def serve(connection: Connection, framework: str, device: str, threads: int) -> None:
    worker.serve(HaltingConnection(connection), framework, device, threads)  # type: ignore[arg-type]

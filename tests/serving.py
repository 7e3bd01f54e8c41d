"""A worker that serves jobs in the test's own process, and what it sends."""

from __future__ import annotations

from typing import Any

import pytest

from benchmark import worker
from benchmark.executors.interface import STORED, Task
from benchmark.job import Job
from benchmark.results import Store


class _Line:
    """The other end of a worker's pipe: gives it tasks, makes known what it hands over."""

    def __init__(self, tasks: list[Task]) -> None:
        self.store = Store.open(tasks[0].job.out)
        self.given: list[Any] = [*tasks, None]
        self.messages: list[Any] = []

    def recv(self) -> Any:
        return self.given.pop(0)

    def send(self, message: Any) -> None:
        match message:
            case ("store", cell_id, stage, files):
                self.store.publish(cell_id, stage, files)
                self.given.insert(0, STORED)
                return
            case ("finished", cell_id, _, _, record):
                if record is not None:
                    self.store.write_cell(cell_id, record)
                message = message[:-1]
        self.messages.append(message)


def serve(*todo: Job | Task, framework: str = "torch") -> list[Any]:
    """Serves jobs, or parts of them; the messages that were sent, without stages and records."""
    line = _Line([one if isinstance(one, Task) else Task(one) for one in todo])
    with pytest.MonkeyPatch.context() as patch:
        # TensorFlow's threads can be set only once in a process, and this one has run other tests.
        patch.setattr(worker.frameworks, "prepare", lambda framework, **settings: "cpu")
        worker.serve(line, framework, "cpu", 1)  # type: ignore[arg-type]
    return line.messages

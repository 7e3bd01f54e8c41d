"""What the scheduler and an executor say to each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # whoever only passes tasks on doesn't wait for all that a job knows
    from benchmark.job import Job

STORED = "stored"  # the answer to a worker that handed a stage over


@dataclass(frozen=True)
class Task:
    """What a worker is asked to do: a job, or a part of one.

    stages: paths of the stages to do; None for all. ends: whether the cell has ended with it.
    attempt: how often it was given out, this time included.
    """

    job: Job
    stages: tuple[str, ...] | None = None
    ends: bool = True
    attempt: int = 1


@dataclass(frozen=True)
class Gone:
    """Said of a worker that is no more.

    how: such as "killed by SIGKILL". words: what explains it, to stand behind what it was doing.
    lost: its machine is gone too, so that its task may go well elsewhere.
    """

    how: str
    words: str = ""
    lost: bool = False


# From a worker: ("ready",), ("progress", cell_id, stage, fraction), ("notice", cell_id, text),
# ("failed", cell_id, stage, reason), ("store", cell_id, stage, files) and ("finished", cell_id,
# status, reason, record); of one that was hired where nobody knew, ("placed", host) first.
Message = tuple[Any, ...] | Gone


class Executor(Protocol):
    """Workers in numbered slots, each with one framework, and the messages that they send.

    Attributes:
        device: "auto", "cpu" or "cuda".
        threads: CPU threads of a worker.
        distributed: workers may be on several machines, and a new one may take its time.
    """

    device: str
    threads: int
    distributed: bool

    def room(self) -> int:
        """How many workers there may be at a time, now."""

    def hire(self, slot: int, framework: str) -> str | None:
        """Starts a worker; returns its machine's name, or None where ("placed", host) will tell."""

    def send(self, slot: int, what: Task | str | None) -> None:
        """Gives a worker a task, or the answer `STORED`; None lets it go."""

    def listen(self) -> Iterable[tuple[int, Message]]:
        """Slots and what their workers said since; waits a while for something."""

    def stop(self) -> None:
        """Ends every worker, within seconds."""

"""What happens to the cells of a run, as the scheduler tells it."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.job import Job

# The first stages of a cell: a worker that is new imports its framework; the data are read.
STARTING = "starting"
DATA = "data"


@dataclass(frozen=True)
class CellStarted:
    """A worker has taken a cell, or a part of one; a `fresh` one imports its framework first.

    where: the name of the worker's machine. attempt: how often the task was given out. part: labels
    of the stages that are to be done; None for all. begins: whether the cell begins with them.
    """

    job: Job
    slot: int
    fresh: bool = False
    where: str = ""
    attempt: int = 1
    part: tuple[str, ...] | None = None
    begins: bool = True


@dataclass(frozen=True)
class CellProgress:
    """Where a cell is: `fraction` (0 to 1) of `stage`."""

    job: Job
    slot: int
    stage: str
    fraction: float


@dataclass(frozen=True)
class CellPaused:
    """A worker has left a cell that goes on without it; `done` says whether its part is."""

    job: Job
    slot: int
    done: bool


@dataclass(frozen=True)
class StageFailed:
    """A stage of a cell gave no result, and the cell went on without it."""

    job: Job
    slot: int
    stage: str
    reason: str


@dataclass(frozen=True)
class CellFinished:
    """A cell has ended; `reason` says why if `status` is not "ok".

    `failed` names the stages that gave no result although the cell went on.
    """

    job: Job
    slot: int
    status: str
    reason: str
    seconds: float
    failed: tuple[StageFailed, ...] = ()


@dataclass(frozen=True)
class CellNotice:
    """Something in a cell that the user should know at once, in one line."""

    job: Job
    slot: int
    text: str


Event = CellStarted | CellProgress | CellNotice | CellPaused | StageFailed | CellFinished

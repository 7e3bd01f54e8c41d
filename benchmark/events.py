"""What happens to the cells of a run, as the runner tells it."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.job import Job

# The first stages of a cell: a worker that is new imports its framework; the data are read.
STARTING = "starting"
DATA = "data"


@dataclass(frozen=True)
class CellStarted:
    """A worker has taken a cell; a `fresh` one has to import its framework first."""

    job: Job
    slot: int
    fresh: bool = False


@dataclass(frozen=True)
class CellProgress:
    """Where a cell is: `fraction` (0 to 1) of `stage`."""

    job: Job
    slot: int
    stage: str
    fraction: float


@dataclass(frozen=True)
class CellFinished:
    """A cell has ended; `reason` says why if `status` is not "ok"."""

    job: Job
    slot: int
    status: str
    reason: str
    seconds: float


@dataclass(frozen=True)
class CellNotice:
    """Something in a cell that the user should know at once, in one line."""

    job: Job
    slot: int
    text: str


Event = CellStarted | CellProgress | CellNotice | CellFinished

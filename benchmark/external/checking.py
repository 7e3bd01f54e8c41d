"""An external model tried on a few examples, in a process of its own, before anything is written.

Whatever its code does to that process, this one goes on and says so in a line.
"""

from __future__ import annotations

from multiprocessing.connection import Connection

from benchmark import frameworks
from benchmark.child import checked
from benchmark.errors import BenchError
from benchmark.external.trial import Trial, TrialResult, few, result_of

__all__ = ["Trial", "TrialResult", "check", "few", "result_of"]

SERVE = "benchmark.external.checking:serve"


def check(trial: Trial, *, serve: str = SERVE) -> TrialResult:
    """Tries the model in a process of its own.

    Raises:
        ModelError: it can't be built or loaded, or what it gives can't be attacked.
    """
    found = checked(serve, trial, trial.external.framework)
    assert isinstance(found, TrialResult)
    return found


def serve(connection: Connection, framework: str, device: str, threads: int) -> None:
    """Answers one trial with its result, or with what is wrong."""
    trial = connection.recv()
    frameworks.prepare(framework, device=device, threads=threads)
    try:
        connection.send(result_of(trial))
    except BenchError as error:
        connection.send(str(error))

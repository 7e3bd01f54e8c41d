"""An external model tried on a few examples, in a process of its own, before anything is written.

Whatever its code does to that process, this one goes on and says so in a line.
"""

from __future__ import annotations

from multiprocessing.connection import Connection

from benchmark import frameworks
from benchmark.child import checked
from benchmark.errors import BenchError
from benchmark.external.fitting import Fitting, fitting
from benchmark.external.trial import Trial, TrialResult, few, result_of

__all__ = ["Trial", "TrialResult", "check", "few", "fitting", "fitting_inputs", "result_of"]

SERVE = "benchmark.external.checking:serve"


def check(trial: Trial, *, serve: str = SERVE) -> TrialResult:
    """Tries the model in a process of its own.

    Raises:
        ModelError: it can't be built or loaded, or what it gives can't be attacked.
    """
    found = checked(serve, trial, trial.external.framework)
    assert isinstance(found, TrialResult)
    return found


def fitting_inputs(trial: Trial, *, serve: str = SERVE) -> str:
    """A line that says what the model would be right with, tried in a process of its own.

    Empty where nothing that was tried fits clearly better than what was asked for.
    """
    found = checked(serve, Fitting(trial), trial.external.framework)
    assert isinstance(found, tuple)
    return found[0]


def serve(connection: Connection, framework: str, device: str, threads: int) -> None:
    """Answers one trial with its result, or with what is wrong."""
    asked = connection.recv()
    frameworks.prepare(framework, device=device, threads=threads)
    try:
        # A text by itself would say what is wrong.
        is_fitting = isinstance(asked, Fitting)
        connection.send((fitting(asked.trial),) if is_fitting else result_of(asked))
    except BenchError as error:
        connection.send(str(error))

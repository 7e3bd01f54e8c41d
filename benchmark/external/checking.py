"""A given model tried on a few examples, in a process of its own, before anything is written.

Whatever its code does to that process, this one goes on and says so in a line.
"""

from __future__ import annotations

import tempfile
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path

from benchmark import frameworks
from benchmark.errors import BenchError, ModelError
from benchmark.external.trial import Findings, Trial, few, findings
from benchmark.process import enter, last_words

__all__ = ["Findings", "Trial", "check", "few", "findings"]

SERVE = "benchmark.external.checking:serve"


def check(trial: Trial, *, serve: str = SERVE) -> Findings:
    """Tries the model in a process of its own.

    Raises:
        ModelError: it can't be built or loaded, or what it gives can't be attacked.
    """
    context = get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
        log = Path(folder) / "check.log"
        ours, theirs = context.Pipe()
        # Which framework a builder's model is of shows when it is there.
        framework = trial.given.framework or "torch"
        process = context.Process(
            target=enter, args=(serve, str(log), theirs, framework, "cpu", 1), name="bench-check"
        )
        process.start()
        theirs.close()
        try:
            answer = _ask(ours, process.sentinel, trial)
        finally:
            ours.close()
            process.join(2)
            if process.is_alive():
                process.kill()
            process.join()
        if answer is None:
            words = last_words(log, 0)
            raise ModelError(
                f"the model's check ended with exit code {process.exitcode}"
                + (f": {words}" if words else "")
            )
    if isinstance(answer, str):
        raise ModelError(answer)
    return answer


def _ask(connection: Connection, sentinel: int, trial: Trial) -> Findings | str | None:
    """The findings, the line that says what is wrong, or None if the process died."""
    try:
        connection.send(trial)
        wait([connection, sentinel])
        answer: Findings | str | None = connection.recv() if connection.poll() else None
    except (EOFError, OSError):
        return None
    return answer


def serve(connection: Connection, framework: str, device: str, threads: int) -> None:
    """Answers one trial with its findings, or with what is wrong."""
    trial = connection.recv()
    frameworks.prepare(framework, device=device, threads=threads)
    try:
        connection.send(findings(trial))
    except BenchError as error:
        connection.send(str(error))

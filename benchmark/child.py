"""A process that answers one message after the other; whatever happens to it, this one goes on."""

from __future__ import annotations

import tempfile
from multiprocessing.connection import wait
from pathlib import Path
from typing import Self

from benchmark.errors import ModelError
from benchmark.process import last_words, spawn


class Child:
    """The process, and our end of its pipe; leaving it as a context ends the process.

    Args:
        serve: the "module:function" that it runs; see `benchmark.process.enter`.
        log: the end of which everything goes to that it prints.
        framework: "torch" or "tensorflow".
        device: "auto", "cpu" or "cuda".
        threads: of one operation.
        name: of the process.
    """

    def __init__(
        self, serve: str, log: Path, *, framework: str, device: str, threads: int, name: str
    ) -> None:
        self._log, self._log_start = log, log.stat().st_size if log.exists() else 0
        self._process, self._connection = spawn(
            serve, log, framework=framework, device=device, threads=threads, name=name
        )

    def ask(self, message: object) -> object | None:
        """The answer to a message; None if the process died."""
        try:
            self._connection.send(message)
        except OSError:
            return None
        return self.answer()

    def answer(self) -> object | None:
        """What it says next; None if it died."""
        # A process that it forked could hold the pipe open, so its own end is waited for too.
        wait([self._connection, self._process.sentinel])
        try:
            answer: object | None = self._connection.recv() if self._connection.poll() else None
        except (EOFError, OSError):
            return None
        return answer

    def ending(self) -> str:
        """How a process that died ended, with its last words."""
        self._process.join(5)
        words = last_words(self._log, self._log_start)
        return f"ended with exit code {self._process.exitcode}" + (f": {words}" if words else "")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.join(1)
        for end in (self._process.terminate, self._process.kill):
            if self._process.is_alive():
                end()
                self._process.join(5)


def checked(serve: str, trial: object, framework: str | None) -> object:
    """What a process of its own finds when it tries a model.

    Args:
        serve: the "module:function" that answers; a text says what is wrong.
        framework: of the model; None where that shows when it is built.

    Raises:
        ModelError: something is wrong with it, or it ended the process.
    """
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
        log = Path(folder) / "check.log"
        with Child(
            serve, log, framework=framework or "torch", device="cpu", threads=1, name="bench-check"
        ) as child:
            answer = child.ask(trial)
            if answer is None:
                raise ModelError(f"the model's check {child.ending()}")
    if isinstance(answer, str):
        raise ModelError(answer)
    return answer

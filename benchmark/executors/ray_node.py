"""What runs on the nodes of a Ray cluster, by Ray's own processes. Ray isn't imported here."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import socket
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import benchmark
from benchmark.executors.interface import Gone, Message
from benchmark.executors.local import Worker
from benchmark.frameworks import versions

_BATCH = 0.2  # seconds that progress waits for more of it


class NodeWorker:
    """An actor that starts a worker process beside itself, and speaks for it.

    So a cell runs in the very process that it runs in without Ray, and its death can be told. When
    the actor is gone, however that happened, its worker ends too.

    Args:
        serve: "module:function" that the worker runs.
        log: the worker's log file.
        setting: its framework, device, threads and name.
        environment: variables that the worker has as the driver has them; None for those unset.
        folder: the driver's working directory, which is taken where it exists.
    """

    def __init__(
        self,
        serve: str,
        log: str,
        setting: Mapping[str, Any],
        environment: Mapping[str, str | None],
        folder: str,
    ) -> None:
        # A new process would import the program of its parent, which is Ray's.
        sys.modules["__main__"].__file__ = None
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        if os.path.isdir(folder):
            os.chdir(folder)
        self._worker = Worker.start(serve, Path(log), **setting)

    def where(self) -> list[Message]:
        """Tells the machine."""
        return [("placed", socket.gethostname())]

    def listen(self) -> list[Message]:
        """What the worker said since; waits for something."""
        worker = self._worker
        both: list[Any] = [worker.connection, worker.process.sentinel]
        wait(both)
        until = time.monotonic() + _BATCH
        said = list(worker.said())
        # Progress waits a while for more of it; whoever hands a stage over waits for an answer.
        while all(map(_is_progress, said)) and wait(both, max(0.0, until - time.monotonic())):
            said += worker.said()
        return said

    def send(self, packed: bytes) -> None:
        """Gives the worker what was packed for its pipe, and isn't unpacked here."""
        with contextlib.suppress(OSError):  # its death is told by `listen`
            self._worker.connection.send_bytes(packed)


def _is_progress(message: Message) -> bool:
    return not isinstance(message, Gone) and message[0] == "progress"


def examine(framework: str, token: str, folders: list[str]) -> dict[str, Any]:
    """What a node is like: {"versions": name to version, "missing": paths that it doesn't see}.

    Args:
        framework: whose version is told.
        token: a file that was made beside the results a moment ago.
        folders: what else must be there.
    """
    missing = [path for path in folders if not os.path.isdir(path)]
    if not os.path.exists(token) or not os.access(os.path.dirname(token), os.W_OK | os.X_OK):
        missing.insert(0, os.path.dirname(token))
    return {"versions": {**versions(framework), **identity()}, "missing": missing}


def identity() -> dict[str, str]:
    """What must be the same where a run is planned and where it is carried out."""
    root = Path(benchmark.__file__).parent.parent
    digest = hashlib.sha256()
    for name in ("benchmark", "defenses", "attacks_cfg"):
        for path in sorted((root / name).rglob("*.py")) + sorted((root / name).rglob("*.yaml")):
            digest.update(path.read_bytes())
    try:
        number = version("meta-adv-bench")
    except PackageNotFoundError:
        number = "not installed"
    return {
        "python": platform.python_version(),
        "meta-adv-bench": f"{number} ({digest.hexdigest()[:8]})",
    }

"""How a worker process begins and ends: quiet, obedient, never left behind, and of our code alone.

Python looks for the modules of a new process in the working directory first, also for those that
start it. A `multiprocessing/` or `random.py` beside a stranger's results would run. So a worker
starts without the working directory, and gets the places that this process looks in.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import io
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

# faulthandler's report of a crash begins so; what explains the crash stands before it.
_CRASH_REPORT = "Fatal Python error:"

# What libraries read when they are loaded. NumPy's threads would wait for the CPUs that PyTorch's
# spin on between its operations, and long spinning is in the way of whatever else runs there:
# tests/performance/busy_cpus.py measures both.
_SPINNING = "GOMP_SPINCOUNT"
_THREADING = {"OPENBLAS_NUM_THREADS": "1", _SPINNING: "10000"}
# By this one the user tells the second otherwise.
_WAITING = "OMP_WAIT_POLICY"

_SAFE_PATH = "PYTHONSAFEPATH"
_OURS = "bench"  # any text does; by this one a worker knows that the user didn't set it


def spawn(
    serve: str,
    log: Path,
    *,
    framework: str,
    device: str,
    threads: int,
    name: str,
    environment: Mapping[str, str] | None = None,
) -> tuple[SpawnProcess, Connection]:
    """Starts a process that runs `serve`, see `enter`; returns it and our end of its pipe."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=enter,
        args=(serve, str(log), theirs, framework, device, threads, dict(environment or {})),
        name=name,
    )
    with interrupts_held(), _safe_path(), _threading():
        process.start()
    theirs.close()
    return process, ours


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait, so that no process is started without being noted.

    A process started meanwhile inherits this; `enter` undoes it for SIGTERM only, so that Ctrl-C in
    a terminal reaches us alone.
    """
    # Its start would unblock the signals again, so it must be running before.
    with _safe_path():
        resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _safe_path() -> Iterator[None]:
    """A Python that is started meanwhile doesn't look for modules in the working directory."""
    if os.environ.get(_SAFE_PATH):
        yield
        return
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = _OURS
    try:
        yield
    finally:
        del os.environ[_SAFE_PATH]
        if before is not None:
            os.environ[_SAFE_PATH] = before


@contextmanager
def _threading() -> Iterator[None]:
    """A process that is started meanwhile has threads of libraries wait as it is best for ours.

    The user's environment goes first. It has to be there when the process begins: of a script with
    `import numpy` at its head, that is run before `enter`.
    """
    unset = _THREADING.keys() - os.environ.keys()
    ours = unset - {_SPINNING} if _WAITING in os.environ else unset
    os.environ.update({name: _THREADING[name] for name in ours})
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]


def enter(
    serve: str,
    log: str,
    connection: Connection,
    framework: str,
    device: str,
    threads: int,
    environment: Mapping[str, str],
) -> None:
    """Runs `serve`, a "module:function", with everything it prints appended to the file `log`.

    `environment` is added to this process's own before any framework is imported.
    """
    os.environ.update(environment)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # held while we were started
    if os.environ.get(_SAFE_PATH) == _OURS:
        del os.environ[_SAFE_PATH]  # what the user's own code starts is the user's
    _print_to(Path(log))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _lock_within()
    module, _, function = serve.partition(":")
    getattr(importlib.import_module(module), function)(connection, framework, device, threads)


def last_words(log: Path, start: int) -> str:
    """The last line that a worker printed, from byte `start` of its log on; "" if there is none."""
    try:
        with open(log, "rb") as stream:
            stream.seek(max(start, log.stat().st_size - 65536))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    # The first line is our own.
    lines = [line.strip() for line in text.partition(_CRASH_REPORT)[0].splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("# ")]
    return "".join(c for c in said[-1] if c.isprintable())[:300] if said else ""


def _print_to(log: Path) -> None:
    """Sends this process's standard output and error, C libraries' too, to the end of `log`."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
    header = f"# {datetime.now(UTC).isoformat(timespec='seconds')} process {os.getpid()}\n"
    os.write(descriptor, header.encode())
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)
    # In a file Python would hold lines back, and the log would not end with what came last.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    faulthandler.enable(sys.stderr)


def _lock_within() -> None:
    """Progress bars, which ART makes, lock this process alone.

    Else they make a semaphore of the system; when we are ended from outside, Python warns of it in
    the terminal of the user, who pressed Ctrl-C.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("tqdm").tqdm.set_lock(threading.RLock())


def _leave_with_parent() -> None:
    """Ends this process when its parent is gone, however the parent went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

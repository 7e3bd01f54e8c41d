"""The first and the last thing a worker process does: quiet, obedient, and never left behind."""

from __future__ import annotations

import faulthandler
import importlib
import io
import multiprocessing
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

# faulthandler's report of a crash begins so; what explains the crash stands before it.
_CRASH_REPORT = "Fatal Python error:"


def enter(
    serve: str, log: str, connection: Connection, framework: str, device: str, threads: int
) -> None:
    """Runs `serve`, a "module:function", with everything it prints appended to the file `log`."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # held while we were started
    _print_to(Path(log))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    threading.Thread(target=_leave_with_parent, daemon=True).start()
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
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
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


def _leave_with_parent() -> None:
    """Ends this process when its parent is gone, however the parent went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

"""Who may write to a results folder: one run at a time, on one machine or on several.

    OUT/.lock-<number>   one fixed-length JSON object; the highest number is the holder

A run takes the folder by creating the next number, which a file system lets only one do, NFS
included. It changes its file every HEARTBEAT seconds. A holder whose process is gone from this
machine is followed at once; one of another machine after EXPIRES seconds without a change, by our
own clock: no two clocks are ever compared. EXPIRES is longer than NFS keeps attributes (60 s). A
run that was stopped for long looks again before it writes, and gives up where it was followed.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark.errors import StoreError
from benchmark.results import files as disk

HEARTBEAT, EXPIRES = 5.0, 90.0  # seconds

_LENGTH = 1024  # bytes of a lock file, so that it is changed in one write
_NAME = re.compile(r"\.lock-([0-9]{1,200})")
_LOOK = 0.25  # seconds between two looks at another machine's lock


def _clock() -> float:
    """Seconds, those in which the whole machine slept among them; other machines went on."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass
class Lease:
    """A folder that this process may write to, until `release` or until another run took it."""

    folder: Path
    number: int
    renewed: float = field(default_factory=_clock)
    lost: bool = False
    _beats: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def take(cls, folder: Path) -> Lease:
        """Waits where another machine's run may be dead; raises `StoreError` where one is not."""
        while True:
            number = newest(folder)
            if number:
                _wait_for_end(folder, number)
            if _created(folder, number + 1):
                if newest(folder) == number + 1:
                    break
                # Others came and went while we looked; the highest number is theirs.
                path_of(folder, number + 1).unlink(missing_ok=True)
        for older in _numbers(folder):
            if older <= number:
                path_of(folder, older).unlink(missing_ok=True)
        lease = cls(folder, number + 1)
        threading.Thread(target=lease._beat, daemon=True).start()
        return lease

    def check(self) -> None:
        """Raises `StoreError` where the folder is another run's by now."""
        if _clock() - self.renewed > EXPIRES / 3:  # we were stopped, or the disk was away
            self._renew()
        if self.lost:
            holder = read(self.folder, newest(self.folder))
            if holder is None:
                raise StoreError(
                    f"the lock of {self.folder} was removed while this run was writing there; the "
                    "same command goes on"
                )
            raise StoreError(
                f"{self.folder} was taken over by another run ({_named(holder)}) while this one "
                "gave no sign; the same command goes on when that has ended"
            )

    def release(self) -> None:
        """Lets the next run have the folder; what is lost already stays the other's."""
        self._ended.set()
        with contextlib.suppress(OSError):  # the folder may be gone
            self._renew(held=False)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            with contextlib.suppress(OSError):  # `check` sees that it wasn't renewed
                self._renew()

    def _renew(self, *, held: bool = True) -> None:
        with self._guard:
            if self.lost or newest(self.folder) != self.number or self._is_anothers():
                self.lost = True
                return
            self._beats += 1
            _write(path_of(self.folder, self.number), self.number, held, self._beats, os.O_WRONLY)
            self.renewed = _clock()

    def _is_anothers(self) -> bool:
        """Whether the lock of our number is another run's: it counted anew, as locks were removed.

        So it is where the folder was moved and another made in its place, too.
        """
        found = read(self.folder, self.number)
        return found is not None and _process_of(found) != _process_of(_self())


@contextlib.contextmanager
def held(folder: Path) -> Iterator[Lease]:
    """The folder's lease, for a while."""
    lease = Lease.take(folder)
    try:
        yield lease
    finally:
        lease.release()


def read(folder: Path, number: int) -> dict[str, Any] | None:
    """What a lock says of its holder; None while it is written, or where there is none."""
    path = path_of(folder, number)
    if os.path.lexists(path):
        disk.check_target(path, root=folder)
    return disk.read_json(path)


def newest(folder: Path) -> int:
    """The number of the run that holds the folder or held it last; 0 where none ever did."""
    return max(_numbers(folder), default=0)


def path_of(folder: Path, number: int) -> Path:
    """The file of a lock."""
    return folder / f".lock-{number}"


def is_held(record: dict[str, Any] | None) -> bool:
    """Whether a lock's holder may be alive: it has not let go, and is not seen to be dead here."""
    if record is None:
        return True
    return record.get("held") is True and not _is_dead(record)


def is_here(record: dict[str, Any] | None) -> bool:
    """Whether a lock's holder is, or was, among the processes that we can see."""
    return record is not None and record.get("machine") == machine()


@functools.cache
def machine() -> str:
    """What processes that can see each other have in common: a start of a machine, a container."""
    parts = []
    for read_part in (
        lambda: Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
        lambda: os.readlink("/proc/self/ns/pid"),
    ):
        with contextlib.suppress(OSError):
            parts.append(read_part())
    return " ".join([socket.gethostname(), *parts])


def _numbers(folder: Path) -> list[int]:
    found = [_NAME.fullmatch(name) for name in os.listdir(folder)]
    return [int(match[1]) for match in found if match]


def _wait_for_end(folder: Path, number: int) -> None:
    """Until the holder has ended or gave no sign for EXPIRES; refuses where it is alive."""
    first = read(folder, number)
    if not is_held(first):
        return
    if is_here(first):
        raise _refused(folder, first)
    since = looked = _clock()
    while looked - since < EXPIRES:
        time.sleep(_LOOK)
        now = read(folder, number)
        if newest(folder) != number or not is_held(now):
            return
        if now != first and first is not None:
            raise _refused(folder, now or first)
        first = now
        before, looked = looked, _clock()
        if looked - before > EXPIRES / 3:  # we were stopped, or the disk was away: for both of us
            since = looked


def _refused(folder: Path, holder: dict[str, Any] | None) -> StoreError:
    return StoreError(
        f"another run ({_named(holder or {})}) is writing to {folder}; wait for it or give another "
        "--out folder"
    )


def _named(holder: dict[str, Any]) -> str:
    process = f"process {holder.get('process', 'unknown')}"
    return process if is_here(holder) else f"{process} on {holder.get('host', 'another machine')}"


def _is_dead(record: dict[str, Any]) -> bool:
    """Whether its process is seen to be gone; of another machine's nobody knows here."""
    if not is_here(record):
        return False
    return _began(int(record.get("process", 0))) != record.get("began")


def _began(process: int) -> str | None:
    """When a process began, by its machine's count, so that another of its number is told apart."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]


def _self() -> dict[str, Any]:
    """What tells this process from all others."""
    return {"machine": machine(), "process": os.getpid(), "began": _began(os.getpid())}


def _process_of(record: dict[str, Any]) -> tuple[Any, ...]:
    return record.get("machine"), record.get("process"), record.get("began")


def _created(folder: Path, number: int) -> bool:
    """Whether we were the one who made this lock."""
    target = path_of(folder, number)
    aside = folder / f"{disk.TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}-lock"
    try:
        _write(aside, number, True, 0, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.link(aside, target)
    except FileExistsError:
        # Of a server whose answer was lost we are told so of what we made ourselves
        return os.stat(aside).st_nlink > 1
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        try:  # no hard links here
            _write(target, number, True, 0, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            return False
    finally:
        aside.unlink(missing_ok=True)
    return True


def _write(path: Path, number: int, held: bool, beats: int, flags: int) -> None:
    record = {
        "number": number,
        "held": held,
        "beats": beats,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname()[:200],
        **_self(),
    }
    content = json.dumps(record).encode().ljust(_LENGTH - 1) + b"\n"
    descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o644)
    try:
        os.pwrite(descriptor, content, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

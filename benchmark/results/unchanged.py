"""What was made of files, for as long as they are the same: each is read and hashed once.

A file is the same while its number, its size and the times of its last change are. The time that
the system keeps (ctime) can't be set by anybody, so an edit shows whatever was done to hide it, and
a copy is read anew. What does not show is a disk that loses bits; who looks for that hashes again.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from benchmark.results.files import Record, open_plain, read_json, read_sealed, write_json
from benchmark.results.layout import SAFE_NAME

Made = TypeVar("Made")
State = tuple[int, int, int, int]

# Of a file that changed less than this ago another change might leave the same times.
_YOUNG = 2_000_000_000  # nanoseconds
# Smaller files are hashed as fast as they are looked up.
_WORTH_KEEPING = 1 << 20


class Unchanged(Generic[Made]):
    """What `make` gave of each file; of the last `most` of them, where that is given."""

    def __init__(self, make: Callable[[Path], Made], most: int | None = None) -> None:
        self.make, self.most = make, most
        self.known: dict[Path, tuple[State, Made]] = {}

    def of(self, path: Path) -> Made:
        """The same as last time where the file is; raises `OSError` where there is none."""
        status = os.stat(path)
        state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        found = self.known.get(path)
        if found is not None and found[0] == state:
            return found[1]
        made = self.make(path)
        if stat.S_ISREG(status.st_mode) and time.time_ns() - max(state[2:]) > _YOUNG:
            self.known[path] = state, made
            if self.most is not None and len(self.known) > self.most:
                del self.known[next(iter(self.known))]
        return made


# Records that are kept: a cell is read stage by stage, some of them for each other.
_records = Unchanged(read_sealed, most=16_384)


def sealed_record(path: Path) -> Record | None:
    """A record that is intact; None where there is none. Its inner values are shared."""
    try:
        found = _records.of(path.absolute())
    except OSError:
        return None
    return None if found is None else dict(found)


class Checksums(Unchanged[str]):
    """The SHA-256 of files; those of large ones can be kept in a file for the next command."""

    def __init__(self) -> None:
        super().__init__(_sha256)
        self.kept: set[Path] = set()

    def others(self, folder: Path, files: object) -> list[str]:
        """Paths below a folder without the checksums that `files` tells, if it is a dict."""
        if not isinstance(files, dict):
            return [""]
        return [name for name, checksum in files.items() if self._at(folder, name) != checksum]

    def _at(self, folder: Path, name: str) -> str:
        """The checksum of a file, empty where there is none, or its path leads elsewhere."""
        if not _leads_below(name):
            return ""
        try:
            return self.of((folder / name).absolute())
        except OSError:
            return ""

    def load(self, file: Path) -> None:
        """Takes what `save` wrote; what can't be read is hashed anew."""
        for name, told in (read_json(file) or {}).items():
            match told:
                case [int(), int(), int(), int(), str()] if _leads_below(name):
                    path = file.parent / name
                    self.known[path] = (told[0], told[1], told[2], told[3]), told[4]
                    self.kept.add(path)

    def save(self, file: Path) -> None:
        """Writes what is worth keeping, unless it is kept already; raises `OSError`."""
        large = {path: one for path, one in self.known.items() if one[0][1] >= _WORTH_KEEPING}
        if not large.keys() <= self.kept:
            whole = {
                path.relative_to(file.parent).as_posix(): [*state, checksum]
                for path, (state, checksum) in large.items()
            }
            write_json(file, whole, root=file.parent)
            self.kept = set(large)


@functools.cache
def checksums_in(file: Path) -> Checksums:
    """What this process, and those before it by `file`, know of a results folder."""
    found = Checksums()
    found.load(file)
    return found


def _leads_below(name: str) -> bool:
    """Whether a path, told by whomever, stays in the folder that it begins at."""
    return all(map(SAFE_NAME.fullmatch, name.split("/")))


def _sha256(path: Path) -> str:
    with open_plain(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

"""Files that are whole or absent (written aside, flushed, renamed), and JSON with its checksum."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

from benchmark.errors import StoreError

Record = dict[str, Any]
Writer = Callable[[Path], None]

TEMPORARY = ".tmp-"
_CHUNK = 1 << 20


def write_file(path: Path, write: Writer) -> str:
    """Lets `write` fill a temporary file, flushes it, renames it to `path`; returns its SHA-256.

    The temporary name ends like the final one, for writers that go by the suffix.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        write(temporary)
        with open(temporary, "rb+") as stream:
            checksum = hashlib.file_digest(stream, "sha256").hexdigest()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    flush_folder(path.parent)
    return checksum


def copy_of(source: Path, checksum: str) -> Writer:
    """A writer that copies a file, and refuses what changed since its SHA-256 was taken."""

    def write(path: Path) -> None:
        digest = hashlib.sha256()
        with open_plain(source) as reading, open(path, "wb") as writing:
            while chunk := reading.read(_CHUNK):
                digest.update(chunk)
                writing.write(chunk)
        if digest.hexdigest() != checksum:
            raise StoreError(f"{source} changed while it was read; start again")

    return write


def write_text(path: Path, content: str) -> None:
    """Writes UTF-8 text as `write_file` does, with line ends as they are."""
    write_file(path, lambda temporary: _write_bytes(temporary, content.encode()))


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Writes a record as readable JSON; raises `ValueError` for a number that isn't finite."""
    write_text(path, _canonical(record) + "\n")


def open_plain(path: Path) -> BufferedReader:
    """A regular file, opened to be read; raises `OSError` for a pipe or a device, unopened.

    Among results that came from elsewhere, these would make a reader wait for ever.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return open(path, "rb")


def read_json(path: Path) -> Record | None:
    """The JSON object in a file, or None if there is none that can be read."""
    try:
        with open_plain(path) as stream:
            record = json.loads(stream.read(), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def write_sealed(path: Path, record: Mapping[str, Any]) -> None:
    """Writes a record with its own checksum, which `read_sealed` verifies and takes off."""
    plain: Record = json.loads(_canonical(record))  # as JSON will give it back: keys are strings
    write_json(path, {**plain, "checksum": _checksum(plain)})


def read_sealed(path: Path) -> Record | None:
    """A record that `write_sealed` wrote, or None if it is missing, cut short or changed."""
    record = read_json(path)
    try:
        intact = record is not None and record.pop("checksum", None) == _checksum(record)
    except (ValueError, RecursionError):  # such as 1e999, which is read as infinity
        return None
    return record if intact else None


def make_folder(folder: Path) -> None:
    """Makes a folder and its parents, and flushes the entry in its parent."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        flush_folder(folder.parent)


def flush_folder(folder: Path) -> None:
    """Waits until the folder's entries are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _canonical(record: Mapping[str, Any]) -> str:
    return json.dumps(record, sort_keys=True, indent=2, allow_nan=False)


def _checksum(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(record).encode()).hexdigest()


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)

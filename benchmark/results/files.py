"""Files that are whole or absent (written aside, flushed, renamed), and JSON with its checksum.

Whatever is written stands below a `root`, the folder that the user named. Nothing below it is
written through a link: results may come from elsewhere, and a link in them leads anywhere. Only
regular files are read, and no more of them than their kind needs.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import socket
import stat
from collections.abc import Callable, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from benchmark.errors import StoreError

Record = dict[str, Any]
Writer = Callable[[Path], None]

TEMPORARY = ".tmp-"
_CHUNK = 1 << 20
_LEFTOVER = re.compile(r"\.tmp-[0-9]+(-.*)?", re.DOTALL)

# The line of a record's own checksum, which isn't part of what it is of.
_SEAL = re.compile(rb'\n  "checksum": "[0-9a-f]{64}",|,\n  "checksum": "[0-9a-f]{64}"(?=\n\})')

# Bytes; a hundred times what any record of ours takes.
LARGEST_JSON = 16 << 20


def write_file(path: Path, write: Writer, *, root: Path, flush: bool = True) -> str:
    """Lets `write` fill a temporary file and renames it to `path`; returns its SHA-256.

    `flush`: also waits until it is on the disk; leave it out for what can be made again.
    Raises `OSError` where `check_target` does, or if it can't be written.
    """
    temporary, checksum = write_aside(path, write, root=root, flush=flush)
    try:
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if flush:
        flush_folder(path.parent)
    return checksum


def write_aside(path: Path, write: Writer, *, root: Path, flush: bool = True) -> tuple[Path, str]:
    """The first half of `write_file`: a temporary file beside `path`, and its SHA-256.

    Its name ends like the final one, for writers that go by the suffix, can't be foreseen, and is
    no other process's, on whatever machine.
    """
    check_target(path, root=root)
    temporary = beside(path)
    try:
        write(temporary)
        with open(temporary, "rb+") as stream:
            checksum = hashlib.file_digest(stream, "sha256").hexdigest()
            if flush:
                os.fsync(stream.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary, checksum


def beside(path: Path) -> Path:
    """A name for a temporary file beside `path`: no other process's, on whatever machine."""
    host = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:20]
    return path.with_name(f"{TEMPORARY}{os.getpid()}-{host}-{secrets.token_hex(4)}-{path.name}")


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


def npz_writer(arrays: Mapping[str, np.ndarray]) -> Writer:
    """A writer of a compressed npz for `write_stage`; the same arrays give the same bytes."""
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise TypeError(f"array {name!r} holds Python objects, which only pickle could store")

    def write(path: Path) -> None:
        with open(path, "wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]

    return write


def write_text(path: Path, content: str | bytes, *, root: Path, flush: bool = True) -> None:
    """Writes UTF-8 text as `write_file` does, with line ends as they are; bytes as they are."""
    encoded = content.encode() if isinstance(content, str) else content
    write = functools.partial(write_bytes, content=encoded)
    write_file(path, write, root=root, flush=flush)


def write_json(path: Path, record: Mapping[str, Any], *, root: Path) -> None:
    """Writes a record as readable JSON; raises `ValueError` for a number that isn't finite."""
    write_text(path, _canonical(record) + "\n", root=root)


def write_sealed(path: Path, record: Mapping[str, Any], *, root: Path) -> None:
    """Writes a record with its own checksum, which `read_sealed` verifies and takes off."""
    write_text(path, sealed(record), root=root)


def sealed(record: Mapping[str, Any]) -> bytes:
    """A record as `write_sealed` writes it; raises `ValueError` for a number that isn't finite."""
    plain: Record = json.loads(_canonical(record))  # as JSON will give it back: keys are strings
    return (_canonical({**plain, "checksum": _checksum(plain)}) + "\n").encode()


def remove_folder(path: Path, *, first: str, root: Path) -> None:
    """Removes a folder, if it is there, and a file of it before all others; refuses links."""
    check_target(path / first, root=root)
    for place, folders, _ in os.walk(path):
        for name in folders:  # a file that is a link is only unlinked
            check_target(Path(place, name, first), root=root)
    (path / first).unlink(missing_ok=True)
    if path.exists():
        shutil.rmtree(path)


def check_target(path: Path, *, root: Path) -> None:
    """Raises `OSError` unless a file can be written at `path` without leaving the folder `root`.

    So `root` must exist, nothing from there down to `path` is a link, and `path` is free or a
    regular file.
    """
    if not root.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {root}")
    place = root
    for part in path.relative_to(root).parts:
        place /= part
        if part == ".." or place.is_symlink():
            raise OSError(errno.ELOOP, f"{place} is a link, which is not followed; remove it")
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise OSError(errno.EINVAL, f"{path} is not a regular file")


def open_plain(path: Path) -> BufferedReader:
    """A regular file, opened to be read; raises `OSError` for a pipe or a device, unopened.

    Among results that came from elsewhere, these would make a reader wait for ever.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return open(path, "rb")


def read_plain(path: Path, *, largest: int) -> bytes:
    """The bytes of a regular file; raises `OSError` where there are more than `largest`."""
    with open_plain(path) as stream:
        content = stream.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"it is larger than {largest:,} bytes", str(path))
    return content


def read_json(path: Path) -> Record | None:
    """The JSON object in a file, or None if there is none that can be read."""
    try:
        return _parsed(read_plain(path, largest=LARGEST_JSON))
    except (OSError, ValueError, RecursionError):
        return None


def read_sealed(path: Path) -> Record | None:
    """A record that `write_sealed` wrote, or None if it is missing, cut short or changed."""
    try:
        content = read_plain(path, largest=LARGEST_JSON)
        record = _parsed(content)
        told = record.pop("checksum", None)
        # As it was written, or else (which takes longer) in the canonical form of what it says.
        written = hashlib.sha256(_SEAL.sub(b"", content, count=1).rstrip(b"\n")).hexdigest()
        intact = told == written or told == _checksum(record)
    except (OSError, ValueError, RecursionError):
        return None
    return record if intact else None


def make_folder(folder: Path, *, root: Path) -> None:
    """Makes a folder below `root`, which exists, and those between; flushes their entries.

    Raises `OSError` for a link among them, or if there is no `root`.
    """
    check_target(folder / "file", root=root)
    missing = [place for place in (folder, *folder.parents) if not place.is_dir()]
    for place in reversed(missing):
        place.mkdir(exist_ok=True)
        flush_folder(place.parent)


def make_root(folder: Path) -> None:
    """Makes the folder that a user named, and its parents; flushes its entry in its parent."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        flush_folder(folder.parent)


def sweep(folder: Path) -> None:
    """Removes the temporary files that a killed writer left in a folder; of that, nothing else."""
    with os.scandir(folder) as entries:
        found = [e.path for e in entries if _LEFTOVER.fullmatch(e.name)]
    for path in found:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)


def flush_folder(folder: Path) -> None:
    """Waits until the folder's entries are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parsed(content: bytes) -> Record:
    record = json.loads(content, parse_constant=_refuse_constant, parse_float=_finite)
    if not isinstance(record, dict):
        raise ValueError("it is no JSON object")
    return record


def _canonical(record: Mapping[str, Any]) -> str:
    return json.dumps(record, sort_keys=True, indent=2, allow_nan=False)


def _checksum(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(record).encode()).hexdigest()


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):  # such as 1e999, which Python reads as infinity
        raise ValueError(f"{number} is too large")
    return value


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def write_bytes(path: Path, content: bytes) -> None:
    """A `Writer` of these bytes, once `content` is bound."""
    path.write_bytes(content)

"""What a results folder is made of: its marker, the names in it, and whether it can be used."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from benchmark.errors import FullError, StoreError
from benchmark.results import lease
from benchmark.results.files import TEMPORARY, check_target, read_json
from benchmark.results.identity import SCHEMA_VERSION

# A cell has one of each of these, or none ("given": a model that someone else trained).
STAGES = ("training", "adaptation", "given")
# Of others it has any number, as <folder>/<key>.

MARKER = "bench.json"
CHECKSUMS = ".checksums"
LOGS = "logs"
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")


def check_schema(path: Path) -> None:
    """Raises `StoreError` if the folder's marker tells of another schema, or of none."""
    marker = read_json(path / MARKER)
    version = None if marker is None else marker.get("schema_version")
    if version is None:
        raise StoreError(f"{path / MARKER} can't be understood; give another --out folder")
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{path} holds results of schema version {version!r}, this bench reads and writes "
            f"version {SCHEMA_VERSION}; give another --out folder or use the bench that made it"
        )


def check_writable(path: Path) -> None:
    """Raises `StoreError` if results can't be written to the folder `path`; writes nothing."""
    with explained("write", path):
        if path.is_dir():
            if (path / MARKER).exists():
                check_schema(path)
            elif foreign := sorted(n for n in os.listdir(path) if not n.startswith(TEMPORARY)):
                raise StoreError(
                    f"{path} holds other files ({foreign[0]!r}) and no results; "
                    "give a new or an empty folder, or one that bench made"
                )
        check_permission(path)
        if path.is_dir():
            lock = lease.path_of(path, lease.newest(path) or 1).name
            for inside in (MARKER, lock, CHECKSUMS, "cells/any", f"{LOGS}/any"):
                check_target(path / inside, root=path)


def check_permission(path: Path) -> None:
    """Raises `StoreError` if a results folder can't be made or written at `path`."""
    nearest = next(p for p in (path, *path.absolute().parents) if os.path.lexists(p))
    cells = path / "cells"
    for folder in (nearest, cells) if os.path.lexists(cells) else (nearest,):
        if not folder.is_dir():
            raise StoreError(
                f"can't write results to {path}: {folder} is not a folder; give another --out"
            )
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StoreError(
                f"can't write results to {path}: no permission for {folder}; give another --out"
            )


def plain_path(path: Path | str) -> Path:
    """A path that can exist; raises `StoreError` for any other."""
    if "\0" in str(path):
        raise StoreError(f"{str(path)!r} is not a path; it holds a null character")
    return Path(path)


def safe(name: str, kind: str) -> str:
    """The name, if it is safe as a part of a path; raises `StoreError` otherwise."""
    if not SAFE_NAME.fullmatch(name):
        raise StoreError(f"{kind} {name!r} is not allowed; use letters, digits, '_', '-', '+', '.'")
    return name


@contextlib.contextmanager
def explained(verb: str, path: Path) -> Iterator[None]:
    """What the system refuses becomes a `StoreError`, in one line; a full disk a `FullError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise FullError(
                f"can't {verb} {path}: {error.strerror}; make room, and give the same command again"
            ) from error
        raise StoreError(f"can't {verb} {path}: {error.strerror or error}") from error

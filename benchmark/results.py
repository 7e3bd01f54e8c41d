"""The record on disk: its layout, its schema version, crash-safe writing, and reading.

    OUT/bench.json                     the schema version of everything below
    OUT/.lock                          held by the one run that writes
    OUT/cells/<cell_id>/cell.json      written when a cell ends, whether it went well or not
    OUT/cells/<cell_id>/<stage>.json   one of STAGES or KEYED_STAGES; its files beside it

A stage's files come first and its JSON last, with the SHA-256 of the files and of itself. So a
stage that is half-written, cut short or changed later reads as missing, and is simply done again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import files as disk
from benchmark.errors import MovedError, StoreError
from benchmark.files import Record, Writer
from benchmark.files import open_plain as open_plain  # these two for the writers of reports
from benchmark.files import write_text as write_text
from benchmark.identity import SCHEMA_VERSION as SCHEMA_VERSION
from benchmark.identity import fits as fits
from benchmark.portable import dataset_name as dataset_name
from benchmark.portable import without_folders as without_folders

# A cell has one of each of these, or none ("given": a model that someone else trained).
STAGES = ("training", "adaptation", "given")
# Of these it has any number, as <stage>/<key>; of trust checks and of what was asked one a suite.
KEYED_STAGES = ("attacks", "trust", "curves", "transfers", "adaptations", "runs")

_MARKER = "bench.json"
_LOCK = ".lock"
# What NumPy and zipfile raise for archives that are not whole, not theirs, or claim absurd sizes.
_UNREADABLE_ARRAYS = (
    OSError,
    TypeError,
    ValueError,
    EOFError,
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")


@dataclass(frozen=True)
class Store:
    """One output folder. Make one with `create` to write or with `open` to read."""

    path: Path

    @classmethod
    def create(cls, path: Path | str) -> Store:
        """Makes the folder, its parents and its marker; what is already there is kept.

        Raises `StoreError` where `check_writable` does, or if the folder can't be made.
        """
        path = Path(path)
        cls.check_writable(path)
        with _explained("write", path):
            disk.make_folder(path)
            if not (path / _MARKER).exists():
                disk.write_json(path / _MARKER, {"schema_version": SCHEMA_VERSION})
            disk.make_folder(path / "cells")
        return cls(path)

    @classmethod
    def open(cls, path: Path | str) -> Store:
        """An existing results folder, for reading; raises `StoreError` if it isn't one."""
        path = _plain_path(path)
        hint = "give the --out folder of a bench run"
        with _explained("read", path):
            if not path.is_dir():
                raise StoreError(f"no results folder at {path}; {hint}")
            if not (path / _MARKER).exists():
                raise StoreError(f"{path} is not a results folder (it has no {_MARKER}); {hint}")
            _check_schema(path)
        return cls(path)

    @staticmethod
    def check_writable(path: Path | str) -> None:
        """Raises `StoreError` if `create` would refuse this folder; writes nothing."""
        path = _plain_path(path)
        with _explained("write", path):
            if path.is_dir():
                if (path / _MARKER).exists():
                    _check_schema(path)
                elif foreign := sorted(
                    n for n in os.listdir(path) if not n.startswith(disk.TEMPORARY)
                ):
                    raise StoreError(
                        f"{path} holds other files ({foreign[0]!r}) and no results; "
                        "give a new or an empty folder, or one that bench made"
                    )
            _check_permission(path)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder for one run, and removes what a killed run left half-written.

        Raises `StoreError` when another run holds it. A lock dies with the process that holds it.
        """
        with contextlib.ExitStack() as stack:
            with _explained("lock", self.path):
                stream = stack.enter_context(open(self.path / _LOCK, "a+", encoding="utf-8"))
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    stream.seek(0)
                    raise StoreError(
                        f"another run (process {stream.read(20).strip() or 'unknown'}) is writing "
                        f"to {self.path}; wait for it or give another --out folder"
                    ) from None
                stream.truncate(0)
                stream.write(f"{os.getpid()}\n")
                stream.flush()
                for leftover in list((self.path / "cells").rglob(f"{disk.TEMPORARY}*")):
                    leftover.unlink(missing_ok=True)
            yield

    def check_there(self) -> None:
        """Raises `MovedError` where the folder is gone, so that no other is made in its place."""
        if not (self.path / _MARKER).is_file():
            raise MovedError(
                f"{self.path} was moved or removed while a run wrote to it; move it back, or give "
                "its new place as --out, and start again: what is done is not done again"
            )

    def cell_ids(self) -> list[str]:
        """The ids of all cells that have a folder, finished or not, sorted."""
        with _explained("read", self.path):
            folders = [p.name for p in (self.path / "cells").glob("*") if p.is_dir()]
        return sorted(name for name in folders if _SAFE_NAME.fullmatch(name))

    def cell_folder(self, cell_id: str) -> Path:
        """The folder of a cell, which need not exist; raises `StoreError` for an unsafe id."""
        return self.path / "cells" / _safe(cell_id, "cell id")

    def write_cell(self, cell_id: str, record: Mapping[str, Any]) -> None:
        """Writes `cell.json`, adding the schema version and the id.

        Raises `StoreError` if it can't be written, `ValueError` for a number that isn't finite.
        """
        folder = self.cell_folder(cell_id)
        self.check_there()
        with _explained("write", folder):
            disk.make_folder(folder)
            whole = {**record, "schema_version": SCHEMA_VERSION, "cell_id": cell_id}
            disk.write_sealed(folder / "cell.json", whole)

    def read_cell(self, cell_id: str) -> Record | None:
        """The record of a cell that ended, or None if missing, damaged or of another schema."""
        record = disk.read_sealed(self.cell_folder(cell_id) / "cell.json")
        expected = (SCHEMA_VERSION, cell_id)
        if record is None or (record.get("schema_version"), record.get("cell_id")) != expected:
            return None
        return record

    def write_stage(
        self,
        cell_id: str,
        stage: str,
        record: Mapping[str, Any],
        files: Mapping[str, Writer] | None = None,
    ) -> None:
        """Writes a stage as a whole: first its files, then its JSON with their checksums.

        `stage` is one of STAGES, or "<one of KEYED_STAGES>/<key>". `files` maps a final file name
        to a function that writes to the temporary path it is given, which ends like the final name.
        Raises `StoreError` if it can't be written, `ValueError` for a number that isn't finite.
        """
        target = self._stage_path(cell_id, stage)
        self.check_there()
        with _explained("write", target):
            disk.make_folder(target.parent)
            checksums = {
                name: disk.write_file(target.parent / _safe(name, "file name"), write)
                for name, write in (files or {}).items()
            }
            told = {k: without_folders(v) for k, v in record.items() if k == "reason"}
            disk.write_sealed(target, {**record, **told, "files": checksums})

    def read_stage(self, cell_id: str, stage: str) -> Record | None:
        """The record of a finished stage, or None if missing, damaged, or a file of it is."""
        target = self._stage_path(cell_id, stage)
        record = disk.read_sealed(target)
        if record is None or not isinstance(record.get("files"), dict):
            return None
        for name, checksum in record["files"].items():
            if not _SAFE_NAME.fullmatch(name):
                return None
            try:
                with open_plain(target.parent / name) as stream:
                    found = hashlib.file_digest(stream, "sha256").hexdigest()
            except OSError:
                return None
            if found != checksum:
                return None
        return record

    def read_arrays(
        self, cell_id: str, stage: str, filename: str, *, only: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """The arrays of a stage's npz file, or those of the names given, read without pickle.

        Raises `StoreError` if the stage has no such file, or the file is damaged.
        """
        target = self._stage_path(cell_id, stage)
        path = target.parent / _safe(filename, "file name")
        files = (disk.read_sealed(target) or {}).get("files")
        if not isinstance(files, dict) or filename not in files:
            raise StoreError(f"the stage {stage!r} of {cell_id} has no file {filename!r}")
        try:
            with open_plain(path) as stream:
                content = stream.read()
            if files[filename] != hashlib.sha256(content).hexdigest():
                raise ValueError("its checksum differs")
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                return {n: archive[n] for n in archive.files if only is None or n in only}
        except _UNREADABLE_ARRAYS as error:
            raise StoreError(f"can't read the arrays in {path}: {error}") from error

    def attack_keys(self, cell_id: str) -> list[str]:
        """The keys of all attacks that have a JSON file, sorted; `read_stage` judges each."""
        return self.stage_keys(cell_id, "attacks")

    def stage_keys(self, cell_id: str, folder: str) -> list[str]:
        """The same of any of KEYED_STAGES."""
        names = [p.stem for p in (self.cell_folder(cell_id) / folder).glob("*.json")]
        return sorted(name for name in names if _SAFE_NAME.fullmatch(name))

    def _stage_path(self, cell_id: str, stage: str) -> Path:
        folder, slash, key = stage.rpartition("/")
        if slash and folder in KEYED_STAGES:
            kind = "attack key" if folder == "attacks" else "key"
            return self.cell_folder(cell_id) / folder / f"{_safe(key, kind)}.json"
        if stage not in STAGES:
            keyed = (f"{name}/<key>" for name in KEYED_STAGES)
            raise StoreError(f"unknown stage {stage!r}; allowed: {', '.join((*STAGES, *keyed))}")
        return self.cell_folder(cell_id) / f"{stage}.json"


def npz_writer(arrays: Mapping[str, np.ndarray]) -> Writer:
    """A writer of a compressed npz for `write_stage`; the same arrays give the same bytes."""
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise TypeError(f"array {name!r} holds Python objects, which only pickle could store")

    def write(path: Path) -> None:
        with open(path, "wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]

    return write


def _check_schema(path: Path) -> None:
    marker = disk.read_json(path / _MARKER)
    version = None if marker is None else marker.get("schema_version")
    if version is None:
        raise StoreError(f"{path / _MARKER} can't be understood; give another --out folder")
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{path} holds results of schema version {version!r}, this bench reads and writes "
            f"version {SCHEMA_VERSION}; give another --out folder or use the bench that made it"
        )


def _check_permission(path: Path) -> None:
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


def _plain_path(path: Path | str) -> Path:
    if "\0" in str(path):
        raise StoreError(f"{str(path)!r} is not a path; it holds a null character")
    return Path(path)


def _safe(name: str, kind: str) -> str:
    if not _SAFE_NAME.fullmatch(name):
        raise StoreError(f"{kind} {name!r} is not allowed; use letters, digits, '_', '-', '+', '.'")
    return name


@contextlib.contextmanager
def _explained(verb: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"can't {verb} {path}: {error.strerror or error}") from error

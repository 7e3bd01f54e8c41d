"""One results folder: its cells and their stages, written whole and read when intact."""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import MovedError, StoreError
from benchmark.portable import without_folders
from benchmark.results import files as disk
from benchmark.results import lease as leases
from benchmark.results.files import Record, Writer
from benchmark.results.identity import SCHEMA_VERSION, made_of
from benchmark.results.layout import (
    CHECKSUMS,
    LOGS,
    MARKER,
    SAFE_NAME,
    STAGES,
    check_schema,
    check_writable,
    explained,
    plain_path,
    safe,
)
from benchmark.results.unchanged import Checksums, checksums_in, sealed_record
from defenses.archives import read_arrays

# Bytes that the arrays of a stage may take, packed or not. Those of an attack on 10,000 examples
# with eight samples of 1,000x1,000 pixels take half of it.
LARGEST_ARRAYS = 512 << 20


# Told the cell, the stage, and its files: the temporary names and the final ones, the JSON last.
HandOver = Callable[[str, str, Mapping[str, str]], None]


@dataclass(frozen=True)
class Store:
    """One output folder. Make one with `create` to write or with `open` to read.

    lease: says whether it is still ours, where we hold it. hand_over: takes what was written aside,
    and returns when somebody has made it known.
    """

    path: Path
    checksums: Checksums = field(default_factory=Checksums, compare=False, repr=False)
    lease: leases.Lease | None = None
    hand_over: HandOver | None = None

    @classmethod
    def create(cls, path: Path | str) -> Store:
        """Makes the folder, its parents and its marker; what is already there is kept.

        Raises `StoreError` where `check_writable` does, or if the folder can't be made.
        """
        path = Path(path)
        cls.check_writable(path)
        with explained("write", path):
            disk.make_root(path)
            if not (path / MARKER).exists():
                disk.write_json(path / MARKER, {"schema_version": SCHEMA_VERSION}, root=path)
            disk.make_folder(path / "cells", root=path)
        return cls(path, checksums_in(path.absolute() / CHECKSUMS))

    @classmethod
    def open(cls, path: Path | str, *, anew: bool = False) -> Store:
        """An existing results folder, for reading; raises `StoreError` if it isn't one.

        `anew`: a file is hashed although it looks as it did when it was hashed before. That is for
        `bench report --verify`, which asks what the disk holds. Everybody else asks whether a stage
        was changed since it was written, and an edit, however it was made, changes a file's times.
        """
        path = plain_path(path)
        hint = "give the --out folder of a bench run"
        with explained("read", path):
            if not path.is_dir():
                raise StoreError(f"no results folder at {path}; {hint}")
            if not (path / MARKER).exists():
                raise StoreError(f"{path} is not a results folder (it has no {MARKER}); {hint}")
            check_schema(path)
        return cls(path) if anew else cls(path, checksums_in(path.absolute() / CHECKSUMS))

    @staticmethod
    def check_writable(path: Path | str) -> None:
        """Raises `StoreError` if `create` would refuse this folder; writes nothing."""
        check_writable(plain_path(path))

    @contextlib.contextmanager
    def lock(self) -> Iterator[Store]:
        """Holds the folder for one run, and removes what a killed run left half-written.

        What is written through the store that this gives is written only while the folder is ours.
        Raises `StoreError` when another run holds it; see `benchmark.results.lease`.
        """
        with contextlib.ExitStack() as stack:
            with self._writing("lock", self.path):
                lease = stack.enter_context(leases.held(self.path))
                disk.sweep(self.path)
                for folder, _, _ in os.walk(self.path / "cells"):
                    disk.sweep(Path(folder))
            try:
                yield replace(self, lease=lease)
            finally:
                with contextlib.suppress(OSError):  # they can be made again
                    self.checksums.save(self.path.absolute() / CHECKSUMS)

    def check_there(self) -> None:
        """Raises `MovedError` where the folder is gone, so that no other is made in its place."""
        if not (self.path / MARKER).is_file():
            raise MovedError(
                f"the results folder {self.path} was moved or removed while it was written to; "
                "all that was done is in it: give its new place as --out, or move it back, and "
                "the same command goes on"
            )

    def cell_ids(self, beginning: str = "") -> list[str]:
        """The ids of all cells that have a folder, finished or not, sorted; those that begin so."""
        folder = self.path / "cells"
        with explained("read", self.path), contextlib.suppress(FileNotFoundError):
            with os.scandir(folder) as entries:
                named = [entry for entry in entries if entry.name.startswith(beginning)]
            return sorted(e.name for e in named if SAFE_NAME.fullmatch(e.name) and e.is_dir())
        return []

    def cell_folder(self, cell_id: str) -> Path:
        """The folder of a cell, which need not exist; raises `StoreError` for an unsafe id."""
        return self.path / "cells" / safe(cell_id, "cell id")

    def write_cell(self, cell_id: str, record: Mapping[str, Any]) -> None:
        """Writes `cell.json`, adding the schema version and the id.

        Raises `StoreError` if it can't be written, `ValueError` for a number that isn't finite.
        """
        target = self.cell_folder(cell_id) / "cell.json"
        whole = {**record, "schema_version": SCHEMA_VERSION, "cell_id": cell_id}
        with self._writing("write", target):
            disk.make_folder(target.parent, root=self.path)
            disk.write_sealed(target, whole, root=self.path)

    def read_cell(self, cell_id: str) -> Record | None:
        """The record of a cell that ended, or None if missing, damaged or of another schema."""
        record = sealed_record(self.cell_folder(cell_id) / "cell.json")
        expected = (SCHEMA_VERSION, cell_id)
        if record is None or (record.get("schema_version"), record.get("cell_id")) != expected:
            return None
        return record

    def discard(self, cell_id: str) -> None:
        """Removes what there is of a cell, its record first; there may be nothing."""
        folder = self.cell_folder(cell_id)
        with self._writing("remove", folder):
            disk.remove_folder(folder, first="cell.json", root=self.path)

    def write_stage(
        self,
        cell_id: str,
        stage: str,
        record: Mapping[str, Any],
        files: Mapping[str, Writer] | None = None,
    ) -> None:
        """Writes a stage as a whole: first its files, then its JSON with their checksums.

        `stage` is one of STAGES, or "<folder>/<key>". `files` maps a final file name
        to a function that writes to the temporary path it is given, which ends like the final name.
        Raises `StoreError` if it can't be written, `ValueError` for a number that isn't finite.
        """
        target = self._stage_path(cell_id, stage)
        named = {safe(name, "file name"): write for name, write in (files or {}).items()}
        aside: dict[str, str] = {}

        def put_aside(name: str, write: Writer) -> str:
            path, checksum = disk.write_aside(target.with_name(name), write, root=self.path)
            aside[path.name] = name
            return checksum

        with self._writing("write", target):
            disk.make_folder(target.parent, root=self.path)
            try:
                checksums = {name: put_aside(name, write) for name, write in named.items()}
                told = {k: without_folders(v) for k, v in record.items() if k == "reason"}
                whole = disk.sealed({**record, **told, "files": checksums})
                put_aside(target.name, functools.partial(disk.write_bytes, content=whole))
                (self.hand_over or self.publish)(cell_id, stage, aside)
            finally:
                for name in aside:
                    target.with_name(name).unlink(missing_ok=True)

    def publish(self, cell_id: str, stage: str, files: Mapping[str, str]) -> None:
        """Makes a stage known that was written aside: renames its files, its JSON last."""
        folder = self._stage_path(cell_id, stage).parent
        *_, last = files
        with self._writing("write", folder):
            for temporary, name in files.items():
                if temporary == last:
                    disk.flush_folder(folder)
                if self.lease is not None:  # between two of them another run may have followed
                    self.lease.check()
                os.replace(folder / temporary, folder / safe(name, "file name"))
            disk.flush_folder(folder)

    def read_stage(self, cell_id: str, stage: str) -> Record | None:
        """The record of a finished stage, or None if missing, damaged, or a file of it is.

        So it is where a file that it was made of is there no longer, or is another one: numbers
        stand for the weights that they were measured on, and are never read beside others.
        Its inner values are shared with whoever reads it next, and are not to be changed.
        """
        record = self.read_whole(cell_id, stage)
        if record is None or self.checksums.others(self.cell_folder(cell_id), made_of(record)):
            return None
        return record

    def read_whole(self, cell_id: str, stage: str) -> Record | None:
        """The same, whatever it was made of: what `--verify` finds fault with or can't check."""
        target = self._stage_path(cell_id, stage)
        record = sealed_record(target)
        if record is None or self.checksums.others(target.parent, record.get("files")):
            return None
        return record

    def read_arrays(
        self, cell_id: str, stage: str, filename: str, *, only: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """The arrays of a stage's npz file, or those of the names given, read without pickle.

        Raises `StoreError` if the stage has no such file, or the file is damaged.
        """
        target = self._stage_path(cell_id, stage)
        path = target.parent / safe(filename, "file name")
        files = (sealed_record(target) or {}).get("files")
        if not isinstance(files, dict) or filename not in files:
            raise StoreError(f"the stage {stage!r} of {cell_id} has no file {filename!r}")
        try:
            content = disk.read_plain(path, largest=LARGEST_ARRAYS)
            # Asked afterwards: what is still as it was hashed was so while it was read.
            if files[filename] != self.checksums.of(path.absolute()):
                raise ValueError("its checksum differs")
            return read_arrays(io.BytesIO(content), only=only, largest=LARGEST_ARRAYS)
        except (OSError, ValueError) as error:
            raise StoreError(f"can't read the arrays in {path}: {error}") from error

    def make_cell_folder(self, cell_id: str) -> Path:
        """The folder of a cell, made; raises `StoreError` if it can't be, or is a link."""
        folder = self.cell_folder(cell_id)
        with self._writing("write", folder):
            disk.make_folder(folder, root=self.path)
        return folder

    def log(self, name: str, kind: str = "log") -> Path:
        """The log file called `name`, which can be added to; raises `StoreError` if it can't."""
        path = self.path / LOGS / f"{safe(name, 'name')}.{kind}"
        with self._writing("write", path):
            disk.make_folder(path.parent, root=self.path)
            disk.check_target(path, root=self.path)
        return path

    def stage_folders(self, cell_id: str) -> list[str]:
        """The folders of a cell in which it has any number of stages, sorted."""
        names = {path.parent.name for path in self.cell_folder(cell_id).glob("*/*.json")}
        return sorted(filter(SAFE_NAME.fullmatch, names))

    def stage_keys(self, cell_id: str, folder: str) -> list[str]:
        """The keys of all stages that have a JSON file there, sorted; `read_stage` judges each."""
        names = [path.stem for path in (self.cell_folder(cell_id) / folder).glob("*.json")]
        return sorted(filter(SAFE_NAME.fullmatch, names))

    @contextlib.contextmanager
    def _writing(self, verb: str, path: Path) -> Iterator[None]:
        """Explains what fails, and tells when the whole folder is gone."""
        try:
            with explained(verb, path):
                if self.lease is not None:
                    self.lease.check()
                yield
        except StoreError:
            self.check_there()
            raise

    def _stage_path(self, cell_id: str, stage: str) -> Path:
        folder, _, key = stage.rpartition("/")
        if SAFE_NAME.fullmatch(folder):
            return self.cell_folder(cell_id) / folder / f"{safe(key, 'key')}.json"
        if stage not in STAGES:
            raise StoreError(f"unknown stage {stage!r}; allowed: {', '.join(STAGES)}, FOLDER/KEY")
        return self.cell_folder(cell_id) / f"{stage}.json"

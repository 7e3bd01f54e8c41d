"""A results folder as one file: the same results always give the same bytes.

card.yaml         what its author says
results/...       the folder's marker, cells, which have ended, and their stages with their files
SHA256SUMS        of all of these, as `sha256sum --check` reads them
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import yaml

from benchmark.errors import StoreError
from benchmark.results import Store
from benchmark.results.files import open_plain
from benchmark.results.layout import MARKER, STAGES
from benchmark.submission.card import Card

RESULTS, CARD, SUMS = "results", "card.yaml", "SHA256SUMS"


def write(path: Path, store: Store, card: Card) -> str:
    """Writes the archive as a tar file; returns its SHA-256."""
    said = yaml.safe_dump(card.model_dump(), sort_keys=False, allow_unicode=True).encode()
    results = {f"{RESULTS}/{one.relative_to(store.path)}": one for one in _results(store)}
    sums = {name: store.checksums.of(one.absolute()) for name, one in results.items()}
    sums[CARD] = hashlib.sha256(said).hexdigest()
    listed = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, SUMS, io.BytesIO(listed), len(listed))
        _add(archive, CARD, io.BytesIO(said), len(said))
        for name in sorted(results):
            with open_plain(results[name]) as stream:
                _add(archive, name, stream, os.fstat(stream.fileno()).st_size)
    with open(path, "rb") as whole:
        return hashlib.file_digest(whole, "sha256").hexdigest()


def _add(archive: tarfile.TarFile, name: str, stream: IO[bytes], size: int) -> None:
    """An entry of nobody, of 1970, that all may read: nothing of this machine."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    archive.addfile(entry, stream)


def _results(store: Store) -> Iterator[Path]:
    """The marker and all that the cells hold; nothing that merely lies beside them."""
    yield store.path / MARKER
    for cell_id in store.cell_ids():
        yield from _files(store, cell_id)


def _files(store: Store, cell_id: str) -> Iterator[Path]:
    """The files of a cell; raises `StoreError` for a damaged one."""
    folder = store.cell_folder(cell_id)
    yield folder / "cell.json"
    stages = [stage for stage in STAGES if (folder / f"{stage}.json").exists()]
    for name in store.stage_folders(cell_id):
        stages += [f"{name}/{key}" for key in store.stage_keys(cell_id, name)]
    for stage in stages:
        record = store.read_stage(cell_id, stage)
        if record is None:
            raise StoreError(f"{folder / stage}.json, or a file of it, is damaged")
        path = folder / f"{stage}.json"
        yield path
        yield from (path.parent / name for name in record["files"])

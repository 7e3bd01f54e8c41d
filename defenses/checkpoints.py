"""A training's state after an epoch, in one file that is replaced as a whole."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from defenses.training import Kernel

_META = "checkpoint"


class Checkpoint:
    """Saves to and continues from `path`, an NPZ file without pickled objects.

    Args:
        path: the file; its folder exists.
        identity: names the training; a file of another training is not taken up.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self._path = path
        self._identity = identity

    def save(
        self, kernel: Kernel, generator: np.random.Generator, history: list[dict[str, float]]
    ) -> None:
        """Replace the file by the state after this epoch."""
        meta = {
            "identity": self._identity,
            "generator": generator.bit_generator.state,
            "history": history,
        }
        temporary = self._path.with_name(f".tmp-{os.getpid()}-{self._path.name}")
        with temporary.open("wb") as file:
            arrays = {_META: np.array(json.dumps(meta)), **kernel.state()}
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)

    def resume(self, kernel: Kernel, generator: np.random.Generator) -> list[dict[str, float]]:
        """Load kernel and generator and return the history so far; empty where there is none."""
        try:
            with self._path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            meta = json.loads(str(arrays.pop(_META)))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            # No file yet, or one that can't be read: the training starts from the beginning,
            # which gives the same result, only later.
            return []
        if meta["identity"] != self._identity:
            return []
        kernel.load_state(arrays)
        generator.bit_generator.state = meta["generator"]
        history: list[dict[str, float]] = meta["history"]
        return history

    def remove(self) -> None:
        """Delete the file, once the training is saved elsewhere."""
        self._path.unlink(missing_ok=True)

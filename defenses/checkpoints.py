"""A training's state after an epoch, in one file that is replaced as a whole."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from defenses.archives import read_arrays

_META = "checkpoint"

Arrays = dict[str, np.ndarray]


class Checkpoint:
    """Saves to and continues from `path`, an NPZ file without pickled objects.

    Args:
        path: the file; its folder exists.
        identity: names the training; a file of another training is not taken up.

    Attributes:
        seconds_before: what the training had taken where it was taken up, which others did.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self._path = path
        self._identity = identity
        self._started = time.perf_counter()
        self.seconds_before = 0.0

    def save(self, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
        """Replace the file by these arrays and JSON values; a write that fails leaves nothing."""
        seconds = self.seconds_before + time.perf_counter() - self._started
        text = json.dumps({"identity": self._identity, "seconds": seconds, **meta})
        temporary = self._path.with_name(f".tmp-{os.getpid()}-{self._path.name}")
        try:
            with temporary.open("wb") as file:
                np.savez(file, **{_META: np.array(text), **arrays})  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)

    def read(self) -> tuple[Arrays, dict[str, Any]] | None:
        """What was saved, or None where there is nothing of this training."""
        # No file yet, or one that can't be read: the training starts from the beginning, which
        # gives the same result, only later.
        if not self._path.is_file():
            return None
        try:
            with self._path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                arrays = read_arrays(file, largest=size)  # `save` compresses nothing
            meta = json.loads(str(arrays.pop(_META)))
        except (OSError, ValueError, KeyError, RecursionError):
            return None
        if not isinstance(meta, dict) or meta.get("identity") != self._identity:
            return None
        self.seconds_before = meta.pop("seconds", 0.0)
        return arrays, meta

    def remove(self) -> None:
        """Delete the file, once the training is saved elsewhere."""
        self._path.unlink(missing_ok=True)

"""The data that pass between loaders, splits and the rest of the harness."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.datasets.examples import Examples, Stored

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Request:
    """What a loader is asked for.

    path: what stood after the colon of `name`, of those that take one. label: the column that holds
    the labels. keep: whether decoded images may stay in memory, as a training needs them again.
    """

    name: str
    path: Path | None
    data_dir: Path | None
    download: bool
    image_size: int | None
    split_seed: int
    label: str | None = None
    keep: bool = False

    @property
    def place(self) -> str:
        """What stands after the colon of `name`, as it was given."""
        return self.name.partition(":")[2]


@dataclass(frozen=True, eq=False)
class Source:
    """What a loader found, before validation (and test, where there is none yet) are split off.

    x: (n, H, W, C) or (n, d), uint8 or float in [0, 1]; y: (n,) int64 in 0..classes-1.
    x_test, y_test: the official test part, or None where it is to be split off by seed.
    x_validation, y_validation: the part for choosing that came with the data, or None.
    validation: else, the share of the training part that is held out for choosing.
    about: what the record should say of the data.
    scale: of the rows that are trained on, what scales any rows into [0, 1], and what the record
    should say of that; None where they lie there.
    """

    x: Stored
    y: Labels
    class_names: tuple[str, ...]
    x_test: Stored | None = None
    y_test: Labels | None = None
    x_validation: Stored | None = None
    y_validation: Labels | None = None
    validation: float = 0.1
    about: Mapping[str, Any] = field(default_factory=dict)
    scale: Callable[[Any], tuple[Callable[[Any], NDArray[Any]], Mapping[str, Any]]] | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a data set is; its examples are read when they are asked for.

    The validation part is for choosing, the test part never is.

    x_*: (n, H, W, C), or (n, d) for tabular data, float32 in [0, 1]; arrays are taken too.
    y_*: (n,) int64 in 0..classes-1. Every class is in every part; a part that came with the data
    may lack some.
    about: what the record should say of the data, beside what is found in them.
    """

    name: str
    x_train: Examples
    y_train: Labels
    x_validation: Examples
    y_validation: Labels
    x_test: Examples
    y_test: Labels
    class_names: tuple[str, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("x_train", "x_validation", "x_test"):
            given = getattr(self, name)
            if not isinstance(given, Examples):
                object.__setattr__(self, name, Examples(given))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example: (H, W, C), or (d,) for tabular data."""
        return self.x_train.shape[1:]

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def fingerprint(self) -> str:
        """The first 16 hex digits of the SHA-256 of all six arrays: types, shapes and bytes.

        Of very many files, and of named sets of files, the digest of each stands for its pixels.
        """
        return self._found[0]

    @property
    def duplicates(self) -> dict[str, int]:
        """How many test examples are also trained or chosen with, and examples there twice."""
        return self._found[1]

    def record(self) -> dict[str, Any]:
        """What a cell's record says of the data, beside the configuration; mostly nothing."""
        found = {name: count for name, count in self.duplicates.items() if count}
        return {**self.about, **({"duplicates": found} if found else {})}

    def notices(self) -> list[str]:
        """What the user should know of the data, a line each."""
        lines = []
        if count := self.about.get("rows_without_label"):
            lines.append(f"rows of {self.name} without a label, left out: {count}")
        if count := self.duplicates["test"]:
            lines.append(
                f"{count} of {len(self.y_test)} test examples of {self.name} are also in the "
                "training or validation part: what is measured on them is no generalisation"
            )
        return lines

    @functools.cached_property
    def _found(self) -> tuple[str, dict[str, int]]:
        """Fingerprint and duplicates, in one pass over everything."""
        digest = hashlib.sha256()
        known: set[int] = set()
        repeated = 0
        for x, y in ((self.x_train, self.y_train), (self.x_validation, self.y_validation)):
            hashes = _hashes(x, digest)
            _update(digest, y)
            known.update(hashes)
            repeated += len(hashes)
        hashes = _hashes(self.x_test, digest)
        _update(digest, self.y_test)
        found = {"test": sum(h in known for h in hashes), "training": repeated - len(known)}
        return digest.hexdigest()[:16], found


def _hashes(x: Examples, digest: Any) -> list[int]:
    """Add inputs to the digest; gives a hash of each, equal within this process for equal ones."""
    files = getattr(x.stored, "digests", None)
    if files is not None:
        chosen = files[x.rows]
        digest.update(f"{x.stored.transform}{x.shape}".encode())  # type: ignore[attr-defined]
        digest.update(np.ascontiguousarray(chosen).data.cast("B") if chosen.size else b"")
        return [hash(row.tobytes()) for row in chosen]
    digest.update(f"{x.dtype.str}{x.shape}".encode())
    hashes = []
    for chunk in x.chunks():
        digest.update(chunk.data.cast("B"))
        hashes += [hash(row.tobytes()) for row in chunk]
    return hashes


def _update(digest: Any, array: Labels) -> None:
    digest.update(f"{array.dtype.str}{array.shape}".encode())
    if array.size:  # there is no view of nothing
        digest.update(np.ascontiguousarray(array).data.cast("B"))

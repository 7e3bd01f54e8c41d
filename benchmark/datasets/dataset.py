"""The data that pass between loaders, splits and the rest of the harness."""

from __future__ import annotations

import functools
import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.datasets.classes import ClassSplit
from benchmark.datasets.examples import Examples, Stored

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Measured:
    """What a pass over all examples found.

    fingerprint: the first 16 hex digits of the SHA-256 of all six arrays: types, shapes and bytes.
    Of very many files, and of named sets of files, the digest of each stands for its pixels.
    known_test: how many test examples are trained or chosen with, too. repeated: how many of these
    are there again. stamp: what the files looked like from outside; "" where there are none, or one
    changed while they were read.
    known_novel: how many examples of classes that are held out are trained or chosen with, too.
    """

    fingerprint: str
    known_test: int
    repeated: int
    stamp: str
    known_novel: int = 0


@dataclass(frozen=True)
class Request:
    """What a loader is asked for.

    path: what stood after the colon of `name`, of those that take one. label: the column that holds
    the labels. group: the column whose rows of one value no split parts. keep: whether decoded
    images may stay in memory, as a training needs them again.
    """

    name: str
    path: Path | None
    data_dir: Path | None
    download: bool
    image_size: int | None
    split_seed: int
    label: str | None = None
    group: str | None = None
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
    groups: of x, (n,): examples with equal values belong together, as the frames of one film or
    the images of one patient do, and no split parts them. None where each stands for itself.
    about: what the record should say of the data.
    files: that were read, or will be.
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
    groups: NDArray[Any] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[str] = ()
    scale: Callable[[Any], tuple[Callable[[Any], NDArray[Any]], Mapping[str, Any]]] | None = None


@dataclass(frozen=True, eq=False)
class Pool:
    """Classes that no model is trained on, with the examples that their episodes are drawn from.

    class_names: of the labels 0..classes-1. support, y_support and query, y_query: inputs and
    labels of supports and of queries. shared: whether both are the same examples. groups: where
    they are, the number of the group that each belongs to, (n,), or None as in `Source`.
    """

    class_names: tuple[str, ...]
    support: Examples
    y_support: Labels
    query: Examples
    y_query: Labels
    shared: bool
    groups: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.y_support) + (0 if self.shared else len(self.y_query))


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a data set is; its examples are read when they are asked for.

    The validation part is for choosing, the test part never is.

    x_*: (n, H, W, C), or (n, d) for tabular data, float32 in [0, 1]; arrays are taken too.
    y_*: (n,) int64 in 0..classes-1. Every class is in every part; a part that came with the data
    may lack some.
    about: what the record should say of the data, beside what is found in them.
    files: that were read, or will be.
    before: what was found in the same data, as far as their files tell; see `measured`.
    since: when reading them began, in nanoseconds: files that changed later tell nothing.
    novel: "validation" and "test" to the classes that are held out, where classes are split.
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
    files: Sequence[str] = ()
    before: Measured | None = None
    since: float = math.inf
    novel: Mapping[str, Pool] = field(default_factory=dict)

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
    def class_split(self) -> ClassSplit | None:
        """Which classes are trained on, and which are held out; None where all are trained on."""
        if not self.novel:
            return None
        held_out = {part: pool.class_names for part, pool in self.novel.items()}
        return ClassSplit(train=self.class_names, **held_out)

    @property
    def fingerprint(self) -> str:
        """See `Measured`."""
        return self.measured.fingerprint

    def record(self) -> dict[str, Any]:
        """What a cell's record says of the data, beside the configuration; mostly nothing."""
        counts = {"test": self.measured.known_test, "training": self.measured.repeated}
        found = {name: count for name, count in counts.items() if count}
        return {**self.about, **({"duplicates": found} if found else {})}

    def notices(self) -> list[str]:
        """What the user should know of the data, a line each."""
        lines = []
        if counts := self.about.get("incomplete"):
            lines.append(
                f"{self.name} is not as published: {counts}; where a download was interrupted, "
                "remove its folder and give --download"
            )
        if count := self.about.get("rows_without_label"):
            lines.append(f"rows of {self.name} without a label, left out: {count}")
        if count := self.about.get("rows_without_group"):
            lines.append(f"rows of {self.name} without a group, each one of its own: {count}")
        if count := self.measured.known_test:
            lines.append(
                f"{count} of {len(self.y_test)} test examples of {self.name} are also in the "
                "training or validation part: what is measured on them is no generalisation"
            )
        if count := self.measured.known_novel:
            lines.append(
                f"{count} of {sum(map(len, self.novel.values()))} examples of the held-out classes "
                f"of {self.name} are also in the training or validation part: to the model they "
                "are not new"
            )
        return lines

    @functools.cached_property
    def measured(self) -> Measured:
        """What is found in one pass over everything, which is spared where it was made before.

        It was where every file still has the size and the time of its last change.
        """
        stamp = _stamp(self.files, self.since) if self.files else ""
        if self.before is not None and stamp and stamp == self.before.stamp:
            return self.before
        digest = hashlib.sha256()
        known: set[int] = set()
        total = 0
        for x, y in ((self.x_train, self.y_train), (self.x_validation, self.y_validation)):
            hashes = _hashes(x, digest)
            _update(digest, y)
            known.update(hashes)
            total += len(hashes)
        hashes = _hashes(self.x_test, digest)
        _update(digest, self.y_test)
        known_test = sum(one in known for one in hashes)
        known_novel = 0
        for pool in self.novel.values():
            hashes = _hashes(pool.support, digest)
            _update(digest, pool.y_support)
            others = _hashes(pool.query, digest)
            _update(digest, pool.y_query)
            hashes += [] if pool.shared else others
            known_novel += sum(one in known for one in hashes)
        repeated = total - len(known)
        return Measured(digest.hexdigest()[:16], known_test, repeated, stamp, known_novel)


def _stamp(files: Sequence[str], since: float) -> str:
    """The digest of the files' names, sizes and times of change; "" where one is later."""
    digest = hashlib.sha256()
    for file in files:
        found = os.stat(file)
        if max(found.st_mtime_ns, found.st_ctime_ns) > since:
            return ""  # it may have been read before it changed
        digest.update(
            f"{file} {found.st_size} {found.st_mtime_ns}\n".encode(errors="surrogateescape")
        )
    return digest.hexdigest()


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

"""Extra training data from a file: checked against the data set, and free of what is held out."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.datasets.dataset import Dataset, Labels
from benchmark.datasets.examples import Examples
from benchmark.datasets.npz import checked_images, checked_labels, read_members
from benchmark.errors import DataError
from benchmark.paths import expanded
from benchmark.portable import dataset_name

KIND = "npz"
# What the arrays of inputs and of labels may be called; the third is that of published ones.
NAMES = (("x", "y"), ("x_train", "y_train"), ("image", "label"), ("train_images", "train_labels"))

# That pixels are told apart by: of a byte each is 257, and rounding as floats changes none.
_LEVELS = np.float32(65_535)


@dataclass(frozen=True)
class ExtraData:
    """What a plan found in a file of extra training data.

    name: as it was given, "npz:FILE". path: of the file, on this machine. share: of each batch.
    fingerprint: start of the SHA-256 of inputs and labels. examples: that are trained with.
    left_out: that are also held out for validation or test, by themselves or with their class.
    """

    name: str
    path: str
    share: float
    fingerprint: str
    examples: int
    left_out: int

    def record(self) -> dict[str, Any]:
        """What a cell's configuration says of it."""
        return {
            "name": dataset_name(self.name),
            "fingerprint": self.fingerprint,
            "examples": self.examples,
            "left_out": self.left_out,
            "share": self.share,
        }

    def notices(self) -> list[str]:
        """What the user should know, a line each."""
        if not self.left_out:
            return []
        return [
            f"{self.left_out} of {self.examples + self.left_out} examples of "
            f"{dataset_name(self.name)} are also held out for validation or test, left out"
        ]


def look(name: str, dataset: Dataset, *, share: float, data_dir: Path | None) -> ExtraData:
    """What is in the file of "npz:FILE"; a relative FILE is looked for in `data_dir` second.

    Raises DataError for what can't be trained with beside the data set.
    """
    kind, _, place = name.partition(":")
    if kind != KIND or not place:
        raise DataError(f"extra data {name!r} are no file of arrays; give {KIND}:FILE")
    path = expanded(place)
    if data_dir is not None and not path.exists() and (data_dir / path).exists():
        path = data_dir / path
    found = ExtraData(name, str(path), share, "", 0, 0)
    x, _, fingerprint, left_out = _read(found, dataset)
    return ExtraData(name, str(path), share, fingerprint, len(x), left_out)


@functools.lru_cache(maxsize=1)
def read(found: ExtraData, dataset: Dataset) -> tuple[Examples, Labels]:
    """What is trained with, which a worker keeps for the cells that follow.

    Raises DataError where the file isn't as it was.
    """
    x, y, fingerprint, _ = _read(found, dataset)
    if fingerprint != found.fingerprint:
        raise DataError(f"extra data {found.name} changed while the run was going on; start again")
    return x, y


def _read(found: ExtraData, dataset: Dataset) -> tuple[Examples, Labels, str, int]:
    """Inputs and labels that are left, the whole file's fingerprint, and how many were left out."""
    where = f"extra data {found.name}"
    arrays = read_members(Path(found.path), where, _names)
    x = checked_images(arrays["x"], f"{where}: x")
    if x.shape[1:] != dataset.input_shape:
        raise DataError(
            f"{where}: an example is {x.shape[1:]}, and one of {dataset.name} "
            f"{dataset.input_shape}; both must have the same shape"
        )
    y = _places(checked_labels(arrays["y"], len(x), where=f"{where}: y"), dataset, where)
    digest = hashlib.sha256(f"{x.dtype.str}{x.shape}".encode())
    digest.update(np.ascontiguousarray(x).data.cast("B"))
    digest.update(y.tobytes())
    held_out = {one for part in _held_out(dataset) for one in _digests(part)}
    kept = np.array([one not in held_out for one in _digests(Examples(x))])
    if not kept.any():
        raise DataError(f"{where}: every example is also held out for validation or test")
    rows = np.flatnonzero(kept)
    return Examples(x, rows), y[rows], digest.hexdigest()[:16], len(x) - len(rows)


def _held_out(dataset: Dataset) -> Iterator[Examples]:
    """What no model is trained on, the examples of classes that are held out included."""
    yield from (dataset.x_test, dataset.x_validation)
    for pool in dataset.novel.values():
        yield from (pool.support, pool.query)


def _digests(x: Examples) -> Iterator[bytes]:
    """Of each example, equal for equal pixels, whichever way bytes were made floats."""
    for chunk in x.chunks():
        chunk = np.rint(chunk * _LEVELS).astype(np.uint16)
        yield from (hashlib.blake2b(row.data, digest_size=16).digest() for row in chunk)


def _places(y: NDArray[Any], dataset: Dataset, where: str) -> Labels:
    """Labels as places among the data set's classes; texts are the classes' names."""
    names, classes = dataset.class_names, dataset.classes
    if y.dtype.kind == "U":
        place = {name: number for number, name in enumerate(names)}
        if unknown := sorted(set(y.tolist()) - set(place)):
            raise DataError(
                f"{where}: label {unknown[0]!r} is no class of {dataset.name}; its classes: "
                f"{', '.join(names[:10])}{', ...' if classes > 10 else ''}"
            )
        return np.array([place[name] for name in y.tolist()], np.int64)
    if dataset.novel:
        raise DataError(
            f"{where}: labels are numbers, and where classes are held out the others have new "
            f"places; give each class's name, of {', '.join(names[:10])}"
            f"{', ...' if classes > 10 else ''}"
        )
    if y.min() < 0 or y.max() >= classes:
        raise DataError(
            f"{where}: labels run from {y.min()} to {y.max()}, and those of {dataset.name} from 0 "
            f"to {classes - 1}; give each class's place, or its name"
        )
    return y.astype(np.int64)


def _names(held: list[str], where: str) -> dict[str, str]:
    """The names that inputs and labels have in the file."""
    for x, y in NAMES:
        if x in held and y in held:
            return {"x": x, "y": y}
    raise DataError(
        f"{where} holds {', '.join(held) or 'nothing'}; save inputs as x and labels as y"
    )

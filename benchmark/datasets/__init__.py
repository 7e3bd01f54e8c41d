"""Data sets by name, such as "digits", "cifar10", "npz:FILE" or "folder:DIR"; see `table`.

Importing this package loads no framework; a loader's module is imported when its set is asked for.
"""

from __future__ import annotations

import time
from pathlib import Path

from benchmark.datasets import foreign, table
from benchmark.datasets.class_split import Given, apply, class_split
from benchmark.datasets.classes import ClassSplit
from benchmark.datasets.dataset import Dataset, Measured, Request, Source
from benchmark.datasets.entry import DatasetDefaults, DatasetEntry
from benchmark.datasets.splits import split
from benchmark.errors import DataError
from benchmark.paths import expanded

__all__ = [
    "ClassSplit",
    "Dataset",
    "DatasetDefaults",
    "DatasetEntry",
    "Measured",
    "Request",
    "Source",
    "defaults",
    "distribution",
    "load",
]


def load(
    name: str,
    *,
    data_dir: Path | None = None,
    download: bool = False,
    image_size: int | None = None,
    split_seed: int = 0,
    label: str | None = None,
    group: str | None = None,
    keep: bool = False,
    before: Measured | None = None,
    classes: Given | ClassSplit | None = None,
) -> Dataset:
    """Look at, check and split the data set called `name`.

    `data_dir` is the folder that holds named sets as torchvision's loaders have them, and where a
    relative FILE or DIR is looked for second. `download` is whether the missing files of named sets
    may be fetched into it. `image_size` resizes images in files to that many pixels square.
    `split_seed` (>= 0) fixes every split that the data don't come with. `label` is the column of
    "csv:FILE" that holds the classes, `group` the one whose rows of one value no split parts.
    `keep` is for processes that read examples again and again: decoded images may stay in memory.
    `before` is what the same call found earlier, which holds as long as no file changes. `classes`
    splits the classes (`class_split`): the data set is that of the training classes, and holds the
    others out.

    Raises UnknownName for a name that no table holds, DataError for data that can't be used.
    """
    key, entry, path = _parse(name)
    request = Request(
        name,
        _found(path, data_dir),
        data_dir,
        download,
        image_size,
        split_seed,
        label=label,
        group=group,
        keep=keep,
    )
    _check(key, entry, request)
    since = time.time_ns()
    source, novel = _source(entry, request), None
    if classes is not None:
        source, novel = apply(class_split(classes, source.class_names), source)
    dataset = split(source, name, seed=split_seed, before=before, since=since, novel=novel)
    # Goes through everything, so that what can't be read is told here
    if dataset.measured is not before and distribution(name):
        foreign.check_values(dataset)
    return dataset


def _check(key: str, entry: DatasetEntry, request: Request) -> None:
    """Raises DataError for what was asked for that a data set of this key doesn't take."""
    if request.image_size is not None and not entry.resized:
        resized = [one for one, row in table.TABLE.items() if row.resized]
        allowed = ", ".join(sorted({*resized, "folder:DIR"} - {"folder"}))
        raise DataError(f"--image-size {request.image_size} was given, but only {allowed} resize")
    if request.image_size is not None and request.image_size < 1:
        raise DataError(
            f"--image-size {request.image_size} is not a size; give a whole number above 0"
        )
    for option, column in (("--label", request.label), ("--group", request.group)):
        if column is not None and key != "csv":
            raise DataError(f"{option} {column!r} was given, but only csv:FILE has columns")
    if request.split_seed < 0:
        raise DataError(
            f"split seed {request.split_seed} is negative; give a whole number from 0 up"
        )


def _source(entry: DatasetEntry, request: Request) -> Source:
    """What the loader gives; of another distribution's it is looked at."""
    other = distribution(request.name)
    return entry.loader(request) if other is None else foreign.source(entry, request, other)


def _found(path: Path | None, data_dir: Path | None) -> Path | None:
    """A relative path where it is: here, or else in the folder that holds the data."""
    if path is None or data_dir is None or path.exists() or not (data_dir / path).exists():
        return path
    return data_dir / path


def defaults(name: str) -> DatasetDefaults:
    """The budgets and epochs that suit the data set called `name`, without reading it."""
    return _parse(name)[1].defaults


def budgets(name: str, norm: str, eps: float) -> dict[str, float]:
    """Norm to budget: this one, and of other norms the data set's own."""
    return {**defaults(name).eps, norm: eps}


def distribution(name: str) -> str | None:
    """Name and version of the other distribution that the data set called `name` comes with."""
    return table.distribution(name.partition(":")[0])


def _parse(name: str) -> tuple[str, DatasetEntry, Path | None]:
    """Cut "npz:FILE" into its key, its row of the table, and its path."""
    key, _, place = name.partition(":")
    entry = table.entry(key)
    if entry.place and not place:
        lacks = "no path" if entry.is_path else "no set"
        raise DataError(f"dataset {name!r} names {lacks}; write {key}:{entry.place}")
    if not entry.place and name != key:
        raise DataError(f"dataset {name!r} takes no path; write {key}")
    return key, entry, expanded(place) if entry.is_path else None

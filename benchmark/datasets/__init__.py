"""Data sets by name: "digits", "mnist", "npz:FILE" or "folder:DIR".

Importing this package loads no framework; a loader's module is imported when its set is asked for.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from benchmark.datasets.dataset import Dataset, Request, Source
from benchmark.datasets.splits import split
from benchmark.errors import DataError, UnknownName

__all__ = ["DESCRIPTIONS", "TABLE", "Dataset", "DatasetDefaults", "defaults", "load"]

TABLE: dict[str, str] = {
    "digits": "benchmark.datasets.digits:load",
    "mnist": "benchmark.datasets.mnist:load",
    "npz": "benchmark.datasets.npz:load",
    "folder": "benchmark.datasets.folder:load",
}

DESCRIPTIONS: dict[str, str] = {
    "digits": "1,797 handwritten digits, 8x8 grey, inside scikit-learn: nothing to download",
    "mnist": "70,000 handwritten digits, 28x28 grey, from --data-dir (or fetched with --download)",
    "npz": "npz:FILE, arrays x_train, y_train, x_test, y_test (uint8 or float in [0, 1]); MedMNIST",
    "folder": "folder:DIR, images in one folder a class, with train/ and test/ or split by seed",
}

# What stands after the colon, for the names that need it.
_PATHS = {"npz": "FILE", "folder": "DIR"}


@dataclass(frozen=True)
class DatasetDefaults:
    """What a run uses where it is told nothing else.

    eps: norm to budget in pixel scale [0, 1]; under l0 the number of values changed.
    epochs: training epochs of a defense.
    """

    eps: Mapping[str, float]
    epochs: int


_DEFAULTS = {
    "digits": DatasetDefaults(eps={"linf": 0.15, "l2": 0.8, "l1": 3.0, "l0": 6.0}, epochs=30),
    "mnist": DatasetDefaults(eps={"linf": 0.3, "l2": 2.0, "l1": 10.0, "l0": 20.0}, epochs=3),
    "npz": DatasetDefaults(eps={"linf": 8 / 255, "l2": 0.5, "l1": 12.0, "l0": 24.0}, epochs=20),
    "folder": DatasetDefaults(eps={"linf": 8 / 255, "l2": 0.5, "l1": 12.0, "l0": 24.0}, epochs=20),
}


def load(
    name: str,
    *,
    data_dir: Path | None = None,
    download: bool = False,
    image_size: int | None = None,
    split_seed: int = 0,
) -> Dataset:
    """Read, check and split the data set called `name`.

    `data_dir` is the folder that holds MNIST/raw, and where a relative FILE or DIR is looked for
    second. `download` matters to "mnist" only: whether missing files may be fetched into it.
    `image_size` resizes the images of "folder:DIR" to that
    many pixels square. `split_seed` (>= 0) fixes every split that the data don't come with.

    Raises UnknownName for a name that TABLE doesn't hold, DataError for data that can't be used.
    """
    key, path = _parse(name)
    if image_size is not None and key != "folder":
        raise DataError(f"--image-size {image_size} was given, but only folder:DIR resizes")
    if image_size is not None and image_size < 1:
        raise DataError(f"--image-size {image_size} is not a size; give a whole number above 0")
    if split_seed < 0:
        raise DataError(f"split seed {split_seed} is negative; give a whole number from 0 up")
    request = Request(name, _found(path, data_dir), data_dir, download, image_size, split_seed)
    return split(_loader(key)(request), name, seed=split_seed)


def _found(path: Path | None, data_dir: Path | None) -> Path | None:
    """A relative path where it is: here, or else in the folder that holds the data."""
    if path is None or data_dir is None or path.exists() or not (data_dir / path).exists():
        return path
    return data_dir / path


def defaults(name: str) -> DatasetDefaults:
    """The budgets and epochs that suit the data set called `name`, without reading it."""
    return _DEFAULTS[_parse(name)[0]]


def _parse(name: str) -> tuple[str, Path | None]:
    """Cut "npz:FILE" into its table key and its path."""
    key, _, path = name.partition(":")
    if key not in TABLE:
        raise UnknownName("dataset", key, TABLE)
    if key in _PATHS and not path:
        raise DataError(f"dataset {name!r} names no path; write {key}:{_PATHS[key]}")
    if key not in _PATHS and name != key:
        raise DataError(f"dataset {name!r} takes no path; write {key}")
    return key, Path(os.path.expanduser(path)) if path else None


def _loader(key: str) -> Callable[[Request], Source]:
    module, _, function = TABLE[key].partition(":")
    return cast(Callable[[Request], Source], getattr(importlib.import_module(module), function))

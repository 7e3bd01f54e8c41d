"""Data sets by name, such as "digits", "cifar10", "npz:FILE" or "folder:DIR"; see `TABLE`.

Importing this package loads no framework; a loader's module is imported when its set is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from benchmark.datasets.class_split import Given, apply, class_split
from benchmark.datasets.classes import ClassSplit
from benchmark.datasets.dataset import Dataset, Measured, Request, Source
from benchmark.datasets.splits import split
from benchmark.errors import DataError, UnknownName
from benchmark.paths import expanded

__all__ = [
    "DESCRIPTIONS",
    "TABLE",
    "ClassSplit",
    "Dataset",
    "DatasetDefaults",
    "Measured",
    "defaults",
    "load",
]

TABLE: dict[str, str] = {
    "digits": "benchmark.datasets.digits:load",
    "mnist": "benchmark.datasets.idx:load",
    "fashion-mnist": "benchmark.datasets.idx:load",
    "kmnist": "benchmark.datasets.idx:load",
    "cifar10": "benchmark.datasets.cifar:load",
    "cifar100": "benchmark.datasets.cifar:load",
    "svhn": "benchmark.datasets.svhn:load",
    "gtsrb": "benchmark.datasets.image_sets:gtsrb",
    "omniglot": "benchmark.datasets.image_sets:omniglot",
    "imagenette": "benchmark.datasets.image_sets:imagenette",
    "medmnist": "benchmark.datasets.medmnist:load",
    "npz": "benchmark.datasets.npz:load",
    "csv": "benchmark.datasets.tabular:load",
    "folder": "benchmark.datasets.folder:load",
}

DESCRIPTIONS: dict[str, str] = {
    "digits": "1,797 handwritten digits, 8x8 grey, inside scikit-learn: nothing to download",
    "mnist": "70,000 handwritten digits, 28x28 grey, from --data-dir (or fetched with --download)",
    "fashion-mnist": "70,000 pieces of clothing, 28x28 grey, likewise",
    "kmnist": "70,000 cursive Japanese characters, 28x28 grey, likewise",
    "cifar10": "60,000 photos of 10 classes, 32x32 colour, likewise",
    "cifar100": "60,000 photos of 100 classes, 32x32 colour, likewise",
    "svhn": "99,289 house numbers, 32x32 colour, likewise",
    "gtsrb": "39,270 German traffic signs of 43 classes, 32x32 colour, likewise",
    "omniglot": "19,280 drawings of 964 characters, 28x28 grey, likewise",
    "imagenette": "13,394 photos of 10 classes of ImageNet, 128x128 colour, likewise",
    "medmnist": "medmnist:NAME, medical images such as pneumoniamnist, likewise",
    "npz": "npz:FILE, arrays x_train, y_train, x_test, y_test (uint8 or float in [0, 1]); MedMNIST",
    "csv": "csv:FILE with a header, or DIR with train.csv and test.csv; --label names the classes",
    "folder": "folder:DIR, images in one folder a class, with train/ and test/ or split by seed",
}

# What stands after the colon, for the names that need it, where it is a path and where it is none.
_PATHS = {"npz": "FILE", "csv": "FILE", "folder": "DIR"}
_PLACES = {**_PATHS, "medmnist": "NAME"}

# Those that have images of different sizes.
_RESIZED = ("folder", "gtsrb", "omniglot", "imagenette")


@dataclass(frozen=True)
class DatasetDefaults:
    """What a run uses where it is told nothing else.

    eps: norm to budget in pixel scale [0, 1]; under l0 the number of values changed.
    epochs: training epochs of a defense.
    crop, flip: of augmentation, on for photos of scenes and objects: the padding as a share of the
    shorter side, and whether a mirrored image still means the same.
    """

    eps: Mapping[str, float]
    epochs: int
    crop: float = 0.0
    flip: bool = False

    def augmentation(self, input_shape: Sequence[int] = ()) -> dict[str, int | bool]:
        """The parameters of every defense that augment inputs of this shape; {} for none."""
        crop = int(self.crop * min(input_shape[:2], default=0))
        found = {"crop": (self.crop, crop), "flip": (self.flip, self.flip)}
        return {name: value for name, (on, value) in found.items() if on}


_STROKES = {"linf": 0.3, "l2": 2.0, "l1": 10.0, "l0": 20.0}
_PHOTOS = {"linf": 8 / 255, "l2": 0.5, "l1": 12.0, "l0": 24.0}

_DEFAULTS = {
    "digits": DatasetDefaults(eps={"linf": 0.15, "l2": 0.8, "l1": 3.0, "l0": 6.0}, epochs=30),
    "mnist": DatasetDefaults(eps=_STROKES, epochs=3),
    "fashion-mnist": DatasetDefaults(eps={**_STROKES, "linf": 0.1, "l2": 1.5}, epochs=5),
    "kmnist": DatasetDefaults(eps=_STROKES, epochs=3),
    "cifar10": DatasetDefaults(eps=_PHOTOS, epochs=30, crop=1 / 8, flip=True),
    "cifar100": DatasetDefaults(eps=_PHOTOS, epochs=30, crop=1 / 8, flip=True),
    # Mirrored numbers and signs are others, or none.
    "svhn": DatasetDefaults(eps=_PHOTOS, epochs=15, crop=1 / 8),
    "gtsrb": DatasetDefaults(eps=_PHOTOS, epochs=20, crop=1 / 8),
    "omniglot": DatasetDefaults(eps={**_STROKES, "linf": 0.1}, epochs=20),
    "imagenette": DatasetDefaults(
        eps={**_PHOTOS, "linf": 4 / 255, "l2": 3.0}, epochs=20, crop=1 / 8, flip=True
    ),
    "medmnist": DatasetDefaults(eps=_PHOTOS, epochs=20),
    "npz": DatasetDefaults(eps=_PHOTOS, epochs=20),
    "csv": DatasetDefaults(eps={"linf": 0.1, "l2": 0.5, "l1": 2.0, "l0": 5.0}, epochs=20),
    "folder": DatasetDefaults(eps=_PHOTOS, epochs=20),
}


def load(
    name: str,
    *,
    data_dir: Path | None = None,
    download: bool = False,
    image_size: int | None = None,
    split_seed: int = 0,
    label: str | None = None,
    keep: bool = False,
    before: Measured | None = None,
    classes: Given | ClassSplit | None = None,
) -> Dataset:
    """Look at, check and split the data set called `name`.

    `data_dir` is the folder that holds named sets as torchvision's loaders have them, and where a
    relative FILE or DIR is looked for second. `download` is whether the missing files of named sets
    may be fetched into it. `image_size` resizes images in files to that many pixels square.
    `split_seed` (>= 0) fixes every split that the data don't come with. `label` is the column
    of "csv:FILE" that holds the classes. `keep` is for processes that read examples again and
    again: decoded images may stay in memory. `before` is what the same call found earlier, which
    holds as long as no file changes. `classes` splits the classes (`class_split`): the data set is
    that of the training classes, and holds the others out.

    Raises UnknownName for a name that TABLE doesn't hold, DataError for data that can't be used.
    """
    key, path = _parse(name)
    if image_size is not None and key not in _RESIZED:
        allowed = ", ".join(sorted({*_RESIZED, "folder:DIR"} - {"folder"}))
        raise DataError(f"--image-size {image_size} was given, but only {allowed} resize")
    if image_size is not None and image_size < 1:
        raise DataError(f"--image-size {image_size} is not a size; give a whole number above 0")
    if label is not None and key != "csv":
        raise DataError(f"--label {label!r} was given, but only csv:FILE has columns")
    if split_seed < 0:
        raise DataError(f"split seed {split_seed} is negative; give a whole number from 0 up")
    request = Request(
        name, _found(path, data_dir), data_dir, download, image_size, split_seed, label, keep
    )
    source, novel = _loader(key)(request), None
    if classes is not None:
        source, novel = apply(class_split(classes, source.class_names), source)
    dataset = split(source, name, seed=split_seed, before=before, novel=novel)
    _ = dataset.measured  # goes through everything, so that what can't be read is told here
    return dataset


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
    key, _, place = name.partition(":")
    if key not in TABLE:
        raise UnknownName("dataset", key, TABLE)
    if key in _PLACES and not place:
        lacks = "no path" if key in _PATHS else "no set"
        raise DataError(f"dataset {name!r} names {lacks}; write {key}:{_PLACES[key]}")
    if key not in _PLACES and name != key:
        raise DataError(f"dataset {name!r} takes no path; write {key}")
    return key, expanded(place) if key in _PATHS else None


def _loader(key: str) -> Callable[[Request], Source]:
    module, _, function = TABLE[key].partition(":")
    return cast(Callable[[Request], Source], getattr(importlib.import_module(module), function))

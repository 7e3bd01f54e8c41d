"""The table of data sets; other distributions add to it by entry points."""

from __future__ import annotations

from pathlib import PurePath

from benchmark.datasets.entry import DatasetDefaults, DatasetEntry
from benchmark.errors import UnknownName
from defenses.contributed import KINDS, Contribution, contributed

_AT = "benchmark.datasets."

_STROKES = {"linf": 0.3, "l2": 2.0, "l1": 10.0, "l0": 20.0}
_PHOTOS = {"linf": 8 / 255, "l2": 0.5, "l1": 12.0, "l0": 24.0}
_ANY = DatasetDefaults(eps=_PHOTOS, epochs=20)

TABLE: dict[str, DatasetEntry] = {
    "digits": DatasetEntry(
        _AT + "digits:load",
        "1,797 handwritten digits, 8x8 grey, inside scikit-learn: nothing to download",
        DatasetDefaults(eps={"linf": 0.15, "l2": 0.8, "l1": 3.0, "l0": 6.0}, epochs=30),
    ),
    "mnist": DatasetEntry(
        _AT + "idx:load",
        "70,000 handwritten digits, 28x28 grey, from --data-dir (or fetched with --download)",
        DatasetDefaults(eps=_STROKES, epochs=3),
    ),
    "fashion-mnist": DatasetEntry(
        _AT + "idx:load",
        "70,000 pieces of clothing, 28x28 grey, likewise",
        DatasetDefaults(eps={**_STROKES, "linf": 0.1, "l2": 1.5}, epochs=5),
    ),
    "kmnist": DatasetEntry(
        _AT + "idx:load",
        "70,000 cursive Japanese characters, 28x28 grey, likewise",
        DatasetDefaults(eps=_STROKES, epochs=3),
    ),
    "cifar10": DatasetEntry(
        _AT + "cifar:load",
        "60,000 photos of 10 classes, 32x32 colour, likewise",
        DatasetDefaults(eps=_PHOTOS, epochs=30, crop=1 / 8, flip=True),
    ),
    "cifar100": DatasetEntry(
        _AT + "cifar:load",
        "60,000 photos of 100 classes, 32x32 colour, likewise",
        DatasetDefaults(eps=_PHOTOS, epochs=30, crop=1 / 8, flip=True),
    ),
    # Mirrored numbers and signs are others, or none.
    "svhn": DatasetEntry(
        _AT + "svhn:load",
        "99,289 house numbers, 32x32 colour, likewise",
        DatasetDefaults(eps=_PHOTOS, epochs=15, crop=1 / 8),
    ),
    "gtsrb": DatasetEntry(
        _AT + "image_sets:gtsrb",
        "39,270 German traffic signs of 43 classes, 32x32 colour, likewise",
        DatasetDefaults(eps=_PHOTOS, epochs=20, crop=1 / 8),
        resized=True,
    ),
    "omniglot": DatasetEntry(
        _AT + "image_sets:omniglot",
        "19,280 drawings of 964 characters, 28x28 grey, likewise",
        DatasetDefaults(eps={**_STROKES, "linf": 0.1}, epochs=20),
        resized=True,
    ),
    "imagenette": DatasetEntry(
        _AT + "image_sets:imagenette",
        "13,394 photos of 10 classes of ImageNet, 128x128 colour, likewise",
        DatasetDefaults(
            eps={**_PHOTOS, "linf": 4 / 255, "l2": 3.0}, epochs=20, crop=1 / 8, flip=True
        ),
        resized=True,
    ),
    "medmnist": DatasetEntry(
        _AT + "medmnist:load",
        "medmnist:NAME, medical images such as pneumoniamnist, likewise",
        _ANY,
        place="NAME",
    ),
    "npz": DatasetEntry(
        _AT + "npz:load",
        "npz:FILE, arrays x_train, y_train, x_test, y_test (uint8 or float in [0, 1]); MedMNIST",
        _ANY,
        place="FILE",
        is_path=True,
    ),
    "csv": DatasetEntry(
        _AT + "tabular:load",
        "csv:FILE with a header, or DIR with train.csv and test.csv; --label names the classes",
        DatasetDefaults(eps={"linf": 0.1, "l2": 0.5, "l1": 2.0, "l0": 5.0}, epochs=20),
        place="FILE",
        is_path=True,
    ),
    "folder": DatasetEntry(
        _AT + "folder:load",
        "folder:DIR, images in one folder a class, with train/ and test/ or split by seed",
        _ANY,
        place="DIR",
        is_path=True,
        resized=True,
    ),
}


def names() -> list[str]:
    """Everything that may stand before the colon of a data set's name; contributed ones last."""
    return [*TABLE, *_contributed()]


def _of_a_file(name: str) -> list[str]:
    """How a path that was given bare is named; nothing for what is no path."""
    suffix = PurePath(name).suffix.lower()
    if suffix in (".npz", ".csv"):
        return [f"{suffix[1:]}:{name}"]
    return [f"folder:{name}"] if "/" in name else []


def entry(name: str) -> DatasetEntry:
    """A row by its name.

    Raises:
        UnknownName: there is none.
        ContributionError: another distribution's can't be loaded.
    """
    if name in TABLE:
        return TABLE[name]
    if (other := _contributed().get(name)) is None:
        raise UnknownName("dataset", name, _of_a_file(name) or names())
    found = other.load()
    if not isinstance(found, DatasetEntry):
        raise other.unusable(f"is not {KINDS['datasets']}")
    return found


def distribution(name: str) -> str | None:
    """Name and version of the other distribution that a data set comes with."""
    found = _contributed().get(name)
    return None if found is None else found.distribution


def _contributed() -> dict[str, Contribution]:
    return contributed("datasets", TABLE)

"""GTSRB, Omniglot and Imagenette: images in files, where torchvision's loaders put them."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.datasets.dataset import Request, Source
from benchmark.datasets.folder import class_files, entries, source
from benchmark.datasets.places import required, root_of
from benchmark.errors import DataError

# The signs by the number of their class; Stallkamp et al. 2012.
_SIGNS = (
    "speed limit 20, speed limit 30, speed limit 50, speed limit 60, speed limit 70, "
    "speed limit 80, end of speed limit 80, speed limit 100, speed limit 120, no passing, "
    "no passing for trucks, right of way at next crossing, priority road, yield, stop, "
    "no vehicles, no trucks, no entry, general caution, dangerous curve left, "
    "dangerous curve right, double curve, bumpy road, slippery road, road narrows right, "
    "road work, traffic signals, pedestrians, children crossing, bicycles crossing, "
    "beware of ice or snow, wild animals crossing, end of all limits, turn right ahead, "
    "turn left ahead, ahead only, go straight or right, go straight or left, keep right, "
    "keep left, roundabout mandatory, end of no passing, end of no passing for trucks"
)
SIGNS = tuple(_SIGNS.split(", "))

OBJECTS = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}

_ALL_CHARACTERS = "omniglot-py/images_background"
_SMALL = ("images_background_small1", "images_background_small2")

# Training and test images that are published.
_GTSRB, _OMNIGLOT, _IMAGENETTE = (26_640, 12_630), (19_280, 0), (9_469, 3_925)


def gtsrb(request: Request) -> Source:
    """26,640 training and the official 12,630 test images of 43 traffic signs, 32x32 colour.

    The 30 frames of one sign, as a car came nearer, are in training or in validation together.

    J. Stallkamp, M. Schlipsing, J. Salmen, C. Igel, "Man vs. computer: Benchmarking machine
    learning algorithms for traffic sign recognition", Neural Networks 32, 2012.
    """
    folders = ("gtsrb/GTSRB/Training", "gtsrb/GTSRB/Final_Test/Images", "gtsrb/GT-final_test.csv")
    training, images, table = (required(request, *folders) / folder for folder in folders)
    train = class_files(training, ending=".ppm")
    if len(train) != len(SIGNS):
        raise DataError(
            f"{request.name}: {training} holds {len(train)} class folders; it must hold the "
            f"{len(SIGNS)} folders 00000 to 00042"
        )
    test: dict[str, list[str]] = {name: [] for name in train}
    for file, label in _rows(table, request.name):
        test[f"{label:05d}"].append(str(images / file))
    found = source(request, train, test, names=SIGNS, image_size=32, hashed=True)
    return _counted(replace(found, groups=_tracks(train)), *_GTSRB)


def _tracks(classes: Mapping[str, Sequence[str]]) -> NDArray[np.str_]:
    """Of each training image, the sign that it is a frame of: "class/track_frame.ppm"."""
    return np.array(
        [
            f"{name}/{os.path.basename(path).rpartition('_')[0] or path}"
            for name, files in classes.items()
            for path in files
        ]
    )


def _counted(found: Source, training: int, test: int) -> Source:
    """Says where images are missing: unpacking that was interrupted leaves some of the files.

    torchvision takes the folder for a whole one then, and never goes on.
    """
    held = len(found.y), 0 if found.y_test is None else len(found.y_test)
    if held == (training, test):
        return found
    told = "{:,} training and {:,} test images, published are {:,} and {:,}"
    counts = told.format(*held, training, test) if test else f"{held[0]:,} of {training:,} images"
    return replace(found, about={**found.about, "incomplete": counts})


def _rows(table: Path, name: str) -> list[tuple[str, int]]:
    """The file and the class of each test image."""
    try:
        with open(table, newline="", encoding="utf-8") as stream:
            rows = csv.DictReader(stream, delimiter=";")
            found = [(os.path.basename(row["Filename"]), int(row["ClassId"])) for row in rows]
        if not found or not all(0 <= label < len(SIGNS) for _, label in found):
            raise ValueError("no rows, or a class above 42")
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{name}: {table} can't be read ({reason}); remove it and give --download"
        ) from error
    return found


def omniglot(request: Request) -> Source:
    """964 characters of 30 alphabets, 20 drawings of each, 28x28 grey, split by seed.

    These are the "background" characters; their small sets (242 characters of 8 alphabets) are
    taken where the large one is not there.

    B. Lake, R. Salakhutdinov, J. Tenenbaum, "Human-level concept learning through probabilistic
    program induction", Science 350, 2015.
    """
    root = root_of(request)
    places = [folder / name for folder in (root, root / "omniglot-py") for name in _SMALL]
    small = [place for place in places if os.path.isdir(place)]
    if os.path.isdir(root / _ALL_CHARACTERS) or not small:
        hint = f" (or {' and '.join(_SMALL)}, unpacked)"
        folders = [required(request, _ALL_CHARACTERS, hint=hint) / _ALL_CHARACTERS]
    else:
        folders = small
    found: dict[str, list[str]] = {}
    for folder in folders:
        for alphabet in (entry for entry in entries(folder) if entry.is_dir()):
            for character, files in class_files(Path(alphabet.path), ending=".png").items():
                # The small sets share alphabets, drawing for drawing.
                found.setdefault(f"{alphabet.name}/{character}", files)
    train = dict(sorted(found.items()))
    whole = source(request, train, None, names=tuple(train), image_size=28, hashed=True)
    return whole if folders == small else _counted(whole, *_OMNIGLOT)


def imagenette(request: Request) -> Source:
    """10 classes of ImageNet, 9,469 training and the official 3,925 validation images as test part.

    128x128 colour unless --image-size says another; from the 160 pixel version, or a larger one.

    J. Howard, "Imagenette", github.com/fastai/imagenette, 2019.
    """
    root, versions = root_of(request), [f"imagenette2{size}" for size in ("-160", "-320", "")]
    folder = next((name for name in versions if os.path.isdir(root / name)), versions[0])
    place = required(request, f"{folder}/train", f"{folder}/val") / folder
    train, test = class_files(place / "train"), class_files(place / "val")
    if list(train) != list(OBJECTS):
        raise DataError(
            f"{request.name}: {place / 'train'} doesn't hold the class folders of Imagenette, "
            f"{', '.join(list(OBJECTS)[:2])}, ...; give --download to fetch them"
        )
    names = tuple(OBJECTS.values())
    found = source(request, train, test, names=names, image_size=128, hashed=True)
    return _counted(found, *_IMAGENETTE)

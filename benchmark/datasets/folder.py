"""A folder of images, one folder a class, with train/ and test/ inside or split by seed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.datasets.dataset import Request, Source
from benchmark.datasets.files import Files, look
from benchmark.errors import DataError, SizesDiffer

# What systems leave behind in folders, beside what begins with a dot.
CLUTTER = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin")

# What people call a part for choosing, which is taken from train/ here.
_VALIDATION = ("val", "valid", "validation", "dev")

# Above so many files their contents, and not their pixels, make the fingerprint: none is decoded
# before it is needed.
MANY = 2**16

Classes = Mapping[str, Sequence[str]]


def load(request: Request) -> Source:
    """All images under DIR, (n, H, W, C) uint8: C is 1 when all are grey, else 3.

    DIR/train/CLASS/* with DIR/test/CLASS/*, or DIR/CLASS/*, where 20 % become the test part; 10 %
    of the training part become validation, whatever else lies beside. Classes go by name; test/
    may lack some. Hidden files, Thumbs.db and the like, and what lies beside the class folders are
    left out, and an alpha channel is dropped. A resize to `image_size` keeps the aspect ratio:
    what is beyond a centred square is cut off.
    """
    assert request.path is not None
    root = request.path
    if not os.path.isdir(root):
        raise DataError(
            f"{request.name}: there is no folder {root}; give folder:DIR, or --data-dir with the "
            "folder that holds it"
        )
    split = _is_split(root, request.name)
    train = class_files(root / "train" if split else root)
    test = class_files(root / "test") if split else None
    return source(request, train, test, names=tuple(train))


def source(
    request: Request,
    train: Classes,
    test: Classes | None,
    *,
    names: Sequence[str],
    image_size: int | None = None,
    hashed: bool = False,
) -> Source:
    """A source of images by class.

    Args:
        train: class to its files, in the order of the labels.
        test: likewise, where the data come with a test part.
        names: of the classes of `train`.
        image_size: to which they are resized; that of the request goes first.
        hashed: whether the files' contents make the fingerprint, however few they are.
    """
    for name in test or ():
        if name not in train:
            raise DataError(
                f"{request.name}: class {name!r} is in test/ but not in train/; every class of "
                "test/ must be in train/"
            )
    parts = [train] if test is None else [train, test]
    paths = [[path for files in part.values() for path in files] for part in parts]
    both = [path for part in paths for path in part]
    size = request.image_size or image_size
    seen = look(both, hashed=hashed or len(both) > MANY)
    if seen.size is None and size is None:
        raise SizesDiffer(seen.differing)
    height, width = (size, size) if size is not None else seen.size or (0, 0)
    shape = (height, width, 3 if seen.coloured else 1)
    stored, first = [], 0
    for part in paths:
        digests = None if seen.digests is None else seen.digests[first : first + len(part)]
        stored.append(Files(part, shape, image_size=size, digests=digests, keep=request.keep))
        first += len(part)
    return Source(
        stored[0],
        _labels(train, train),
        tuple(names),
        None if test is None else stored[1],
        None if test is None else _labels(test, train),
        files=both,
        about={} if size is None else {"transform": _told(size, square=seen.square)},
    )


def _told(size: int, *, square: bool) -> str:
    crop = "" if square else "centre-cropped to a square, "
    return f"{crop}resized to {size}x{size} pixels (bilinear)"


def _is_split(root: Path, name: str) -> bool:
    """Whether there are train/ and test/; raises `DataError` for one of them alone."""
    found = [part for part in ("train", "test") if os.path.isdir(root / part)]
    if len(found) == 1:
        lacking = "test" if found == ["train"] else "train"
        others = [part for part in _VALIDATION if os.path.isdir(root / part)]
        instead = f" (and {others[0]}/, which bench doesn't read)" if others else ""
        fix = f"; rename {others[0]}/ to test/ to attack it" if others and lacking == "test" else ""
        raise DataError(
            f"{name} has {found[0]}/{instead} but no {lacking}/; it needs train/ and test/, or "
            f"class folders alone{fix}"
        )
    return bool(found)


def class_files(folder: Path, *, ending: str = "") -> dict[str, list[str]]:
    """Class name to its files, or those whose names end so, both in order of name."""
    classes = {
        entry.name: [each for each in entries(entry.path) if each.name.lower().endswith(ending)]
        for entry in entries(folder)
        if entry.is_dir()
    }
    if not classes:
        raise DataError(f"folder {folder} holds no class folders; put images in {folder}/CLASS/")
    for name, files in classes.items():
        if not files:
            raise DataError(f"class folder {folder / name} is empty; put images there or remove it")
        nested = next((each.path for each in files if each.is_dir()), None)
        if nested is not None:
            raise DataError(
                f"{nested} is a folder inside a class folder; images must lie directly "
                f"in {folder / name}"
            )
    return {name: [each.path for each in files] for name, files in classes.items()}


def entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """What lies in a folder, in order of name, without what systems leave behind."""
    try:
        with os.scandir(folder) as found:
            return sorted(
                (entry for entry in found if not _is_clutter(entry.name)),
                key=lambda entry: entry.name,
            )
    except OSError as error:
        raise DataError(f"folder {folder} can't be read ({error.strerror})") from error


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name.lower() in CLUTTER


def _labels(classes: Classes, known: Classes) -> NDArray[np.int64]:
    """The place of each file's class among those known, (n,)."""
    places = {name: place for place, name in enumerate(known)}
    labels = np.array([places[name] for name in classes], dtype=np.int64)
    return np.repeat(labels, [len(files) for files in classes.values()])

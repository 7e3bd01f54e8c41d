"""A folder of images, one folder a class, with train/ and test/ inside or split by seed."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmark.datasets.dataset import Request, Source
from benchmark.errors import DataError

GREY = ("1", "L", "LA")
COLOUR = ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

Pixels = NDArray[np.uint8]

# What systems leave behind in folders, beside what begins with a dot.
CLUTTER = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin")

# What people call a part for choosing, which is taken from train/ here.
_VALIDATION = ("val", "valid", "validation", "dev")


def load(request: Request) -> Source:
    """All images under DIR, (n, H, W, C) uint8: C is 1 when all are grey, else 3.

    DIR/train/CLASS/* with DIR/test/CLASS/*, or DIR/CLASS/*, where 20 % become the test part; 10 %
    of the training part become validation, whatever else lies beside. Classes go by name; test/
    may lack some. Hidden files, Thumbs.db and the like, and what lies beside the class folders are
    left out, an alpha channel is dropped, and a resize to `image_size`
    doesn't keep the aspect ratio.
    """
    assert request.path is not None
    root = request.path
    if not os.path.isdir(root):
        raise DataError(f"{request.name}: there is no folder {root}; give folder:DIR")
    split = _is_split(root, request.name)
    train = _class_files(root / "train" if split else root)
    test = _class_files(root / "test") if split else {}
    for name in test:
        if name not in train:
            raise DataError(
                f"{request.name}: class {name!r} is in test/ but not in train/; every class of "
                "test/ must be in train/"
            )
    files = [path for part in (train, test) for paths in part.values() for path in paths]
    y, y_test = _labels(train, tuple(train)), _labels(test, tuple(train))
    x = _read(files, request.image_size)
    if not split:
        return Source(x, y, tuple(train))
    return Source(x[: len(y)], y, tuple(train), x[len(y) :], y_test)


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


def _class_files(folder: Path) -> dict[str, list[Path]]:
    """Class name to its files, both in order of name."""
    classes = {path.name: _entries(path) for path in _entries(folder) if path.is_dir()}
    if not classes:
        raise DataError(f"folder {folder} holds no class folders; put images in {folder}/CLASS/")
    for name, files in classes.items():
        if not files:
            raise DataError(f"class folder {folder / name} is empty; put images there or remove it")
        nested = next((path for path in files if path.is_dir()), None)
        if nested is not None:
            raise DataError(
                f"{nested} is a folder inside a class folder; images must lie directly "
                f"in {folder / name}"
            )
    return classes


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not _is_clutter(path.name))
    except OSError as error:
        raise DataError(f"folder {folder} can't be read ({error.strerror})") from error


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name.lower() in CLUTTER


def _labels(classes: dict[str, list[Path]], names: Sequence[str]) -> NDArray[np.int64]:
    """The place of each file's class in `names`, (n,)."""
    labels = np.array([names.index(name) for name in classes], dtype=np.int64)
    return np.repeat(labels, [len(files) for files in classes.values()])


def _read(files: Sequence[Path], image_size: int | None) -> Pixels:
    """All images as one array, (n, H, W, 1) or (n, H, W, 3)."""
    images = []
    for path in files:
        images.append(_pixels(path, image_size))
        if images[-1].shape[:2] != images[0].shape[:2]:
            raise DataError(
                f"images differ in size: {files[0]} is {_size(images[0])} but {path} is "
                f"{_size(images[-1])}; give --image-size N to resize all to NxN"
            )
    channels = max(image.shape[2] for image in images)
    out = np.empty((len(images), *images[0].shape[:2], channels), np.uint8)
    for target, image in zip(out, images, strict=True):
        target[:] = image  # a grey image among coloured ones fills all three channels
    return out


def _pixels(path: Path, image_size: int | None) -> Pixels:
    """One image, (H, W, 1) when it is grey, else (H, W, 3)."""
    try:
        if not path.is_file():  # a pipe or a device would be read for ever
            raise OSError("it is not a regular file")
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            mode = image.mode
            if mode == "P":
                image = image.convert("RGBA")  # palettes with transparency convert only so
            if mode in GREY + COLOUR:
                image = image.convert("L" if mode in GREY else "RGB")
                if image_size is not None:
                    image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
                return np.atleast_3d(np.asarray(image, dtype=np.uint8))
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is no readable image ({reason}); replace or remove it") from error
    raise DataError(f"{path} has pixels of type {mode}; save it as 8-bit grey or RGB")


def _size(image: Pixels) -> str:
    height, width, _ = image.shape
    return f"{width}x{height}"

"""Images in files: looked at where the data are planned, decoded in threads when asked for."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import stat
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmark.errors import DataError

GREY = ("1", "L", "LA")
COLOUR = ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    RuntimeError,  # of AVIF
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

Pixels = NDArray[np.uint8]

# EXIF: how an image lies, and the values that say that its sides are exchanged.
_ORIENTATION, _LYING = 0x0112, (5, 6, 7, 8)
# Where Pillow finds that; to look takes time.
_TELLING = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}

# Decoded images that a process may keep, in bytes; more are decoded again when asked for again.
KEPT = 512_000_000

# Files that are decoded at a time; decoding lets go of the interpreter's lock.
_THREADS = 4
_FEW = 8  # for which no thread is worth its while


@dataclass(frozen=True)
class Look:
    """What the headers of images say.

    size: (height, width) as they lie upright, before any resizing; None where they differ, which
    `differing` tells. square: whether all are. coloured: whether any is. digests: 16 bytes of each
    file's content, (n, 16), where asked for.
    """

    size: tuple[int, int] | None
    differing: str
    square: bool
    coloured: bool
    digests: Pixels | None


class Files:
    """Images in files, (n, H, W, C) uint8; see `benchmark.datasets.examples.Stored`.

    Args:
        paths: of the files.
        shape: (H, W, C) of each image.
        image_size: whether they are resized, and to what; None for as they are.
        digests: of each file, (n, 16), where they stand for the pixels in a fingerprint.
        keep: whether decoded images may stay in memory, up to `KEPT` bytes.
    """

    def __init__(
        self,
        paths: Sequence[str],
        shape: tuple[int, ...],
        *,
        image_size: int | None,
        digests: Pixels | None = None,
        keep: bool = False,
    ) -> None:
        self.paths, self.image_size, self.digests = paths, image_size, digests
        self._keep = keep
        self.shape = (len(paths), *shape)
        self._held: NDArray[np.bool_] | None = None
        if keep and np.prod(self.shape, dtype=np.int64) <= KEPT:
            self._held = np.zeros(len(paths), bool)
            self._pixels = np.empty(self.shape, np.uint8)

    def some(self, rows: NDArray[np.intp]) -> Files:
        """The images at these places."""
        return Files(
            [self.paths[row] for row in rows],
            self.shape[1:],
            image_size=self.image_size,
            digests=None if self.digests is None else self.digests[rows],
            keep=self._keep,
        )

    @property
    def transform(self) -> str:
        """What is done to each image, for its identity."""
        return "as is" if self.image_size is None else f"fit {self.image_size}"

    def __getitem__(self, rows: Any) -> Pixels:
        rows = np.asarray(rows)
        if self._held is None:
            return self._decoded(rows)
        lacking = np.unique(rows[~self._held[rows]])
        if len(lacking):
            self._pixels[lacking] = self._decoded(lacking)
            self._held[lacking] = True
        return self._pixels[rows]

    def _decoded(self, rows: NDArray[np.intp]) -> Pixels:
        out = np.empty((len(rows), *self.shape[1:]), np.uint8)

        def decode(place: int) -> None:
            # A grey image among coloured ones fills all three channels.
            out[place] = self._one(self.paths[rows[place]])

        if len(rows) <= _FEW:
            for place in range(len(rows)):
                decode(place)
        else:
            list(_pool().map(decode, range(len(rows))))
        return out

    def _one(self, path: str) -> Pixels:
        image = pixels(path, self.image_size)
        if image.shape[:2] != self.shape[1:3]:
            height, width = self.shape[1:3]
            raise DataError(
                f"images differ in size: {path} is {image.shape[1]}x{image.shape[0]}, others are "
                f"{width}x{height}; give --image-size N to resize all to NxN"
            )
        return image


def look(paths: Sequence[str], *, hashed: bool) -> Look:
    """What the headers of all files say; raises `DataError` for a file that is no image."""
    sizes: dict[tuple[int, int], str] = {}
    coloured = False
    digests = np.empty((len(paths), 16), np.uint8) if hashed else None
    for place, path in enumerate(paths):
        size, grey, digest = _header(path, hashed=hashed)
        sizes.setdefault(size, path)
        coloured = coloured or not grey
        if digests is not None:
            digests[place] = np.frombuffer(digest, np.uint8)
    named = [f"{path} is {width}x{height}" for (height, width), path in sizes.items()]
    return Look(
        next(iter(sizes)) if len(sizes) == 1 else None,
        " but ".join(named[:2]),
        all(height == width for height, width in sizes),
        coloured,
        digests,
    )


def pixels(path: str, image_size: int | None) -> Pixels:
    """One image, (H, W, 1) when it is grey, else (H, W, 3).

    Resized, it keeps its aspect ratio: what is beyond a centred square is cut off.
    """
    try:
        with Image.open(io.BytesIO(_content(path))) as opened:
            image = ImageOps.exif_transpose(opened)
            mode = image.mode
            if mode == "P":
                image = image.convert("RGBA")  # palettes with transparency convert only so
            if mode in GREY + COLOUR:
                image = image.convert("L" if mode in GREY else "RGB")
                if image_size is not None:
                    size = (image_size, image_size)
                    image = ImageOps.fit(image, size, Image.Resampling.BILINEAR)
                return np.atleast_3d(np.asarray(image, dtype=np.uint8))
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    raise _deep(path, mode)


def _header(path: str, *, hashed: bool) -> tuple[tuple[int, int], bool, bytes]:
    """Height and width, whether it is grey, and the digest of the content."""
    try:
        content = _content(path)
        with Image.open(io.BytesIO(content)) as image:
            mode, (width, height) = image.mode, image.size
            is_tiff = image.format == "TIFF"
            tells = is_tiff or bool(_TELLING & image.info.keys())
            if tells and image.getexif().get(_ORIENTATION) in _LYING:
                # Whether a TIFF's size is that of the upright image depends on Pillow's version
                upright = ImageOps.exif_transpose(image).size if is_tiff else (height, width)
                width, height = upright
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    if mode not in GREY + COLOUR:
        raise _deep(path, mode)
    digest = hashlib.blake2b(content, digest_size=16).digest() if hashed else b""
    return (height, width), mode in GREY, digest


def _content(path: str) -> bytes:
    with open(path, "rb", opener=_without_waiting) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError("it is not a regular file")
        return stream.read()


def _without_waiting(path: str, flags: int) -> int:
    """Opens a file; one that is a pipe or a device would be waited for, or read, for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _unreadable(path: str, error: BaseException) -> DataError:
    reason = " ".join(str(error).split())
    return DataError(f"{path} is no readable image ({reason}); replace or remove it")


def _deep(path: str, mode: str) -> DataError:
    return DataError(f"{path} has pixels of type {mode}; save it as 8-bit grey or RGB")


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, "decode")

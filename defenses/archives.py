"""Arrays from NPZ files: never unpickled, and none that claims to be larger than it is.

A few megabytes of an archive can hold gigabytes of zeros, and a header of a hundred bytes can claim
terabytes. So sizes are looked at before anything is unpacked.
"""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np

# What zipfile and NumPy raise for archives that are not whole, not theirs, or encrypted.
UNREADABLE = (
    OSError,
    EOFError,
    TypeError,
    ValueError,
    MemoryError,
    OverflowError,
    RuntimeError,
    LookupError,
    SyntaxError,
    struct.error,
    tokenize.TokenError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_arrays(
    stream: IO[bytes], *, only: Collection[str] | None = None, largest: int | None = None
) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file by name, or those of the names given.

    Args:
        stream: the file, which can seek.
        largest: bytes that the arrays read may take together; any number unless given.

    Raises:
        ValueError: it is no such file, is damaged or encrypted, holds objects, or is too large.
    """
    with _explained(), zipfile.ZipFile(stream) as archive:
        members = {i.filename.removesuffix(".npy"): i for i in archive.infolist()}
        if only is not None:
            members = {name: info for name, info in members.items() if name in only}
        total = sum(info.file_size for info in members.values())
        if largest is not None and total > largest:
            raise ValueError(f"its arrays take {total:,} bytes, above the {largest:,} allowed")
        return {name: _array(archive, info) for name, info in members.items()}


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise ValueError(" ".join(str(error).split())[:200] or type(error).__name__) from error


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"{info.filename} is of NumPy's format {version}")
        shape, _, dtype = _HEADERS[version](stream)
        held = info.file_size - stream.tell()
    if dtype.hasobject:
        raise ValueError(f"{info.filename}: Object arrays cannot be loaded")
    claimed = math.prod(shape) * dtype.itemsize
    if claimed != held or not dtype.itemsize:
        raise ValueError(f"{info.filename} holds {held:,} bytes and claims {claimed:,}")
    with archive.open(info) as stream:
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
        return array


_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

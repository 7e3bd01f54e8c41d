"""What an HDF5 file of weights holds, without following it to any other file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import h5py

from benchmark.errors import ModelError
from benchmark.text import one_line


@dataclass(frozen=True)
class Array:
    """An array of a file: its path in there, its shape, and "f", "i" or "c" for its numbers."""

    name: str
    shape: tuple[int, ...]
    kind: str


def arrays(file: str | IO[bytes], name: str) -> list[Array]:
    """All arrays of a file but the optimizer's; none of them is read.

    Args:
        file: a path, or an open file.
        name: what the file is called in an error.

    Raises:
        ModelError: one of them lies in another file, which whoever made this one could have
            chosen among everything that its reader may read.
        OSError: it is no HDF5 file, or damaged.
    """
    found: list[Array] = []

    def visit(path: str, link: object) -> str | None:
        """The path where the file can't be read by itself, which ends the visit."""
        node = stream[path] if isinstance(link, h5py.HardLink) else None
        is_array = isinstance(node, h5py.Dataset)
        if node is None or (is_array and (node.external or node.is_virtual)):
            return path
        if is_array and not path.startswith("optimizer"):
            found.append(Array(path, tuple(node.shape), _kind(node.dtype.kind)))
        return None

    with damage_told(), h5py.File(file, "r") as stream:
        elsewhere = stream.visititems_links(visit)
    if elsewhere is not None:
        raise ModelError(
            f"{name} points to another file or place at {elsewhere!r}, which is not followed; "
            "save the weights themselves"
        )
    return found


@contextmanager
def damage_told() -> Iterator[None]:
    """While entered, what h5py raises of damaged files is an `OSError` that says so.

    It may be of other causes, such as a layer that Keras can't make, which the words don't exclude.
    """
    try:
        yield
    except (RuntimeError, SystemError) as error:
        raise OSError(f"the file may be damaged ({one_line(error.__cause__ or error)})") from error


def _kind(kind: str) -> str:
    return {"c": "c", "i": "i", "u": "i", "b": "i"}.get(kind, "f")

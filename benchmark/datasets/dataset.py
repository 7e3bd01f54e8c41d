"""The data that pass between loaders, splits and the rest of the harness."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Request:
    """What a loader is asked for; `path` is what stood after the colon of `name`."""

    name: str
    path: Path | None
    data_dir: Path | None
    download: bool
    image_size: int | None
    split_seed: int


@dataclass(frozen=True, eq=False)
class Source:
    """What a loader read, before validation (and test, where there is none yet) are split off.

    x: (n, H, W, C) or (n, d), uint8 or float in [0, 1]; y: (n,) int64 in 0..classes-1.
    x_test, y_test: the official test part, or None where it is to be split off by seed.
    validation: the share of the training part that is held out for choosing.
    """

    x: NDArray[np.generic]
    y: Labels
    class_names: tuple[str, ...]
    x_test: NDArray[np.generic] | None = None
    y_test: Labels | None = None
    validation: float = 0.1


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set ready to use: the validation part is for choosing, the test part never is.

    x_*: (n, H, W, C), or (n, d) for tabular data, float32 in [0, 1].
    y_*: (n,) int64 in 0..classes-1. Every class is in every part; a test part that
    came with the data may lack some.
    fingerprint: the first 16 hex digits of the SHA-256 of all six arrays.
    """

    name: str
    x_train: Images
    y_train: Labels
    x_validation: Images
    y_validation: Labels
    x_test: Images
    y_test: Labels
    class_names: tuple[str, ...]
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        arrays = (self.x_train, self.y_train, self.x_validation, self.y_validation)
        value = fingerprint((*arrays, self.x_test, self.y_test))
        object.__setattr__(self, "fingerprint", value)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example: (H, W, C), or (d,) for tabular data."""
        return self.x_train.shape[1:]

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)


def fingerprint(arrays: Iterable[NDArray[np.generic]]) -> str:
    """The first 16 hex digits of the SHA-256 of the arrays' types, shapes and bytes, in order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        if array.size:  # there is no view of nothing
            digest.update(np.ascontiguousarray(array).data.cast("B"))
    return digest.hexdigest()[:16]

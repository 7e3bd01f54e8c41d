"""MNIST, Fashion-MNIST and KMNIST: IDX files where torchvision's loaders put them.

They are read without torchvision, whose import would load PyTorch into the process that plans, and
into workers of TensorFlow.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.datasets.dataset import Labels, Request, Source
from benchmark.datasets.places import required
from benchmark.errors import DataError

_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
VALIDATION = 5_000 / 60_000  # 5,000 of the 60,000 training images are held out


@dataclass(frozen=True)
class _Set:
    """A data set: the folder of its files, and the names of its classes."""

    folder: str
    classes: tuple[str, ...]


_SETS = {
    "mnist": _Set("MNIST", tuple("0123456789")),
    "fashion-mnist": _Set(
        "FashionMNIST",
        (
            "T-shirt/top",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        ),
    ),
    "kmnist": _Set("KMNIST", ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
}


def load(request: Request) -> Source:
    """The 60,000 training images, (60000, 28, 28, 1) uint8, and the official 10,000 test images.

    5,000 training images become the validation part.

    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document
    Recognition", Proc. IEEE 86(11), 1998; H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST",
    arXiv:1708.07747, 2017; T. Clanuwat et al., "Deep Learning for Classical Japanese Literature",
    arXiv:1812.01718, 2018 (KMNIST).
    """
    about = _SETS[request.name]
    names = [f"{about.folder}/raw/{name}" for pair in _FILES.values() for name in pair]
    raw = required(request, *names) / about.folder / "raw"
    (x, y), (x_test, y_test) = (_part(raw, request.name, *pair) for pair in _FILES.values())
    files = [str(raw / name) for pair in _FILES.values() for name in pair]
    return Source(x, y, about.classes, x_test, y_test, validation=VALIDATION, files=files)


def _part(raw: Path, name: str, images: str, labels: str) -> tuple[NDArray[np.uint8], Labels]:
    x, y = _read(raw / images, name, axes=3), _read(raw / labels, name, axes=1)
    if len(x) != len(y) or not len(y) or y.max() > 9:
        raise DataError(
            f"{name}: {len(x)} images but {len(y)} labels in {raw}, or a label above 9; "
            "these are not its files: remove them and give --download"
        )
    return x[..., np.newaxis], y.astype(np.int64)


def _read(path: Path, name: str, *, axes: int) -> NDArray[np.uint8]:
    """The array of an IDX file of bytes; images stay in the file until they are asked for."""
    try:
        with open(path, "rb") as stream:
            magic, *shape = np.frombuffer(stream.read(4 * (1 + axes)), ">i4").tolist()
            held = os.fstat(stream.fileno()).st_size - stream.tell()
        if magic != 0x800 + axes or len(shape) != axes or min(shape) < 0:
            raise ValueError("it is no IDX file of bytes")
        if int(np.prod(shape)) != held:
            raise ValueError(f"it holds {held:,} bytes and claims {int(np.prod(shape)):,}")
        return np.memmap(path, np.uint8, "r", offset=4 * (1 + axes), shape=tuple(shape))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{name}: {path} can't be read ({reason}); remove it and give --download, or give "
            "another --data-dir"
        ) from error

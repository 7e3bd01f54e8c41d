"""CIFAR-10 and CIFAR-100: the pickled batches where torchvision's loaders put them.

Whoever unpickles runs what the pickle says. So these are read by an unpickler that knows NumPy's
arrays and nothing else; and without torchvision, whose import would load PyTorch into the process
that plans, and into workers of TensorFlow.
"""

from __future__ import annotations

import _codecs
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.datasets.dataset import Labels, Request, Source
from benchmark.datasets.places import required
from benchmark.errors import DataError


@dataclass(frozen=True)
class _Set:
    """A data set: the folder of its files, and what they and their entries are called."""

    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: str
    names: str


_SETS = {
    "cifar10": _Set(
        "cifar-10-batches-py",
        tuple(f"data_batch_{number}" for number in range(1, 6)),
        "test_batch",
        "batches.meta",
        "labels",
        "label_names",
    ),
    "cifar100": _Set(
        "cifar-100-python", ("train",), "test", "meta", "fine_labels", "fine_label_names"
    ),
}

_SHAPE = (3, 32, 32)  # as they are stored
VALIDATION = 5_000 / 50_000  # 5,000 of the 50,000 training images are held out


def load(request: Request) -> Source:
    """The 50,000 training images, (50000, 32, 32, 3) uint8, and the official 10,000 test images.

    5,000 training images become the validation part. CIFAR-100 has its 100 fine classes.

    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """
    about = _SETS[request.name]
    files = (*about.train, about.test, about.meta)
    root = required(request, *(f"{about.folder}/{name}" for name in files)) / about.folder
    paths = [str(root / name) for name in files]
    names = tuple(map(str, _unpickled(root / about.meta, about.names, request.name)))
    parts = [_batch(root / file, about.labels, request.name) for file in about.train]
    x, y = np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])
    del parts
    x_test, y_test = _batch(root / about.test, about.labels, request.name)
    if max(y.max(), y_test.max()) >= len(names):
        raise DataError(
            f"{request.name}: {root} has a label above {len(names) - 1}; these are not its files: "
            "remove them and give --download"
        )
    return Source(x, y, names, x_test, y_test, validation=VALIDATION, files=paths)


def _batch(path: Path, labels: str, name: str) -> tuple[NDArray[np.uint8], Labels]:
    """Images (n, 32, 32, 3) and labels of one file."""
    content = _unpickled(path, None, name)
    try:
        x, y = np.asarray(content["data"]), np.asarray(content[labels], np.int64)
        if x.dtype != np.uint8 or not len(y) or y.ndim != 1 or y.min() < 0:
            raise ValueError(f"images of {x.dtype}, labels of shape {y.shape}")
        x = x.reshape(len(y), *_SHAPE).transpose(0, 2, 3, 1)
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, name, error) from error
    return np.ascontiguousarray(x), y


def _unpickled(path: Path, key: str | None, name: str) -> Any:
    """What a file holds, or what it holds under `key`."""
    try:
        with open(path, "rb") as stream:
            content = _ArraysOnly(stream, encoding="latin1").load()
        return content if key is None else content[key]
    except Exception as error:  # a damaged pickle raises anything
        raise _unreadable(path, name, error) from error


def _unreadable(path: Path, name: str, error: BaseException) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(
        f"{name}: {path} can't be read ({reason}); remove it and give --download, or give another "
        "--data-dir"
    )


class _ArraysOnly(pickle.Unpickler):
    """Knows NumPy's arrays, and refuses everything else that a pickle may call."""

    _RECONSTRUCT = np.empty(0).__reduce__()[0]  # its module differs between versions of NumPy
    _KNOWN = {  # noqa: RUF012
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("_codecs", "encode"): _codecs.encode,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"it calls {module}.{name}, which no image needs")
        return self._KNOWN[module, name]

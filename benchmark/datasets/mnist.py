"""MNIST through torchvision's loader, which also knows where to download it."""

from __future__ import annotations

import os
from http.client import HTTPException
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torchvision.datasets import MNIST

from benchmark.datasets.dataset import Labels, Request, Source
from benchmark.errors import DataError

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
VALIDATION = 5_000 / 60_000  # 5,000 of the 60,000 training images are held out
UNREADABLE = (OSError, RuntimeError, ValueError, AssertionError, KeyError, EOFError, HTTPException)


def load(request: Request) -> Source:
    """The 60,000 training images, (60000, 28, 28, 1) uint8, and the official 10,000 test images.

    5,000 training images become the validation part.

    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document
    Recognition", Proc. IEEE 86(11), 1998.
    """
    root = request.data_dir or default_root()
    raw = root / "MNIST" / "raw"
    missing = [name for name in FILES if not os.path.isfile(raw / name)]
    if missing and not request.download:
        raise DataError(
            f"mnist: {missing[0]} is not in {raw}, and downloading was not allowed; give "
            "--data-dir with the folder that holds MNIST/raw, or --download to fetch the files"
        )
    if missing:
        _download(root, raw)
    x, y = _read(root, raw, train=True)
    x_test, y_test = _read(root, raw, train=False)
    names = tuple(map(str, range(10)))
    return Source(x, y, names, x_test, y_test, validation=VALIDATION)


def default_root() -> Path:
    """Where MNIST is looked for when no data folder is given: the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(cache)) / "meta-adv-bench"


def _download(root: Path, raw: Path) -> None:
    made = [folder for folder in (raw, *raw.parents) if not folder.exists()]
    try:
        MNIST(root, download=True)
    except UNREADABLE as error:
        _remove_empty(made)
        raise DataError(
            f"mnist: its files are not in {raw}, and downloading them there failed "
            f"({_one_line(error)}); check the network and that the folder can be written, "
            "or give --data-dir with a folder that holds MNIST/raw"
        ) from error


def _remove_empty(folders: list[Path]) -> None:
    """Take back the folders that a failed download made, innermost first."""
    for folder in folders:
        if not folder.is_dir() or any(folder.iterdir()):
            return
        folder.rmdir()


def _read(root: Path, raw: Path, *, train: bool) -> tuple[NDArray[np.uint8], Labels]:
    try:
        part = MNIST(root, train=train)
    except UNREADABLE as error:
        raise DataError(
            f"mnist: the files in {raw} can't be read ({_one_line(error)}); "
            "remove them and give --download, or give another --data-dir"
        ) from error
    x, y = part.data.numpy(), part.targets.numpy()
    if len(x) != len(y) or not len(y) or y.max() > 9:
        raise DataError(
            f"mnist: {len(x)} images but {len(y)} labels in {raw}, or a label above 9; "
            "these are not MNIST's files: remove them and give --download"
        )
    return x[..., np.newaxis], y.astype(np.int64)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

"""Street View House Numbers: MATLAB files where torchvision's loader puts them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from benchmark.datasets.dataset import Labels, Request, Source
from benchmark.datasets.places import required
from benchmark.errors import DataError


def load(request: Request) -> Source:
    """73,257 training images, (73257, 32, 32, 3) uint8, and the official 26,032 test images.

    10 % of the training images become validation; the "extra" ones are left out.

    Y. Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning", 2011.
    """
    files = ("train_32x32.mat", "test_32x32.mat")
    root = required(request, *files)
    (x, y), (x_test, y_test) = (_part(root / file, request.name) for file in files)
    paths = [str(root / file) for file in files]
    return Source(x, y, tuple("0123456789"), x_test, y_test, files=paths)


def _part(path: Path, name: str) -> tuple[NDArray[np.uint8], Labels]:
    try:
        content = loadmat(str(path), variable_names=["X", "y"])
        x, y = content["X"], content["y"].astype(np.int64).ravel()
        if x.dtype != np.uint8 or x.shape != (32, 32, 3, len(y)) or not len(y):
            raise ValueError(f"images of {x.dtype} and shape {x.shape}, {len(y)} labels")
        if y.min() < 0 or y.max() > 10:
            raise ValueError("a label outside 0 to 10")
    except Exception as error:  # a damaged file raises anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{name}: {path} can't be read ({reason}); remove it and give --download, or give "
            "another --data-dir"
        ) from error
    return np.ascontiguousarray(x.transpose(3, 0, 1, 2)), y % 10  # the digit 0 has the label 10

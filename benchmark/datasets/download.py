"""Downloads a data set as torchvision does; `python -m benchmark.datasets.download NAME FOLDER`.

It runs in a process of its own: torchvision brings PyTorch with it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from torchvision import datasets
from torchvision.datasets.utils import download_url


def fetch(name: str, root: str) -> None:
    """Puts the files of the data set `name` below `root`; raises what torchvision raises."""
    kind, _, which = name.partition(":")
    if kind == "medmnist":
        _medmnist(which, root)
        return
    Path(root).mkdir(parents=True, exist_ok=True)
    loader, splits = _LOADERS[name]
    for split in splits:
        loader(root, download=True, **split)


_LOADERS: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "mnist": (datasets.MNIST, [{}]),
    "fashion-mnist": (datasets.FashionMNIST, [{}]),
    "kmnist": (datasets.KMNIST, [{}]),
    "cifar10": (datasets.CIFAR10, [{}]),
    "cifar100": (datasets.CIFAR100, [{}]),
    "svhn": (datasets.SVHN, [{"split": "train"}, {"split": "test"}]),
    "gtsrb": (datasets.GTSRB, [{"split": "train"}, {"split": "test"}]),
    "omniglot": (datasets.Omniglot, [{"background": True}]),
    "imagenette": (datasets.Imagenette, [{"split": "train", "size": "160px"}]),
}


def _medmnist(which: str, root: str) -> None:
    from benchmark.datasets.medmnist import described

    about, size = described(which)
    download_url(about[f"url{size}"], root, f"{which}.npz", about[f"MD5{size}"])


if __name__ == "__main__":
    try:
        fetch(*sys.argv[1:3])
    except Exception as error:  # whatever torchvision, the network or the disk raises
        sys.exit(" ".join(str(error).split()) or type(error).__name__)

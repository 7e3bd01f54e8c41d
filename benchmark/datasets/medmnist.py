"""MedMNIST v2 by the names of its package, which knows what each set holds and where it is."""

from __future__ import annotations

import importlib.util
import re
import runpy
from pathlib import Path
from typing import Any

from benchmark.datasets import npz
from benchmark.datasets.dataset import Request, Source
from benchmark.datasets.places import required
from benchmark.errors import DataError, UnknownName

_SIZED = re.compile(r"(?P<name>[a-z0-9]+?mnist(?:3d)?)(?P<size>_64|_128|_224)?")


def load(request: Request) -> Source:
    """The official parts of NAME, or NAME_64, NAME_128, NAME_224 for larger images.

    J. Yang et al., "MedMNIST v2", Scientific Data 10, 2023.
    """
    about, _ = described(request.place)
    if not about["task"].startswith(("multi-class", "binary-class", "ordinal")):
        raise DataError(
            f"{request.name}: an example has several labels ({about['task']}); "
            "allowed are sets with one class an example"
        )
    if "3d" in request.place:
        raise DataError(f"{request.name}: its examples are volumes; allowed are sets of images")
    file = f"{request.place}.npz"
    path = required(request, file) / file
    names = tuple(about["label"][key] for key in sorted(about["label"], key=int))
    return npz.read(path, request.name, names=names)


def described(which: str) -> tuple[dict[str, Any], str]:
    """What the package says of a set, and the size in its name, such as "_64" or "".

    Raises:
        DataError: the package isn't installed.
        UnknownName: it knows no such set.
    """
    spec = importlib.util.find_spec("medmnist")
    if spec is None or spec.origin is None:
        raise DataError(
            f"medmnist:{which} needs the package medmnist, which is not installed; "
            "pip install 'meta-adv-bench[medmnist]'"
        )
    # The package's own import would load PyTorch; this file of it is a table.
    known = runpy.run_path(str(Path(spec.origin).with_name("info.py")))["INFO"]
    found = _SIZED.fullmatch(which)
    name, size = (found["name"], found["size"] or "") if found else (which, "")
    if name not in known or f"url{size}" not in known[name]:
        raise UnknownName("MedMNIST set", which, known)
    return dict(known[name]), size

"""Adversarial examples that somebody made elsewhere: read, and judged like those of an attack."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.attacks.outcomes import Generated, outcomes
from benchmark.attacks.target import Target
from benchmark.datasets import Dataset
from benchmark.digest import digest
from benchmark.errors import DataError, shortened
from benchmark.results import Record
from defenses import archives

_KEYS = ("x_adv", "index", "y", "author", "text")
_LONGEST = {"author": 60, "text": 1000}  # characters
_OTHER_SCALE = 2  # what is above is no point outside the box, but of pixels from 0 to 255
PREFIX = "claims by "  # of their names in reports; no attack of a suite has a space in its own


@dataclass(frozen=True, eq=False)
class Claims:
    """Points in place of test examples, and who says that they fool the model.

    Args:
        author: whose they are.
        text: what the author says of them.
        index: of the data set's test part, (k,) int64, each once.
        x_adv: (k, ...) float32 as the data's inputs.
    """

    author: str
    text: str
    index: np.ndarray
    x_adv: np.ndarray

    @functools.cached_property
    def key(self) -> str:
        """Of the stage; changes with all that is claimed."""
        content = hashlib.sha256(self.x_adv.tobytes()).hexdigest()
        points = [self.index.tolist(), self.x_adv.shape, content]
        return f"claims-{digest([self.author, self.text, *points])[:12]}"

    def among(self, index: np.ndarray) -> Claims:
        """Those about the test examples at `index`."""
        kept = np.isin(self.index, index)
        return Claims(self.author, self.text, self.index[kept], self.x_adv[kept])


def read(path: Path, dataset: Dataset) -> Claims:
    """The claims of an npz file: arrays x_adv and index, a text author, maybe y and a text `text`.

    x_adv is as the data's inputs, or with channels first, as floats in [0, 1] or bytes. Points
    outside budget and box are taken: they are no successes. Floats above 2 are not: they are
    mostly pixels from 0 to 255.

    Raises:
        DataError: it is no such file, or is about other data.
    """
    try:
        with open(path, "rb") as stream:
            arrays = archives.read_arrays(stream, only=_KEYS)
    except archives.UNREADABLE as error:
        raise DataError(f"--claims {path} can't be read ({error})") from error
    for key in ("x_adv", "index", "author"):
        if key not in arrays:
            raise DataError(
                f"--claims {path} has no {key}; save it with numpy.savez(FILE, x_adv=..., "
                "index=..., author='NAME')"
            )
    index = _index(arrays["index"], len(dataset.x_test))
    _check_labels(arrays.get("y"), index, dataset)
    x_adv = _points(arrays["x_adv"], len(index), dataset.input_shape)
    texts = {key: _text(arrays.get(key), key) for key in _LONGEST}
    return Claims(texts["author"], texts["text"], index, x_adv)


def _text(array: np.ndarray | None, key: str) -> str:
    text = "" if array is None else " ".join(str(array).split())
    if not text and key == "author":
        raise DataError("--claims: its author is empty; give the name that reports shall show")
    if len(text) > _LONGEST[key] or (array is not None and array.size != 1):
        raise DataError(f"--claims: {key} has to be one text, at most {_LONGEST[key]} characters")
    return text


def _index(index: np.ndarray, count: int) -> np.ndarray:
    if index.ndim != 1 or index.dtype.kind not in "iu" or not index.size:
        raise DataError("--claims: index has to hold whole numbers, (k,), one of each point")
    if index.min() < 0 or index.max() >= count:
        raise DataError(f"--claims: index has to be of the {count} test examples, counted from 0")
    if len(np.unique(index)) < len(index):
        raise DataError("--claims: index names a test example twice; give one point for each")
    return index.astype(np.int64)


def _check_labels(y: np.ndarray | None, index: np.ndarray, dataset: Dataset) -> None:
    if y is None:
        return
    other = y.shape != index.shape or (y != dataset.y_test[index]).any()
    if other:
        raise DataError(
            f"--claims: y differs from the labels of {dataset.name} at index; the claims are about "
            "other data, or about the test examples in another order"
        )


def _points(x_adv: np.ndarray, count: int, shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) == 3 and x_adv.shape[1:] == (shape[2], *shape[:2]) != shape:
        x_adv = x_adv.transpose(0, 2, 3, 1)
    if x_adv.shape != (count, *shape):
        raise DataError(
            f"--claims: x_adv is {x_adv.shape}; index and data ask for {(count, *shape)}"
        )
    if x_adv.dtype == np.uint8:
        return x_adv.astype(np.float32) / 255
    if x_adv.dtype.kind != "f":
        raise DataError(
            f"--claims: x_adv holds {shortened(x_adv.dtype)}; give floats in [0, 1], or bytes"
        )
    highest = np.max(x_adv, where=np.isfinite(x_adv), initial=0)
    if highest > _OTHER_SCALE:
        raise DataError(
            f"--claims: x_adv goes up to {highest:g}, and the data lie in [0, 1]; divide pixels "
            "from 0 to 255 by 255, or save them as uint8"
        )
    return np.ascontiguousarray(x_adv, np.float32)


def judge(
    claims: Claims, target: Target, *, norm: str, eps: float, seed: int
) -> tuple[Record, dict[str, np.ndarray]]:
    """Record and arrays as of an attack on all of the target's examples.

    An example that nobody claims is not broken, so the worst case is no less complete. The arrays
    hold the points too, as `x_adv` and `index`.

    Args:
        claims: about some of the target's examples.
        target: the model that they are said to fool.
        norm: of the cell's threat.
        eps: its budget.
        seed: of a random pipeline's draws.
    """
    places = {int(number): row for row, number in enumerate(target.index)}
    rows = np.array([places[int(number)] for number in claims.index], np.int64)
    none = np.full(len(rows), -1, np.int64)
    found = Generated(
        rows, claims.x_adv, claims.x_adv, none >= 0, none, none, np.ones(len(rows), bool)
    )
    everything = np.ones(len(target.x), bool)
    told, arrays = outcomes(target, found, attacked=everything, norm=norm, eps=eps, seed=seed)
    del arrays["first_query"]  # nobody saw their queries
    about: dict[str, Any] = {
        "key": claims.key,
        "name": PREFIX + claims.author,
        "author": claims.author,
        "text": claims.text,
        "claimed": len(rows),
        "norm": norm,
        "eps": float(eps),
        "examples": len(target.x),
        "reason": "",
    }
    return about | told, {**arrays, "index": claims.index, "x_adv": claims.x_adv}

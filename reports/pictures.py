"""Stored adversarial examples as pictures: before, after, and what changed."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

SHOWN = 72  # CSS pixels of a picture's longer side in the page
LARGEST = 2 * SHOWN  # its own pixels at most, for screens with two to a CSS pixel


@dataclass(frozen=True)
class Example:
    """One adversarial example. The pictures are `data:` URIs of PNG files."""

    clean: str
    adversarial: str
    perturbation: str
    index: int | None
    label: int | None
    prediction: int | None
    enlarged: bool  # whether the page shows each pixel larger than it is


def has_pictures(arrays: dict[str, np.ndarray]) -> bool:
    """Whether an attack's arrays hold examples that can be shown."""
    return any(True for _ in pairs(arrays, 1))


def common_magnification(every: Iterable[dict[str, np.ndarray]], *, limit: int) -> float:
    """How much the changes of several attacks' first examples can be magnified, all alike.

    The largest of them then goes from grey to black or white.
    """
    changes = [after - before for arrays in every for before, after in pairs(arrays, limit)]
    largest = max((float(np.abs(change).max()) for change in changes), default=0.0)
    return 0.5 / largest if largest > 0 else 1.0


def examples(arrays: dict[str, np.ndarray], *, limit: int, magnification: float) -> list[Example]:
    """The first examples of an attack's arrays; empty where they are not pictures."""
    found = []
    for place, (before, after) in enumerate(pairs(arrays, limit)):
        change = after - before
        index, label, prediction = outcome(arrays, place)
        found.append(
            Example(
                clean=_png(before),
                adversarial=_png(after),
                perturbation=_png(0.5 + magnification * change),
                index=index,
                label=label,
                prediction=prediction,
                enlarged=max(before.shape[:2]) <= SHOWN,
            )
        )
    return found


def pairs(arrays: dict[str, np.ndarray], limit: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The first examples before and after the attack, each (H, W, C)."""
    clean, adversarial = _pictures(arrays, "sample_clean"), _pictures(arrays, "sample_adversarial")
    if clean is None or adversarial is None or clean.shape != adversarial.shape:
        return
    for pair in zip(clean[:limit], adversarial[:limit], strict=True):
        yield _within_box(pair[0]), _within_box(pair[1])


def _pictures(arrays: dict[str, np.ndarray], name: str) -> np.ndarray | None:
    batch = arrays.get(name)
    if batch is None or batch.dtype.kind != "f" or batch.ndim != 4 or batch.size == 0:
        return None
    return batch if batch.shape[-1] in (1, 3) else None  # (k, H, W, C)


def outcome(arrays: dict[str, np.ndarray], place: int) -> tuple[int | None, int | None, int | None]:
    """Test index, label and prediction of a sample, None where the arrays don't tell."""
    indices, tested = arrays.get("sample_index"), arrays.get("test_index")
    if indices is None or tested is None or indices.ndim != 1 or len(indices) <= place:
        return None, None, None
    rows = np.flatnonzero(tested == indices[place])
    if len(rows) != 1:
        return None, None, None

    def at(name: str) -> int | None:
        array = arrays.get(name)
        usable = array is not None and array.shape == tested.shape and array.dtype.kind in "iu"
        return int(array[rows[0]]) if array is not None and usable else None

    return int(indices[place]), at("label"), at("adversarial_prediction")


def _within_box(picture: np.ndarray) -> np.ndarray:
    return np.clip(np.nan_to_num(picture.astype(np.float64)), 0, 1)


def _png(values: np.ndarray) -> str:
    pixels = np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)  # (H, W, C)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.thumbnail((LARGEST, LARGEST))
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()

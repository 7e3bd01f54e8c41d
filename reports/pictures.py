"""Stored adversarial examples as pictures: before, after, and what changed."""

from __future__ import annotations

import base64
import io
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
    magnification: float
    index: int | None
    label: int | None
    prediction: int | None
    enlarged: bool  # whether the page shows each pixel larger than it is


def examples(arrays: dict[str, np.ndarray], *, limit: int) -> list[Example]:
    """The first examples of an attack's arrays; empty where they are not pictures."""
    clean, adversarial = _pictures(arrays, "sample_clean"), _pictures(arrays, "sample_adversarial")
    if clean is None or adversarial is None or clean.shape != adversarial.shape:
        return []
    found = []
    for place in range(min(limit, len(clean))):
        before, after = (_within_box(batch[place]) for batch in (clean, adversarial))
        change = after - before
        largest = float(np.abs(change).max())
        magnification = 0.5 / largest if largest > 0 else 1.0
        index, label, prediction = _outcome(arrays, place)
        found.append(
            Example(
                clean=_png(before),
                adversarial=_png(after),
                perturbation=_png(0.5 + magnification * change),
                magnification=magnification,
                index=index,
                label=label,
                prediction=prediction,
                enlarged=max(before.shape[:2]) <= SHOWN,
            )
        )
    return found


def _pictures(arrays: dict[str, np.ndarray], name: str) -> np.ndarray | None:
    batch = arrays.get(name)
    if batch is None or batch.dtype.kind != "f" or batch.ndim != 4 or batch.size == 0:
        return None
    return batch if batch.shape[-1] in (1, 3) else None  # (k, H, W, C)


def _outcome(
    arrays: dict[str, np.ndarray], place: int
) -> tuple[int | None, int | None, int | None]:
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

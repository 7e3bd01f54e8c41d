"""Data sets to be read by tests, and what each promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark import datasets
from benchmark.errors import DataError

PARTS = ("train", "validation", "test")


RNG = np.random.default_rng(0)


def arrays(**changes: Any) -> dict[str, np.ndarray]:
    """Sound npz content: 40 training and 12 test images of 3x3, classes 0 and 1."""
    sound = {
        "x_train": RNG.integers(0, 256, (40, 3, 3), dtype=np.uint8),
        "y_train": np.arange(40) % 2,
        "x_test": RNG.integers(0, 256, (12, 3, 3), dtype=np.uint8),
        "y_test": np.arange(12) % 2,
    }
    return {key: value for key, value in (sound | changes).items() if value is not None}


def save(path: Path, **changes: Any) -> str:
    np.savez(path / "data.npz", **arrays(**changes))
    return f"npz:{path / 'data.npz'}"


def draw(path: Path, *, size: tuple[int, int] = (4, 4), mode: str = "L", value: int = 0) -> None:
    """Write one image of a single level of grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).convert(mode).save(path)


def draw_classes(root: Path, classes: str = "ab", *, each: int = 10, **options: Any) -> str:
    for name in classes:
        for index in range(each):
            draw(root / name / f"{index}.png", value=index, **options)
    return f"folder:{root}"


def assert_sound(data: datasets.Dataset) -> None:
    """The promises that every data set keeps."""
    for part in PARTS:
        x, y = getattr(data, f"x_{part}")[:], getattr(data, f"y_{part}")
        assert x.dtype == np.float32
        assert y.dtype == np.int64
        assert x.flags.c_contiguous
        assert x.flags.writeable
        assert x.shape == (len(y), *data.input_shape)
        assert x.min() >= 0
        assert x.max() <= 1
        assert set(y) == set(range(data.classes))


def assert_refused(name: str, says: str, **options: Any) -> None:
    with pytest.raises(DataError, match=says) as caught:
        datasets.load(name, **options)
    assert "\n" not in str(caught.value)

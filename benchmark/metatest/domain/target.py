"""Examples of another data set, drawn for an episode, as a model takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from benchmark import datasets
from benchmark.datasets import Dataset
from benchmark.errors import ConfigError, SizesDiffer

# ITU-R 601-2, as Pillow's conversion to grey
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
# Channels of an image in colours; a fourth is its opacity, which is dropped
_COLOURS = (3, 4)


def loaded(
    name: str,
    shape: tuple[int, ...],
    *,
    resize: bool,
    label: str | None,
    group: str | None = None,
    **where: Any,
) -> Dataset:
    """The other data set, for a model that takes inputs of this shape.

    Images of different sizes are resized and cropped to the model's height where that was asked
    for, since they have no size of their own.

    Args:
        label, group: the columns of the classes and of the groups, where it is a table.
        where: what else `datasets.load` is told.

    Raises:
        DataError: it can't be read.
        ConfigError: its images differ in size, and can't be resized or were not to be.
    """
    if name.partition(":")[0] == "csv":
        where |= {"label": label, "group": group}
    try:
        return datasets.load(name, **where)
    except SizesDiffer as error:
        if len(shape) != 3:
            raise ConfigError(f"adapt-to: {name} has images, the model takes rows") from error
        if not resize:
            fix = "give --set adaptation.resize=true to make them alike"
            raise ConfigError(f"adapt-to: {error.found}; {fix}") from error
    return datasets.load(name, image_size=shape[0], **where)


def drawn(
    target: Dataset,
    shape: tuple[int, ...],
    generator: np.random.Generator,
    shots: int,
    queries: int,
    *,
    tuning: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labelled examples and queries of an episode; while tuning, test examples are left alone.

    Returns: x (classes * shots, *shape), y, x_query (queries, *shape), y_query.
    """
    x, y = (target.x_validation, target.y_validation) if tuning else (target.x_test, target.y_test)
    query = generator.choice(len(y), queries, replace=False)
    places = np.concatenate(
        [
            generator.permutation(np.flatnonzero(target.y_train == label))[:shots]
            for label in range(target.classes)
        ]
    )
    support = as_shape(target.x_train[places], shape)
    return support, target.y_train[places], as_shape(x[query], shape), y[query]


def converts(channels: int, wanted: int) -> bool:
    """Whether images of other channels can be made into these: from grey, or from colours to it."""
    return channels == 1 or (wanted == 1 and channels in _COLOURS)


def as_shape(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(n, H, W, C) float32 in [0, 1] as (n, *shape): bilinear, grey repeated, colours made grey."""
    if x.shape[1:] == shape:
        return x
    if x.shape[3] != shape[2]:
        x = np.repeat(x, shape[2], axis=3) if x.shape[3] == 1 else x[..., :3] @ _GREY[:, None]
    height, width, channels = shape
    found = np.empty((len(x), *shape), np.float32)
    for row, image in enumerate(np.ascontiguousarray(x, np.float32)):
        for channel in range(channels):
            plane = Image.fromarray(np.ascontiguousarray(image[..., channel]))
            resized = plane.resize((width, height), Image.Resampling.BILINEAR)
            found[row, ..., channel] = np.asarray(resized)
    return np.clip(found, 0, 1)

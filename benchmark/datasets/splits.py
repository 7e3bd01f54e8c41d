"""Fixed, seeded, stratified splits.

scikit-learn's `train_test_split` may leave a rare class without a validation example; here every
class gets at least one in every part, and the draw doesn't depend on that library's version.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmark.datasets.dataset import Dataset, Images, Labels, Source
from benchmark.errors import DataError

TEST_SHARE = 0.2


def split(source: Source, name: str, *, seed: int) -> Dataset:
    """Split off the test part (20 %, unless the data come with one), then the validation part.

    Raises DataError for fewer than two classes, and for a class with too few examples to be in
    every part that is split off. A test part that comes with the data may lack classes.
    """
    _check_classes(source, name)
    rng = np.random.default_rng(seed)
    train = np.arange(len(source.y))
    if source.x_test is None or source.y_test is None:
        test = stratified(source.y, round(TEST_SHARE * len(train)), rng=rng)
        train = np.setdiff1d(train, test)
        x_test, y_test = source.x[test], source.y[test]
    else:
        x_test, y_test = source.x_test, source.y_test
    size = round(source.validation * len(train))
    held_out = stratified(source.y[train], size, rng=rng)
    validation, train = train[held_out], np.delete(train, held_out)
    return Dataset(
        name=name,
        x_train=scaled(source.x[train]),
        y_train=source.y[train],
        x_validation=scaled(source.x[validation]),
        y_validation=source.y[validation],
        x_test=scaled(x_test),
        y_test=y_test,
        class_names=source.class_names,
    )


def stratified(y: Labels, size: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of a part of about `size` examples, in random order, classes in proportion.

    y: (n,) int64, each class at least twice. Every class is both in the part and outside it; that
    alone can make the part differ from `size`.
    """
    counts = np.bincount(y)
    drawn = [
        rng.permutation(np.flatnonzero(y == label))[:taken]
        for label, taken in enumerate(_allot(counts, size))
    ]
    return rng.permutation(np.concatenate(drawn))


def scaled(x: NDArray[np.generic]) -> Images:
    """`x` as contiguous float32, uint8 divided by 255, with no float64 on the way."""
    if x.dtype != np.uint8:
        return np.ascontiguousarray(x, dtype=np.float32)
    out = x.astype(np.float32)
    out /= 255
    return out


def draw(labels: NDArray[np.int64], size: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of exactly `size` examples, classes in proportion; all where there are no more."""
    if size >= len(labels):
        return np.arange(len(labels))
    taken = _exactly(size, np.bincount(labels), rng)
    drawn = [
        rng.permutation(np.flatnonzero(labels == label))[:count]
        for label, count in enumerate(taken)
    ]
    return rng.permutation(np.concatenate(drawn))


def _exactly(size: int, counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """`size` shared among classes of these counts, in proportion as far as whole numbers allow."""
    taken = np.clip(_allot(counts, size), 0, counts)
    order = np.arange(len(counts))
    if taken.sum() != size < len(counts):
        order = rng.permutation(order)  # which classes go without is drawn
    while wrong := int(taken.sum()) - size:
        room = taken if wrong > 0 else counts - taken
        taken[order[room[order].argmax()]] -= np.sign(wrong)
    return taken


def _allot(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Share `size` among classes by largest remainder, leaving each at least one on both sides."""
    taken, remainder = np.divmod(counts * size, counts.sum())
    largest = np.argsort(-remainder, kind="stable")
    taken[largest[: size - taken.sum()]] += 1
    return np.clip(taken, 1, counts - 1)


def _check_classes(source: Source, name: str) -> None:
    names = source.class_names
    if len(names) < 2:
        found = ", ".join(names) or "none"
        raise DataError(f"{name}: classes found: {found}; at least 2 are needed")
    if source.y_test is None:
        parts, least = "training, validation and test", 3
    else:
        parts, least = "training and validation", 2
    counts = np.bincount(source.y, minlength=len(names))
    rarest = int(counts.argmin())
    if counts[rarest] < least:
        raise DataError(
            f"{name}: class {names[rarest]!r} has {counts[rarest]} example(s) to split into "
            f"{parts}; at least {least} are needed: add examples or leave the class out"
        )

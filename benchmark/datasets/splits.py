"""Fixed, seeded, stratified splits.

scikit-learn's `train_test_split` may leave a rare class without a validation example; here every
class gets at least one in every part, and the draw doesn't depend on that library's version.
Examples that belong together stay together, as in its `StratifiedGroupKFold`, which has folds of
equal size alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.datasets.dataset import Dataset, Labels, Measured, Pool, Source
from benchmark.datasets.examples import Examples
from benchmark.errors import DataError

TEST_SHARE = 0.2


def split(
    source: Source,
    name: str,
    *,
    seed: int,
    before: Measured | None = None,
    since: float = math.inf,
    novel: Mapping[str, Pool] | None = None,
) -> Dataset:
    """Split off the test part (20 %) and the validation part, where the data come without them.

    Raises DataError for fewer than two classes, and for a class with too few examples to be in
    every part that is split off, or whose groups are too few for that. A part that comes with the
    data may lack classes. `before` is what was found in the same data, `since` when reading them
    began. `novel` are classes that stay apart.
    """
    _check_classes(source, name)
    rng = np.random.default_rng(seed)
    x, y, train = source.x, source.y, np.arange(len(source.y))
    if source.x_test is None or source.y_test is None:
        test = _held_out(source, train, TEST_SHARE, name, rng)
        train = np.setdiff1d(train, test)
        x_test, y_test = x, y[test]
    else:
        x_test, test, y_test = source.x_test, np.arange(len(source.y_test)), source.y_test
    if source.x_validation is None or source.y_validation is None:
        validation = _held_out(source, train, source.validation, name, rng)
        train = np.setdiff1d(train, validation)
        x_validation, y_validation = x, y[validation]
    else:
        x_validation, y_validation = source.x_validation, source.y_validation
        validation = np.arange(len(y_validation))
    about = dict(source.about)
    if source.scale is not None:
        scale, told = source.scale(x[train])
        x, x_validation, x_test = scale(x), scale(x_validation), scale(x_test)
        about |= told
    return Dataset(
        name=name,
        x_train=Examples(x, train),
        y_train=y[train],
        x_validation=Examples(x_validation, validation),
        y_validation=y_validation,
        x_test=Examples(x_test, test),
        y_test=y_test,
        class_names=source.class_names,
        about=about,
        files=source.files,
        before=before,
        since=since,
        novel=novel or {},
    )


def _held_out(
    source: Source, rows: NDArray[np.int64], share: float, name: str, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Those of the rows that a part takes, in random order."""
    y, size = source.y[rows], round(share * len(rows))
    if source.groups is None:
        return rows[stratified(y, size, rng=rng)]
    taken = whole_groups(y, source.groups[rows], size, rng=rng)
    for label, called in enumerate(source.class_names):
        if len(set(taken[y == label])) < 2:
            raise DataError(
                f"{name}: the groups of class {called!r} can't be split into two parts that both "
                "have it; leave the groups out, or give the parts"
            )
    return rows[rng.permutation(np.flatnonzero(taken))]


def whole_groups(
    y: Labels, groups: NDArray[Any], size: int, *, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Whether each example is in a part of about `size` of whole groups, classes in proportion.

    Groups are gone through in random order: one is taken where that brings the counts of classes
    nearer to what is wanted, or as the smallest of a class that would be left out. The last of a
    class stays outside, if another can be taken.
    """
    _, group = np.unique(groups, return_inverse=True)
    held = np.zeros((group.max() + 1, y.max() + 1), np.int64)  # of each group, by class
    np.add.at(held, (group, y), 1)
    left = held.sum(axis=0)  # outside, by class
    wanted, taken = _allot(left, size), np.zeros(len(held), bool)
    missing = wanted.copy()

    def is_last(some: Any) -> Any:
        return ((held[some] > 0) & (held[some] == left)).any(axis=-1)

    for one in rng.permutation(len(held)):
        if np.abs(missing - held[one]).sum() < np.abs(missing).sum() and not is_last(one):
            taken[one], missing, left = True, missing - held[one], left - held[one]
    for label in np.flatnonzero(missing == wanted):
        those = np.flatnonzero(held[:, label])
        one = those[np.lexsort((held[those].sum(axis=1), is_last(those)))[0]]
        left = left - held[one] * ~taken[one]
        taken[one] = True
    found: NDArray[np.bool_] = taken[group]
    return found


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
    split_off = [
        part
        for part, there in (("validation", source.y_validation), ("test", source.y_test))
        if there is None
    ]
    parts, least = _listed(["training", *split_off]), 1 + len(split_off)
    counts = np.bincount(source.y, minlength=len(names))
    rarest = int(counts.argmin())
    if counts[rarest] < least:
        raise DataError(
            f"{name}: class {names[rarest]!r} has {counts[rarest]} example(s) to split into "
            f"{parts}; at least {least} are needed: add examples or leave the class out"
        )


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)

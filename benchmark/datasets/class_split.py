"""A split of classes as it was asked for, and the data that it leaves to train on."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmark import documents
from benchmark.datasets.classes import LEAST, PARTS, ClassSplit
from benchmark.datasets.dataset import Labels, Pool, Source
from benchmark.datasets.examples import Examples, Stored
from benchmark.errors import DataError, shortened
from defenses.errors import did_you_mean

# Of the classes, that a split by seed gives to validation, and as many to test.
_SHARE = 0.2
# Keeps this draw apart from others of the same seed.
_STREAM = 0xC1A5

# As it was given: a seed, a file, or the three lists.
Given = int | str | Mapping[str, Any]


def class_split(given: Given | ClassSplit, names: Sequence[str]) -> ClassSplit:
    """The split that was asked for, of the data set's classes.

    Args:
        given: a seed (60 %, 20 % and 20 % of the classes, drawn); the path of a YAML file with
            the lists train, validation and test; or these lists. An entry is a class's name or a
            pattern such as "Latin/*".
        names: of all classes.

    Raises:
        DataError: unknown or overlapping classes, too few of them, or a file that can't be read.
    """
    if isinstance(given, ClassSplit):
        given = given.record()
    if isinstance(given, str) and re.fullmatch(r"\d{1,9}", given.strip()):
        given = int(given)
    if isinstance(given, bool) or (isinstance(given, int) and given < 0):
        raise DataError(f"split {given} is no seed; give a whole number from 0 up, or a file")
    if isinstance(given, int):
        return _by_seed(given, names)
    lists: Any = given
    if isinstance(given, str):
        hint = f"a seed, or a YAML file with the lists {', '.join(PARTS)}"
        lists = documents.of_option("split", given, hint, DataError)
    if not isinstance(lists, Mapping) or sorted(lists) != sorted(PARTS):
        found = ", ".join(map(str, lists)) if isinstance(lists, Mapping) else shortened(lists)
        raise DataError(f"split must hold the lists {', '.join(PARTS)}; it holds {found}")
    return ClassSplit(**{part: _matching(part, lists[part], names) for part in PARTS})


def apply(split: ClassSplit, source: Source) -> tuple[Source, dict[str, Pool]]:
    """The source with the training classes alone, and a pool of the classes of each other part.

    Raises `DataError` for tables, and where a part that came with the data has none of the training
    classes.
    """
    base = {name: label for label, name in enumerate(split.train)}
    if source.scale is not None:
        raise DataError("split: the columns of tables are scaled by their rows; give images")
    rows, y = _of(base, source.y, source.class_names)
    groups = None if source.groups is None else source.groups[rows]
    held: dict[str, Any] = {"x": _some(source.x, rows), "y": y, "groups": groups}
    held["class_names"] = split.train
    for part in ("test", "validation"):
        x, labels = getattr(source, f"x_{part}"), getattr(source, f"y_{part}")
        if x is not None:
            rows, y = _of(base, labels, source.class_names)
            if not len(rows):
                raise DataError(
                    f"split: none of the training classes ({shortened(', '.join(split.train))}) "
                    f"is in the {part} part that the data came with; give another --split"
                )
            held |= {f"x_{part}": _some(x, rows), f"y_{part}": y}
    pools = {part: _pool(getattr(split, part), source) for part in PARTS[1:]}
    return replace(source, **held), pools


def _pool(names: Sequence[str], source: Source) -> Pool:
    """Supports of the training part and queries of the test part; of all where there is none."""
    places = {name: label for label, name in enumerate(names)}
    rows, y = _of(places, source.y, source.class_names)
    support = Examples(source.x, rows)
    if source.x_test is None or source.y_test is None:
        groups = None
        if source.groups is not None:
            groups = np.unique(source.groups[rows], return_inverse=True)[1].astype(np.int64)
        return Pool(tuple(names), support, y, support, y, shared=True, groups=groups)
    rows, y_query = _of(places, source.y_test, source.class_names)
    return Pool(tuple(names), support, y, Examples(source.x_test, rows), y_query, shared=False)


def _some(stored: Stored, rows: np.ndarray) -> Stored:
    """Some of what is stored, stored in the same way."""
    if isinstance(stored, np.ndarray):
        return stored[rows]
    some: Stored = stored.some(rows)  # type: ignore[attr-defined]  # Files
    return some


def _of(
    places: Mapping[str, int], y: Labels, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of some classes, and their labels in the order of `places`."""
    new = np.array([places.get(name, -1) for name in names], dtype=np.int64)[y]
    rows = np.flatnonzero(new >= 0)
    return rows, new[rows]


def _by_seed(seed: int, names: Sequence[str]) -> ClassSplit:
    if len(names) < 3 * LEAST:
        raise DataError(
            f"split: {len(names)} classes can't be divided into {', '.join(PARTS)}; "
            f"{3 * LEAST} are needed at least"
        )
    held_out = max(LEAST, round(_SHARE * len(names)))
    order = np.random.default_rng([seed, _STREAM]).permutation(len(names))
    ends = (len(names) - 2 * held_out, len(names) - held_out)
    parts = [tuple(names[place] for place in sorted(one)) for one in np.split(order, ends)]
    return ClassSplit(*parts)


def _matching(part: str, entries: Any, names: Sequence[str]) -> tuple[str, ...]:
    """The classes that the entries name, each once, in the order of the data set."""
    if not isinstance(entries, list | tuple) or not all(isinstance(e, str) for e in entries):
        raise DataError(
            f"split: {part} must be a list of class names, got {shortened(entries)}; quote numbers"
        )
    found = {name for entry in entries for name in _named(part, entry, names)}
    return tuple(name for name in names if name in found)


def _named(part: str, entry: str, names: Sequence[str]) -> Iterable[str]:
    if entry in names:
        return [entry]
    if matching := fnmatch.filter(names, entry):
        return matching
    raise DataError(f"split: {part} names an unknown class {entry!r}{did_you_mean(entry, names)}")

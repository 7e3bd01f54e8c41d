"""Tables from CSV files: a header, a column of labels, columns of numbers and of texts."""

from __future__ import annotations

import difflib
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.datasets.dataset import Labels, Request, Source
from benchmark.errors import DataError

# A text column with more values than this holds names or free text, and no categories.
MOST_VALUES = 100

# Training quantiles that become 0 and 1. Beyond them values are cut off, so that a few huge ones
# don't press all others together.
LOW, HIGH = 0.01, 0.99

_UNREADABLE = (OSError, UnicodeError, ValueError, pd.errors.ParserError, pd.errors.EmptyDataError)


def load(request: Request) -> Source:
    """The rows of FILE, or of train.csv and test.csv in it if it is a folder; (n, d).

    Columns of numbers are scaled: what the training rows have as quantiles LOW and HIGH becomes 0
    and 1 (their least and largest where these two are equal). A column of texts becomes a column of
    0 and 1 for each of its values, in order; a value that train.csv lacks is 0 in all of them. Rows
    without a label are left out. Each value of the label's column is a class, in rising order. A
    column of groups is no input; a row without a value in it is a group of its own.
    """
    assert request.path is not None
    train, test = _frames(request.path, request.name)
    label = _label(request, train)
    train, left_out = _labelled(train, label, request.name)
    train, groups = _grouped(train, request, label)
    classes = _classes(train[label], f"{request.name}: column {label!r}")
    inputs = train.drop(columns=label)
    _check(inputs, request.name)
    values = {
        str(column): sorted(map(str, inputs[column].unique()))
        for column in inputs
        if not _is_numeric(inputs[column])
    }
    _check_values(values, request.name)
    parts: dict[str, Any] = {}
    if test is not None:
        test, more = _labelled(test, label, request.name)
        left_out += more
        _check_alike(test, train, request.name)
        parts = {
            "x_test": _encoded(test[list(inputs)], values),
            "y_test": _codes(test[label], classes, request.name),
        }
    alone = 0 if groups is None else int((groups < 0).sum())
    about = {"rows_without_label": left_out, "rows_without_group": alone}
    return Source(
        _encoded(inputs, values),
        _codes(train[label], classes, request.name),
        classes,
        **parts,
        groups=groups,
        about={name: count for name, count in about.items() if count},
        files=[str(path) for path in _paths(request.path)],
        scale=lambda x: _scaling(x, list(map(str, inputs)), values),
    )


def _frames(path: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    first, *others = _paths(path)
    train = _read(first, name)
    # "01" is a number where no other text is in its column, and there may be others in train.csv
    texts = [c for c in train if pd.api.types.infer_dtype(train[c], skipna=True) == "string"]
    return train, _read(others[0], name, texts=texts) if others else None


def _paths(path: Path) -> list[Path]:
    return [path / "train.csv", path / "test.csv"] if os.path.isdir(path) else [path]


def _read(path: Path, name: str, *, texts: Sequence[Any] = ()) -> pd.DataFrame:
    """The table in a file; `texts` are columns whose cells are taken as they are written."""
    if not os.path.isfile(path):
        raise DataError(
            f"{name}: there is no file {path}; give csv:FILE, or a folder with train.csv "
            "and test.csv, or --data-dir with the folder that holds it"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # Else the first cells of rows that are longer than the header would name the rows
            frame = pd.read_csv(
                path, low_memory=False, index_col=False, dtype=dict.fromkeys(texts, str)
            )
    except pd.errors.ParserWarning as error:
        raise DataError(
            f"{name}: rows have more cells than the header has names; give every column a name"
        ) from error
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{name} is no table ({reason}); save it as CSV in UTF-8 with a header"
        ) from error
    if frame.empty:
        raise DataError(f"{name} has no rows below its header")
    return frame


def _label(request: Request, frame: pd.DataFrame) -> str:
    columns = list(map(str, frame))
    if request.label is None:
        raise DataError(
            f"{request.name}: which column holds the classes? give --label; there are "
            f"{_shown(columns)}"
        )
    _check_column(request.label, columns, request.name)
    if len(columns) < 2:
        raise DataError(f"{request.name} has no column beside the label")
    return request.label


def _shown(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - 8} more" if len(columns) > 8 else ""
    return ", ".join(columns[:8]) + more


def _check_column(column: str, columns: Sequence[str], name: str) -> None:
    if column not in columns:
        close = difflib.get_close_matches(column, columns, n=1)
        fix = f"did you mean {close[0]!r}?" if close else f"there are {_shown(columns)}"
        raise DataError(f"{name} has no column {column!r}; {fix}")


def _grouped(
    frame: pd.DataFrame, request: Request, label: str
) -> tuple[pd.DataFrame, NDArray[np.int64] | None]:
    """The rows without the column of groups, and each row's group, below 0 where it has none."""
    if request.group is None:
        return frame, None
    _check_column(request.group, list(map(str, frame)), request.name)
    if request.group == label:
        raise DataError(f"{request.name}: --group {label!r} is the column of --label; give another")
    if frame.shape[1] < 3:
        raise DataError(f"{request.name} has no column beside the label and the group")
    groups = pd.factorize(frame[request.group])[0].astype(np.int64)
    alone = groups < 0
    groups[alone] = -1 - np.arange(alone.sum())
    return frame.drop(columns=request.group), groups


def _labelled(frame: pd.DataFrame, label: str, name: str) -> tuple[pd.DataFrame, int]:
    """The rows that have a label, and how many have none."""
    if label not in frame:
        raise DataError(f"{name}: test.csv has no column {label!r}, which train.csv has")
    there = frame[label].notna()
    return frame[there], int((~there).sum())


def _classes(labels: pd.Series[Any], where: str) -> tuple[str, ...]:
    """Names of the classes in rising order of their values."""
    if pd.api.types.is_float_dtype(labels) and (labels % 1 != 0).any():
        raise DataError(
            f"{where} holds fractions, such as {labels[labels % 1 != 0].iloc[0]:.6g}; "
            "a label must be a whole number or a text"
        )
    return tuple(_named(value) for value in sorted(labels.unique()))


def _named(value: Any) -> str:
    """A label's name: 1.0, which an empty cell in its column makes of 1, is "1"."""
    return str(int(value)) if isinstance(value, float | np.floating) else str(value)


def _codes(labels: pd.Series[Any], classes: tuple[str, ...], name: str) -> Labels:
    places = {label: place for place, label in enumerate(classes)}
    named = [_named(value) for value in labels]
    foreign = next((label for label in named if label not in places), None)
    if foreign is not None:
        raise DataError(
            f"{name}: test.csv holds the label {foreign!r}, which train.csv lacks; every class "
            "must be in the training part"
        )
    return np.array([places[label] for label in named], np.int64)


def _check(frame: pd.DataFrame, name: str) -> None:
    """Refuses empty and infinite cells, and numbers whose differences are infinite."""
    for column in frame:
        values = frame[column]
        wrong = values.isna()
        if _is_numeric(values):
            numbers = values.to_numpy(np.float64, na_value=np.nan)
            wrong |= ~np.isfinite(numbers)
            low, high = float(numbers.min()), float(numbers.max())
            if not wrong.any() and math.isinf(high - low):
                raise DataError(
                    f"{name}: column {str(column)!r} ranges from {low:.6g} to {high:.6g}, too "
                    "far to be scaled; leave such rows out, or rescale it"
                )
        if wrong.any():
            row = cast(int, wrong.idxmax()) + 1
            raise DataError(
                f"{name}: column {str(column)!r} has {int(wrong.sum())} cells without a "
                f"finite value, the first in row {row} below the header; fill them in, or leave "
                "the rows or the column out"
            )


def _check_values(values: Mapping[str, list[str]], name: str) -> None:
    for column, found in values.items():
        if len(found) > MOST_VALUES:
            raise DataError(
                f"{name}: text column {column!r} has {len(found):,} values, at most {MOST_VALUES} "
                "can be told apart; leave it out, or save it as numbers"
            )


def _check_alike(test: pd.DataFrame, train: pd.DataFrame, name: str) -> None:
    lacking = [str(column) for column in train if column not in test]
    if lacking:
        raise DataError(f"{name}: test.csv has no column {lacking[0]!r}, which train.csv has")
    for column in train:
        if _is_numeric(train[column]) and not _is_numeric(test[column]):
            raise DataError(
                f"{name}: column {str(column)!r} holds numbers in train.csv and texts in test.csv"
            )
    _check(test[list(train)], name)


def _is_numeric(values: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_numeric_dtype(values))  # true and false are, too


def _encoded(frame: pd.DataFrame, values: Mapping[str, list[str]]) -> NDArray[np.float64]:
    """All columns as numbers, (n, d)."""
    columns = []
    for column in frame:
        if str(column) in values:
            text = frame[column].astype(str).to_numpy()
            columns.append(text[:, np.newaxis] == np.array(values[str(column)], object))
        else:
            columns.append(frame[column].to_numpy(np.float64)[:, np.newaxis])
    return np.concatenate(columns, axis=1, dtype=np.float64)


def _scaling(
    x: NDArray[np.float64], columns: list[str], values: Mapping[str, list[str]]
) -> tuple[Callable[[NDArray[np.float64]], NDArray[np.float32]], dict[str, Any]]:
    """What scales rows as the training rows `x` say, and what the record says of it."""
    low, high = np.quantile(x, [LOW, HIGH], axis=0)
    equal = low == high
    low, high = np.where(equal, x.min(axis=0), low), np.where(equal, x.max(axis=0), high)
    width = np.where(high > low, high - low, 1.0)  # a constant column is 0
    told: list[dict[str, Any]] = []
    place = 0
    for column in columns:
        if column in values:
            told.append({"name": column, "values": values[column]})
            low[place : place + len(values[column])] = 0.0
            width[place : place + len(values[column])] = 1.0
            place += len(values[column])
        else:
            told.append({"name": column, "low": float(low[place]), "high": float(high[place])})
            place += 1

    def scaled(rows: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.clip((rows - low) / width, 0, 1).astype(np.float32)

    return scaled, {"columns": told, "quantiles": [LOW, HIGH]}

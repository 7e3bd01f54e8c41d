"""Tables with a column of groups: no split parts the rows of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_tables import ROWS, frame, save, saved_parts

from benchmark import datasets
from benchmark.errors import DataError


def grouped(**changes: Any) -> pd.DataFrame:
    """20 senders of five rows each, with a kind of their own."""
    sender = np.arange(ROWS) // 5
    kinds = {"kind": [f"k{one}" for one in sender], "sender": [f"s{one}" for one in sender]}
    return frame(**(kinds | changes))


def kinds_of(part: Any) -> set[int]:
    """Behind two columns of numbers."""
    return set(part[:][:, 2:].argmax(axis=1).tolist())


def test_no_split_parts_rows_of_one_group(tmp_path: Path) -> None:
    name = save(tmp_path / "t.csv", grouped())
    data = datasets.load(name, label="class", group="sender")
    parts = [kinds_of(part) for part in (data.x_train, data.x_validation, data.x_test)]
    assert [bool(part) for part in parts] == [True] * 3
    assert sum(map(len, parts)) == 20
    assert data.input_shape == (22,)  # the group is no input
    other = datasets.load(save(tmp_path / "u.csv", grouped(sender=None)), label="class")
    assert kinds_of(other.x_train) & kinds_of(other.x_test)


def test_a_hundred_texts_can_be_told_apart(tmp_path: Path) -> None:
    table = frame(300, kind=[f"name {row % 100}" for row in range(300)])
    data = datasets.load(saved_parts(tmp_path, table, frame()), label="class")
    assert data.input_shape == (102,)


def test_one_column_beside_label_and_group_is_enough(tmp_path: Path) -> None:
    name = save(tmp_path / "t.csv", grouped()[["sender", "size", "class"]])
    assert datasets.load(name, label="class", group="sender").input_shape == (1,)


def test_rows_without_a_group_stand_for_themselves_and_are_told(tmp_path: Path) -> None:
    sender = [None if one < 40 else f"s{one // 5}" for one in range(ROWS)]
    name = save(tmp_path / "t.csv", frame(sender=sender, size=np.arange(ROWS)))
    data = datasets.load(name, label="class", group="sender")
    for part in (data.x_train, data.x_test):
        assert part[:][:, 0].min() < 0.3  # they are not one group, in one part
    assert data.about["rows_without_group"] == 40
    assert "rows_without_label" not in data.about
    assert f"rows of {name} without a group, each one of its own: 40" in data.notices()
    assert sum(map(len, (data.x_train, data.x_validation, data.x_test))) == ROWS


@pytest.mark.parametrize("there", [True, False])
def test_a_test_part_needs_no_groups(tmp_path: Path, there: bool) -> None:
    test = grouped().head(30) if there else grouped(sender=None).head(30)
    name = saved_parts(tmp_path, grouped(), test)
    data = datasets.load(name, label="class", group="sender")
    assert (data.x_test.shape, data.input_shape) == ((30, 22), (22,))


@pytest.mark.parametrize(
    ("group", "says"),
    [
        pytest.param("sende", "has no column 'sende'; did you mean 'sender'", id="misspelt"),
        pytest.param("class", "--group 'class' is the column of --label", id="the label"),
    ],
)
def test_a_bad_group_is_refused(tmp_path: Path, group: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        datasets.load(save(tmp_path / "t.csv", grouped()), label="class", group=group)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        pytest.param(grouped()[["sender", "class"]], "no column beside the label and", id="alone"),
        pytest.param(frame(sender=["one"] * ROWS), "the groups of class", id="one group"),
    ],
)
def test_groups_that_leave_nothing_are_refused(
    tmp_path: Path, table: pd.DataFrame, says: str
) -> None:
    name = save(tmp_path / "t.csv", table)
    with pytest.raises(DataError, match=says):
        datasets.load(name, label="class", group="sender")

"""Tables: how columns become numbers in [0, 1], and what bad ones are answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark import datasets
from benchmark.errors import DataError

ROWS = 100


def frame(rows: int = ROWS, **changes: Any) -> pd.DataFrame:
    """A sound table: two columns of numbers, one of texts, and the classes "no" and "yes"."""
    generator = np.random.default_rng(rows)
    sound = {
        "size": generator.integers(0, 4_290_000_000, rows),
        "share": generator.random(rows),
        "kind": np.array(["b", "a", "c"])[np.arange(rows) % 3],
        "class": np.array(["yes", "no"])[np.arange(rows) % 2],
    }
    return pd.DataFrame({k: v for k, v in (sound | changes).items() if v is not None})


def save(path: Path, table: pd.DataFrame) -> str:
    table.to_csv(path, index=False)
    return f"csv:{path}"


def saved_parts(folder: Path, train: pd.DataFrame, test: pd.DataFrame) -> str:
    save(folder / "train.csv", train)
    save(folder / "test.csv", test)
    return f"csv:{folder}"


def test_a_table_is_split_and_its_columns_lie_in_0_to_1(tmp_path: Path) -> None:
    data = datasets.load(save(tmp_path / "t.csv", frame()), label="class")
    assert data.class_names == ("no", "yes")
    assert [len(data.x_train), len(data.x_validation), len(data.x_test)] == [72, 8, 20]
    assert data.input_shape == (5,)
    x = data.x_train[:]
    assert (x.min(axis=0), x.max(axis=0)) == (pytest.approx(0), pytest.approx(1))


def test_quantiles_of_the_training_rows_become_0_and_1_and_are_told(tmp_path: Path) -> None:
    train, test = frame(), frame(30, share=np.linspace(-5, 5, 30))
    data = datasets.load(saved_parts(tmp_path, train, test), label="class")
    told = {column["name"]: column for column in data.about["columns"]}
    low, high = told["share"]["low"], told["share"]["high"]
    rows = data.x_train[:][:, 1].astype(np.float64) * (high - low) + low
    known = train["share"].clip(low, high).to_numpy()
    assert np.abs(rows[:, np.newaxis] - known).min(axis=1).max() < 1e-6
    # One row of 90 lies beyond each quantile.
    assert [(data.x_train[:][:, 1] == end).sum() for end in (0, 1)] == [1, 1]
    expected = np.clip((test["share"].to_numpy() - low) / (high - low), 0, 1)
    np.testing.assert_allclose(data.x_test[:][:, 1], expected, atol=1e-6)


def test_a_text_becomes_a_column_for_each_of_its_values(tmp_path: Path) -> None:
    test = frame(30, kind=["b", "new", "c"] * 10)
    data = datasets.load(saved_parts(tmp_path, frame(), test), label="class")
    assert data.about["columns"][2] == {"name": "kind", "values": ["a", "b", "c"]}
    np.testing.assert_array_equal(data.x_test[:3][:, 2:], [[0, 1, 0], [0, 0, 0], [0, 0, 1]])


def test_columns_of_the_test_part_go_by_their_names(tmp_path: Path) -> None:
    train, test = frame()[["kind", "size", "share", "class"]], frame(30)
    data = datasets.load(saved_parts(tmp_path, train, test), label="class")
    found = data.x_test[:]
    values, *numbers = data.about["columns"]
    assert [values["values"][place] for place in found[:, :3].argmax(axis=1)] == [*test["kind"]]
    for place, told in enumerate(numbers, 3):
        scaled = (test[told["name"]] - told["low"]) / (told["high"] - told["low"])
        np.testing.assert_allclose(found[:, place], np.clip(scaled, 0, 1), atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 1.0, 0.005], ids=["none", "all", "few"])
def test_a_text_is_0_or_1_however_many_training_rows_have_it(tmp_path: Path, share: float) -> None:
    """Numbers are scaled by what the training rows hold; a column of texts is not."""
    count = round(400 * share)
    table = frame(400, kind=["b"] * count + ["a"] * (400 - count))
    test = frame(30, kind=["a", "b"] * 15)
    data = datasets.load(saved_parts(tmp_path, table, test), label="class")
    values = data.about["columns"][2]["values"]
    found = data.x_test[:2][:, 2:].tolist()
    assert found == [[float(one == value) for value in values] for one in ("a", "b")]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        pytest.param(["01", "02", "x"], ["02", "01"], id="whole numbers"),
        pytest.param(["1.50", "2.0", "x"], ["2.0", "1.50"], id="fractions"),
        pytest.param(["TRUE", "FALSE", "x"], ["FALSE", "TRUE"], id="truths"),
    ],
)
def test_texts_of_the_test_part_are_taken_as_they_are_written(
    tmp_path: Path, train: list[str], test: list[str]
) -> None:
    """In test.csv alone they could be numbers."""
    parts = {"train": (train * 10, 30), "test": (test * 10, 20)}
    for name, (values, rows) in parts.items():
        save(tmp_path / f"{name}.csv", frame(rows, kind=values, **{"class": values}))
    data = datasets.load(f"csv:{tmp_path}", label="class")
    there = [data.class_names[label] for label in data.y_test]
    assert there[:2] == test
    kinds = data.about["columns"][2]["values"]
    assert [kinds[place] for place in data.x_test[:2][:, 2:].argmax(axis=1)] == test
    assert data.x_test[:][:, 2:].sum() == 20


def test_truths_beside_a_gap_are_the_same_classes_in_both_parts(tmp_path: Path) -> None:
    labels = ["TRUE", "FALSE"] * 15
    name = saved_parts(
        tmp_path, frame(31, **{"class": [*labels, None]}), frame(30, **{"class": labels})
    )
    assert datasets.load(name, label="class").class_names == ("False", "True")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        pytest.param([5] * 397 + [5.5] * 3, {0.0, 1.0}, id="rarely more"),
        pytest.param([5] * 397 + [3] * 3, {0.0, 1.0}, id="rarely less"),
        pytest.param([7.5] * 100, {0.0}, id="constant"),
        pytest.param([False, True] * 50, {0.0, 1.0}, id="false and true"),
    ],
)
def test_a_column_of_few_values_keeps_them(
    tmp_path: Path, column: list[Any], expected: set[float]
) -> None:
    table = frame(len(column), size=column)
    data = datasets.load(saved_parts(tmp_path, table, table), label="class")
    assert set(data.x_test[:][:, 0].tolist()) == expected


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        pytest.param([10, 9] * 50, ("9", "10"), id="numbers by value"),
        pytest.param([1.0, 0.0] * 49 + [None, 1.0], ("0", "1"), id="whole numbers beside a gap"),
        pytest.param([True, False] * 50, ("False", "True"), id="false and true"),
    ],
)
def test_classes_of_a_table_are_called(
    tmp_path: Path, labels: list[Any], names: tuple[str, ...]
) -> None:
    name = save(tmp_path / "t.csv", frame(**{"class": labels}))
    assert datasets.load(name, label="class").class_names == names


def test_rows_without_a_label_are_left_out_and_told(tmp_path: Path) -> None:
    table = frame()
    table.loc[3] = [None] * 4
    name = save(tmp_path / "t.csv", table)
    data = datasets.load(name, label="class")
    assert sum(map(len, (data.y_train, data.y_validation, data.y_test))) == ROWS - 1
    assert data.notices() == [f"rows of {name} without a label, left out: 1"]
    test = frame(30, **{"class": ["yes", None, "no"] * 10})
    both = datasets.load(saved_parts(tmp_path, table, test), label="class")
    assert len(both.y_test) == 20
    assert both.about["rows_without_label"] == 11
    assert "rows_without_group" not in both.about


def test_duplicates_between_training_and_test_are_told(tmp_path: Path) -> None:
    test = pd.concat([frame().head(4), frame(30).head(6)])
    data = datasets.load(saved_parts(tmp_path, frame(), test), label="class")
    assert data.record()["duplicates"] == {"test": 4}
    assert data.notices()[0].startswith("4 of 10 test examples")


BAD = [
    pytest.param(frame(), None, "which column .* --label; there are size, share", id="no label"),
    pytest.param(
        frame(**{f"c{number}": 1.0 for number in range(4)}),
        None,
        "there are size, share, kind, class, c0, c1, c2, c3$",
        id="no label of eight",
    ),
    pytest.param(
        frame(**{f"c{number}": 1.0 for number in range(6)}),
        None,
        "there are size, share, kind, class, c0, c1, c2, c3 and 2 more$",
        id="no label of ten",
    ),
    pytest.param(frame(), "clas", "has no column 'clas'; did you mean 'class'", id="misspelt"),
    pytest.param(frame(), "zzz", "has no column 'zzz'; there are size, share", id="no such column"),
    pytest.param(
        frame(share=[np.nan, *np.ones(99)]), "class", "'share' has 1 cells .* in row 1", id="NaN"
    ),
    pytest.param(
        frame(share=[1.0, np.inf] * 50), "class", "'share' has 50 cells .* row 2", id="infinity"
    ),
    pytest.param(
        frame(share=[1.7e308, -1.7e308] * 50),
        "class",
        r"'share' ranges from -1.7e\+308 to 1.7e\+308, too far",
        id="too far apart",
    ),
    pytest.param(
        frame(kind=["a", None] * 50), "class", "'kind' has 50 cells without", id="no text"
    ),
    pytest.param(
        frame(10_000, kind=[f"name {i}" for i in range(10_000)]),
        "class",
        "text column 'kind' has 10,000 values, at most 100",
        id="10,000 texts",
    ),
    pytest.param(frame(), "share", "holds fractions", id="label of fractions"),
    pytest.param(
        frame(share=[1.0, 2.0] * 49 + [1.0, 2.5]), "share", "such as 2.5;", id="one fraction"
    ),
    pytest.param(frame().head(0), "class", "has no rows", id="no rows"),
    pytest.param(frame(**{"class": ["x"] * ROWS}), "class", "at least 2", id="one class"),
    pytest.param(frame()[["class"]], "class", "no column beside", id="label alone"),
]


@pytest.mark.parametrize(("table", "label", "says"), BAD)
def test_a_bad_table_is_refused(
    tmp_path: Path, table: pd.DataFrame, label: str | None, says: str
) -> None:
    with pytest.raises(DataError, match=says) as caught:
        datasets.load(save(tmp_path / "t.csv", table), label=label)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("test", "says"),
    [
        pytest.param(
            frame(**{"class": ["yes", "maybe"] * 50}),
            "the label 'maybe', which train.csv lacks",
            id="label in test alone",
        ),
        pytest.param(frame(share=None), "test.csv has no column 'share'", id="column missing"),
        pytest.param(
            frame(**{"class": None}), "test.csv has no column 'class', which", id="no label"
        ),
        pytest.param(frame(size=["a", "b"] * 50), "'size' holds numbers in train", id="texts"),
        pytest.param(frame(share=[np.nan] * 100), "'share' has 100 cells", id="NaN"),
    ],
)
def test_a_bad_test_part_is_refused(tmp_path: Path, test: pd.DataFrame, says: str) -> None:
    name = saved_parts(tmp_path, frame(), test)
    with pytest.raises(DataError, match=says):
        datasets.load(name, label="class")


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\0binary", b'a,class\n"open,1\n'],
    ids=["empty", "binary", "open quote"],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"is no table|has no"):
        datasets.load(f"csv:{tmp_path / 't.csv'}", label="class")


def written(folder: Path, header: str, end: str = "") -> str:
    rows = [f"{row},{row % 7},{'ab'[row % 2]}{end}" for row in range(ROWS)]
    (folder / "t.csv").write_text("\n".join([header, *rows]))
    return f"csv:{folder / 't.csv'}"


def test_rows_longer_than_the_header_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="rows have more cells than the header has names"):
        datasets.load(written(tmp_path, "size,class"), label="class")


def test_a_comma_at_the_end_of_rows_moves_no_column(tmp_path: Path) -> None:
    data = datasets.load(written(tmp_path, "size,share,class", ","), label="class")
    assert data.class_names == ("a", "b")
    assert data.input_shape == (2,)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        datasets.load(f"csv:{tmp_path / 'none.csv'}", label="class")


@pytest.mark.parametrize("column", ["label", "group"])
def test_a_column_is_for_tables_alone(column: str) -> None:
    with pytest.raises(DataError, match=f"--{column} 'class' .* only csv:FILE has columns"):
        datasets.load("digits", **{column: "class"})

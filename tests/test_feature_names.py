"""Budgets of single features as people write them: names, positions, patterns, and mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark import datasets
from benchmark.datasets.features import feature_budgets, names, threat, weights
from benchmark.errors import ConfigError
from benchmark.results.records import ThreatConfig


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    """Two columns of numbers, one of three texts, and a class."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": generator.random(60),
            "amount": generator.random(60),
            "kind": np.array(["a", "b", "c"])[np.arange(60) % 3],
            "class": np.arange(60) % 2,
        }
    )
    path = tmp_path_factory.mktemp("data") / "t.csv"
    frame.to_csv(path, index=False)
    return datasets.load(f"csv:{path}", label="class")


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    """Four features without names."""
    generator = np.random.default_rng(0)
    x, y = generator.random((60, 4)).astype(np.float32), np.arange(60) % 2
    path = tmp_path_factory.mktemp("data") / "t.npz"
    np.savez(path, x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    return datasets.load(f"npz:{path}")


GIVEN: dict[str, tuple[dict[str, Any], dict[str, float] | None]] = {
    "a column": ({"immutable": ["age"]}, {"age": 0.0}),
    "a column of texts": ({"immutable": ["kind"]}, {"kind=a": 0, "kind=b": 0, "kind=c": 0}),
    "one of its values": ({"budget": {"kind=b": 0.5}}, {"kind=b": 0.5}),
    "a pattern": ({"immutable": ["a*"]}, {"age": 0, "amount": 0}),
    "a pattern, but for a name": (
        {"immutable": ["*"], "budget": {"amount": 1}},
        {"age": 0, "kind=a": 0, "kind=b": 0, "kind=c": 0},
    ),
    "both lists": ({"immutable": ["age"], "budget": {"amount": 2}}, {"age": 0, "amount": 2}),
    "budgets of eps alone": ({"budget": {"age": 1}}, None),
}


@pytest.mark.parametrize(("given", "expected"), GIVEN.values(), ids=GIVEN)
def test_names_become_the_weights_of_features(given, expected, table):
    assert feature_budgets(given, table) == expected


def test_weights_stand_in_the_order_of_the_inputs(table):
    assert names(table) == ["age", "amount", "kind=a", "kind=b", "kind=c"]
    assert weights({"amount": 0.5, "kind=b": 0.0}, table).tolist() == [1, 0.5, 1, 0, 1]
    assert threat("l2", 0.5, {"age": 0.0}, table).weights == (0, 1, 1, 1, 1)


def test_features_without_names_are_named_by_their_positions(arrays):
    given = {"immutable": [0], "budget": {"3": 2}}
    assert feature_budgets(given, arrays) == {"0": 0.0, "3": 2.0}


def test_a_file_holds_the_same(table, tmp_path: Path):
    path = tmp_path / "features.yaml"
    path.write_text("immutable: [age]\nbudget:\n  amount: 0.5\n")
    assert feature_budgets(str(path), table) == {"age": 0.0, "amount": 0.5}


WRONG: dict[str, tuple[Any, str]] = {
    "an unknown column": ({"immutable": ["agee"]}, "unknown column 'agee'; did you mean 'age'?"),
    "a pattern of none": ({"immutable": ["x*"]}, "unknown column 'x*'"),
    "an unknown list": ({"imutable": ["age"]}, "must hold immutable or budget"),
    "nothing": ({}, "it holds nothing"),
    "no list": ({"immutable": "age"}, "immutable must be a list, got 'age'"),
    "no mapping": ({"budget": ["age"]}, "budget must map names to numbers"),
    "a negative budget": ({"budget": {"age": -1}}, "the budget of 'age' is -1"),
    "a tiny budget": ({"budget": {"age": 1e-9}}, "0 or 0.0001 to 10000"),
    "a text": ({"budget": {"age": "much"}}, "the budget of 'age' is 'much'"),
    "twice": ({"immutable": ["age"], "budget": {"age": 2}}, "'age' is named twice"),
    "two patterns": ({"immutable": ["a*"], "budget": {"*e": 2}}, "'age' is named twice"),
    "everything": ({"immutable": ["*"]}, "every one is immutable"),
    "no file": ("missing.yaml", "can't be read"),
}


@pytest.mark.parametrize(("given", "told"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused_in_a_line(given, told, table):
    with pytest.raises(ConfigError) as error:
        feature_budgets(given, table)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_position_is_refused(arrays):
    with pytest.raises(ConfigError, match="'4' is no position"):
        feature_budgets({"immutable": [4]}, arrays)


TOLD: dict[str, tuple[dict[str, float] | None, str]] = {
    "none": (None, ""),
    "immutable ones": ({"a": 0.0, "b": 0.0}, "immutable a, b"),
    "others": ({"a": 0.0, "b": 0.5, "c": 2.0}, "immutable a; b ×0.5, c ×2"),
    "many": (
        {f"column {n}": n % 2 / 2 for n in range(30)},
        "15 immutable, 15 of other budgets; ",
    ),
}


@pytest.mark.parametrize(("budgets", "told"), TOLD.values(), ids=TOLD)
def test_budgets_are_told_in_short(budgets, told):
    assert ThreatConfig(norm="linf", eps=0.1, features=budgets).of_features.startswith(told)


def test_many_budgets_are_told_apart():
    many = {f"column {n}": 0.0 for n in range(30)}
    texts = {
        ThreatConfig(norm="linf", eps=0.1, features=one).of_features
        for one in (many, {**many, "column 3": 0.5}, {**many, "column 4": 0.5})
    }
    assert len(texts) == 3


def test_images_have_no_such_budgets():
    with pytest.raises(ConfigError, match="digits holds images; leave --features out"):
        feature_budgets({"immutable": ["0"]}, datasets.load("digits"))

"""Verification of attacks: what of them may come out otherwise on another machine, and what not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.verification import repeating
from benchmark.verification.attack import agrees
from benchmark.verification.comparison import Comparison, same


def test_a_prediction_may_round_otherwise():
    logits = np.array([[1.0, 1.0005, 0.0], [1.0, 1.1, 0.0]])
    assert agrees(logits, np.array([0, 0])).tolist() == [True, False]


def test_what_is_no_label_is_no_prediction():
    """Nor is it that of the last class, or of one behind it."""
    scores = np.array([[0.0, 1.0, 2.0]] * 3)
    assert agrees(scores, np.array([2, -1, 3])).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1, 1.0, True),
        (0.1 + 0.2, 0.3, True),
        (1, True, False),
        (0.5, 0.5001, False),
        ([1, 2], [1], False),
        ({"a": [1.0]}, {"a": [1]}, True),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        (None, 0, False),
        ("1", 1, False),
    ],
    ids=str,
)
def test_values_are_the_same_but_for_rounding_and_types_of_numbers(one, other, expected):
    assert same(one, other) is expected
    assert same(other, one) is expected


@pytest.mark.parametrize("size", [1e-5, 0.0])
def test_no_prediction_passes_where_all_scores_are_nearly_alike(size):
    scores = size * np.array([[3.0, 1.0, 2.0]] * 3)
    assert agrees(scores, np.array([0, 1, 2])).tolist() == [True, False, False]


def outcomes(count, *, broken=0, wrong=0):
    """Outcomes of so many examples, the first of which are broken, and the last not right."""
    place = np.arange(count)
    return {"success": place < broken, "clean_correct": place < count - wrong}


@pytest.mark.parametrize(
    ("told", "again", "text"),
    [
        (outcomes(500, broken=100), outcomes(500, broken=110), None),
        (outcomes(500, broken=110), outcomes(500, broken=90), None),
        (outcomes(500, broken=100), outcomes(500, broken=114), "too many for chance"),
        (outcomes(500, broken=100), outcomes(500, broken=130), "and 25 may"),
        (outcomes(500), outcomes(500, wrong=25), None),
        (outcomes(500), outcomes(500, wrong=26), "not as right as told"),
    ],
    ids=["few", "to its harm", "to its good", "many", "few wrong", "many wrong"],
)
def test_outcomes_of_another_machine_favour_nobody(told, again, text):
    found = Comparison()
    repeating._compare_roughly(told, again, found)
    assert bool(found.differs) is (text is not None)
    assert text is None or text in " ".join(found.differs)


AGAIN = {
    "examples": 100,
    "clean_accuracy": 0.9,
    "robust_accuracy": 0.5,
    "violations": {"budget": 0, "box": 0},
    "abstained": 10,
    "silent": 10,
    "forwards": 1000,
    "backwards": 1000,
}
# 5 of 100 examples may differ, and a quarter of the passes.
COUNTED = {
    "accuracy, within": ({"robust_accuracy": 0.55}, None),
    "accuracy, too high": ({"robust_accuracy": 0.56}, "robust_accuracy"),
    "accuracy, too low": ({"clean_accuracy": 0.84}, "clean_accuracy"),
    "count, within": ({"silent": 5}, None),
    "count, too low": ({"abstained": 4}, "abstained"),
    "count, too high": ({"silent": 16}, "silent"),
    "a part": ({"violations": {"budget": 0, "box": 6}}, "violations"),
    "a part is missing": ({"violations": {"budget": 0}}, "violations"),
    "passes, within": ({"forwards": 750, "backwards": 1250}, None),
    "passes, too few": ({"forwards": 749}, "forwards"),
    "passes, too many": ({"backwards": 1251}, "backwards"),
}


@pytest.mark.parametrize(("told", "name"), COUNTED.values(), ids=COUNTED)
def test_counts_of_another_machine_are_nearly_the_same(told, name):
    found = Comparison()
    repeating._compare_counts({**AGAIN, **told}, AGAIN, found)
    assert [one.split()[0] for one in found.differs] == ([] if name is None else [name])


@pytest.mark.parametrize(
    ("rows", "most"), [("chunk", 500), ("one", 50), ("all", 600)], ids=["many", "slow", "universal"]
)
def test_many_examples_are_attacked_again_in_part_unless_they_are_attacked_together(rows, most):
    entry = SimpleNamespace(rows=rows)
    spec = SimpleNamespace(entry=entry, examples=None)
    target = SimpleNamespace(index=np.arange(600), some=lambda _: np.ones(600, bool))
    found = [repeating._rows(spec, target) for _ in range(2)]
    assert [len(set(one)) for one in found] == [most, most]
    assert np.array_equal(*found) is (rows == "all")

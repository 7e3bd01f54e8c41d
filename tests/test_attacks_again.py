"""Verification of attacks: what of them may come out otherwise on another machine, and what not."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.verification import repeating
from benchmark.verification.attack import agrees
from benchmark.verification.comparison import Comparison


def test_a_prediction_may_round_otherwise():
    logits = np.array([[1.0, 1.0005, 0.0], [1.0, 1.1, 0.0]])
    assert agrees(logits, np.array([0, 0])).tolist() == [True, False]


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

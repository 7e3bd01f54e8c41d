"""What came of an attack, example by example: what it returned beside what it met on its way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmark.attacks.judging import Answers, Judge
from benchmark.attacks.outcomes import Generated, outcomes
from benchmark.attacks.target import Target

FOOLS, NOT = 0.6, 0.45  # of an example of 0.4, labelled 0, within 0.3
# What it returned and met, if anything, whether it ran to its end, the first query that met a
# success, and the next one; then whether it is broken, and by which query.
CASES = {
    "returned": (FOOLS, None, True, -1, 7, True, 7),
    "returned and met at once": (FOOLS, FOOLS, True, 1, 7, True, 1),
    "met and returned": (FOOLS, FOOLS, True, 3, 7, True, 3),
    "met alone": (NOT, FOOLS, True, 2, 7, True, 2),
    "met alone, and left there": (NOT, FOOLS, False, 2, 7, True, 2),
    "neither": (NOT, NOT, True, -1, 7, False, -1),
    "met, but judged otherwise": (NOT, NOT, True, 4, 7, False, -1),
}


def predict(x):
    above = x[:, 0] > 0.5
    return np.stack([~above, above], axis=1).astype(float)


ALL = tuple(CASES.values())


def found(told=predict, cases=ALL):
    """The outcomes of these examples on a model that says `told` once it was attacked."""
    returned, met, whole, first, next_query, *_ = map(list, zip(*cases, strict=True))
    count = len(cases)
    x, y = np.full((count, 1), 0.4, np.float32), np.zeros(count, np.int64)
    kept = np.array([[NOT if point is None else point] for point in met], np.float32)
    generated = Generated(
        rows=np.arange(count),
        x_adv=np.array(returned, np.float32)[:, None],
        kept=kept,
        has_kept=np.array([point is not None for point in met]),
        first_query=np.array(first),
        next_query=np.array(next_query),
        whole=np.array(whole),
    )
    judge = Judge(told, fresh=lambda: predict)
    target = Target(None, x, y, y.copy(), np.arange(count), judge=judge)
    attacked = np.ones(count, bool)
    return outcomes(target, generated, attacked=attacked, norm="linf", eps=0.3, seed=0)


@pytest.mark.parametrize("case", CASES)
def test_what_was_returned_or_met_breaks_an_example_at_its_query(case):
    *_, success, query = CASES[case]
    _, arrays = found()
    place = list(CASES).index(case)
    assert (arrays["success"][place], arrays["first_query"][place]) == (success, query)


def test_silent_are_successes_of_attacks_that_went_on_and_did_not_return_them():
    record, arrays = found()
    assert record["silent"] == 1
    assert record["robust_accuracy"] == (~arrays["success"]).mean()


@pytest.mark.parametrize(
    ("cases", "forgot"),
    [
        ([(FOOLS, None, True, -1, 7)] * 3, 3),
        ([(NOT, FOOLS, True, 2, 7)] * 3, 3),
        ([(FOOLS, None, True, -1, 7)] * 2 + [(NOT, FOOLS, True, 2, 7)], 2),
    ],
    ids=["returned", "met", "more returned"],
)
def test_points_of_which_the_attacked_model_says_otherwise_are_counted(cases, forgot):
    """It remembers the examples, and now answers for points near them as for these."""
    record, arrays = found(lambda x: predict(np.full_like(x, 0.4)), cases)
    assert record["forgot"] == forgot
    assert arrays["success"].all()


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        (50, 41, False),
        (50, 40, True),
        (40, 50, False),
        (25, 9, True),
        (25, 10, False),
        (0, 0, False),
    ],
)
def test_wrong_beyond_chance_is_what_fishers_exact_test_tells_at_one_in_a_thousand(
    before, after, worse
):
    """Of 50 draws each."""
    one, other = (Answers(np.zeros((1, 2)), np.array([n]), 50) for n in (before, after))
    p = stats.fisher_exact([[after, 50 - after], [before, 50 - before]], alternative="less").pvalue
    assert bool(other.worse_than(one)[0]) is worse is bool(p <= 1e-3)


def test_of_one_draw_nothing_is_told_beyond_chance():
    one = Answers(np.zeros((1, 2)), np.array([1]), 1)
    assert one.worse_than(one) is None

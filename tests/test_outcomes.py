"""What came of an attack, example by example: what it returned beside what it met on its way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmark.attacks.judging import Answers, Judge
from benchmark.attacks.measure import measure
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


class Drawn:
    """Right of a point in a share of its draws that the point tells: of ten, one after another."""

    def __init__(self):
        self.asked, self.right = -1, {0.4: 10, 0.6: 4, 0.45: 8, 0.65: 2}

    def __call__(self, x):
        self.asked += 1
        count = np.array([self.right[round(float(point), 2)] for point in x[:, 0]])
        wrong = count <= self.asked % 10
        return np.stack([~wrong, wrong], axis=1).astype(float)


@pytest.mark.parametrize(
    ("returned", "met", "share"),
    [(0.6, 0.65, 0.2), (0.65, 0.6, 0.2), (0.6, None, 0.4), (0.45, 0.65, 0.2), (0.45, 0.45, 0.8)],
)
def test_of_a_random_model_the_point_counts_that_fewer_draws_get_right(returned, met, share):
    """And only what was attacked: the second example is left as it is."""
    x, y = np.full((2, 1), 0.4, np.float32), np.zeros(2, np.int64)
    points = np.array([[returned]], np.float32), np.array([[met or 0.4]], np.float32)
    none = np.full(1, -1)
    kept = np.array([met is not None])
    generated = Generated(np.zeros(1, int), *points, kept, none, none, np.ones(1, bool))
    target = Target(
        None, x, y, y.copy(), np.arange(2), judge=Judge(Drawn(), draws=10),
        clean=Answers(np.zeros((2, 2)), np.array([10, 10]), 10),
    )  # fmt: skip
    attacked = np.array([True, False])
    record, arrays = outcomes(target, generated, attacked=attacked, norm="linf", eps=0.3, seed=0)
    assert arrays["right_share"].tolist() == [pytest.approx(share), 1]
    assert arrays["success"].tolist() == [share < 0.5, False]
    assert record["expected_accuracy"] == pytest.approx(share)
    assert record["robust_accuracy"] == (share > 0.5)
    assert record["clean_expected_accuracy"] == 1


# Distance of two points of an example of 0.1, labelled 0, within 0.3, and whether each is wrong.
BETTER = {
    "within, before what is right": ((0.2, True), (0.1, False), True),
    "within, before what is beyond": ((0.3, True), (0.5, True), True),
    "beyond, after what is within": ((0.5, True), (0.3, True), False),
    "beyond, before what is right and nearer": ((0.5, True), (0.0, False), True),
    "right and nearer, after what is beyond": ((0.1, False), (0.5, True), False),
    "right, before what is right": ((0.1, False), (0.2, False), False),
    "the nearer of two within": ((0.2, True), (0.25, True), True),
    "the nearer of two beyond": ((0.5, True), (0.6, True), True),
    "the same": ((0.2, True), (0.2, True), False),
}


@pytest.mark.parametrize(("one", "other", "better"), BETTER.values(), ids=BETTER)
def test_the_better_of_two_points_is_the_one_that_tells_more(one, other, better):
    """Also of points beyond the budget, of which curves are drawn."""

    def measured(distance, wrong):
        x, zero = np.full((1, 1), 0.1, np.float32), np.zeros(1, np.int64)
        logits = np.array([[0.0, 1.0] if wrong else [1.0, 0.0]])
        point = x + np.float32(distance)
        return measure(x, point, logits, clean_prediction=zero, label=zero, norm="linf", eps=0.3)

    assert bool(measured(*one).beats(measured(*other), "linf")[0]) is better

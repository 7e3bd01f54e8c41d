"""Each number of the statistics against one worked out by hand, or against another library."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from reports import paired, ranks
from reports.statistics import across_seeds, balanced, of_differences, wilson


def first(right: int, total: int) -> np.ndarray:
    """Outcomes of which the first are right."""
    return np.arange(total) < right


def test_wilson_of_an_example_worked_by_hand() -> None:
    # z² = 3.8415; centre (0.8 + 3.8415/20) / 1.38415 = 0.71674;
    # half width 1.96 * sqrt(0.8 * 0.2 / 10 + 3.8415/400) / 1.38415 = 0.22659
    assert wilson(8, 10) == pytest.approx((0.49016, 0.94332), abs=1e-5)


@pytest.mark.parametrize("trials", [7, 9, 100])
def test_wilson_reaches_the_end_where_all_agree(trials: int) -> None:
    """Not to a rounding short of it, which would leave the share itself outside."""
    assert (wilson(0, trials)[0], wilson(trials, trials)[1]) == (0.0, 1.0)


def test_across_seeds_tells_the_two_sources_of_variance_apart() -> None:
    # S = 2, n = 4, mean 3/8; sums of squares: all 15/8, seeds 1/8, examples 11/8, so the rest 3/8;
    # mean squares 1/8, 11/24, 1/8; between (1/8 - 1/8)/4; of an example (11/24 - 1/8)/2 = 1/6
    found = across_seeds([[True, True, False, False], [True, False, False, False]])

    assert found.mean == 3 / 8
    assert found.between == pytest.approx(0, abs=1e-12)
    assert found.within == pytest.approx((1 / 6 + 1 / 8) / 4)
    assert (found.seeds, found.examples) == (2, 4)


def test_across_equal_seeds_only_the_examples_count() -> None:
    # mean squares 0, 2/3, 0: of an example 1/3, of the mean 1/12, as if of 0.25 * 12 = 3 examples;
    # 3 degrees of freedom: t = 3.18245, q² = 10.1280; half width
    # 3.18245 * sqrt(0.25/3 + 10.1280/36) / (1 + 10.1280/3) = 0.43917
    found = across_seeds([[True, True, False, False]] * 2)

    assert (found.between, found.within) == (0, pytest.approx(1 / 12))
    assert (found.low, found.high) == pytest.approx((0.06083, 0.93917), abs=1e-5)


def test_across_equal_examples_only_the_seeds_count() -> None:
    # mean squares 4/2, 0, 0: between 1/2, of the mean 1/4, as if of one example; 1 degree of
    # freedom: t = 12.7062, q² = 161.447; half width 12.7062 * sqrt(1/4 + 161.447/4) / 162.447
    found = across_seeds([[True] * 4, [False] * 4])

    assert (found.between, found.within) == (pytest.approx(1 / 2), 0)
    assert (found.low, found.high) == pytest.approx((0.00154, 0.99846), abs=1e-5)


def test_no_variance_is_taken_for_negative() -> None:
    # S = 2, n = 3, mean 2/3; mean squares 0, 1/6, 1/2: between and of an example 0; of the mean
    # 1/2 / 2 / 3 = 1/12, as if of 8/3 examples; degrees of freedom of 0 + 1/6 - 1/2, at least 1/2:
    # (1/4) / (1/36 / 2 + 1/4 / 2) = 1.8, so t = 4.79488 and q² = 22.9909
    found = across_seeds([[True, False, True], [False, True, True]])

    assert (found.between, found.within) == (0, pytest.approx(1 / 6))
    assert (found.low, found.high) == pytest.approx((0.04676, 0.98789), abs=1e-5)


def test_equal_mean_squares_leave_nothing_to_the_seed() -> None:
    # Worked by hand, MS_seed and MS_rest are 1/60 both; in floats their difference is 3e-18
    right = np.ones((3, 20), dtype=bool)
    right[:, :2] = right[1:, 2] = False
    found = across_seeds(right)
    assert found.mean == pytest.approx(52 / 60)
    assert found.between == 0.0


def test_across_seeds_of_one_seed_is_wilson() -> None:
    found = across_seeds([first(8, 10)])

    assert (found.low, found.high) == wilson(8, 10)
    assert found.between is None
    assert found.within == pytest.approx(0.8 * 0.2 / 9)


def test_shares_of_one_episode_are_not_rounded() -> None:
    found = across_seeds([[0.4], [0.3], [0.2]])

    assert found.mean == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx(wilson(0.3, 1))
    assert 0 < found.low < 0.3 < found.high < 1


@pytest.mark.parametrize("right", [True, False])
def test_across_seeds_without_any_variance_is_still_not_certain(right: bool) -> None:
    found = across_seeds(np.full((3, 100), right))

    assert (found.low, found.high) == pytest.approx(wilson(100 * right, 100))


def test_across_seeds_covers_the_truth() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        ability = random.normal(0, 0.5, (4, 1))
        easiness = random.normal(1, 1.5, (1, 200))
        found = across_seeds(random.random((4, 200)) < stats.norm.cdf(ability + easiness))
        truth = stats.norm.cdf(1 / np.sqrt(1 + 0.5**2 + 1.5**2))
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / 300 <= 0.99


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3,)])
def test_across_seeds_refuses_what_is_no_table(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="outcomes must be"):
        across_seeds(np.zeros(shape, dtype=bool))


def test_mcnemar_of_an_example_worked_by_hand() -> None:
    a, b = [True] * 8 + [False] + [True] * 3, [False] * 8 + [True] + [True] * 3

    there, back = (paired.compare(*both, comparisons=1) for both in ((a, b), (b, a)))

    assert (there.only_first, there.only_second) == (8, 1)
    assert there.p == back.p == pytest.approx(2 * (1 + 9) / 2**9)
    assert paired.compare(a, b, comparisons=3).p == pytest.approx(3 * 2 * (1 + 9) / 2**9)


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (5, 5), (3, 4)])
def test_mcnemar_of_equal_ones_is_one(better: int, worse: int) -> None:
    assert paired.mcnemar_counts(np.array([better]), np.array([worse]))[0] == pytest.approx(1)


def test_mcnemar_agrees_with_the_binomial_test() -> None:
    pairs = [(better, worse) for better in range(12) for worse in range(12) if better + worse]
    found = paired.mcnemar_counts(*np.array(pairs).T)

    expected = [stats.binomtest(better, better + worse).pvalue for better, worse in pairs]
    assert found == pytest.approx(expected)


def differences(better: int, worse: int, n: int, comparisons: int = 1) -> tuple[float, ...]:
    found = paired.differences(
        np.array([better]), np.array([worse]), examples=n, comparisons=comparisons
    )
    return tuple(float(one[0]) for one in (found.difference, found.low, found.high, found.p))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # t of 10 out of 10 is at least 0.025**(1/10) = 0.69150; s of 10 out of 40 is within
        # 0.12691 to 0.41196: low (2 * 0.69150 - 1) * 0.12691, high (2 * 1 - 1) * 0.41196
        ((10, 0, 40), (0.25, 0.04861, 0.41196)),
        # nothing is discordant: s of 0 out of 10 is at most 1 - 0.025**(1/10) = 0.30850
        ((0, 0, 10), (0.0, -0.30850, 0.30850)),
        # t and s of 10 out of 10: (2 * 0.69150 - 1) * 0.69150
        ((10, 0, 10), (1.0, 0.26485, 1.0)),
    ],
    ids=["some better", "all equal", "all better"],
)
def test_the_interval_of_a_difference_worked_by_hand(
    counts: tuple[int, int, int], expected: tuple[float, float, float]
) -> None:
    assert differences(*counts)[:3] == pytest.approx(expected, abs=1e-5)


def test_no_p_value_is_above_1_once_it_is_corrected() -> None:
    assert differences(3, 4, 40, comparisons=10)[3] == 1


def test_both_parts_of_an_interval_are_corrected_for_the_family() -> None:
    level = 0.05 / 3
    share = stats.binomtest(10, 40).proportion_ci(1 - level, "exact")
    least = 2 * (level / 2) ** (1 / 10) - 1

    found = differences(10, 0, 40, comparisons=3)

    assert found[1:3] == pytest.approx((least * share.low, share.high))


def test_the_interval_excludes_0_exactly_where_the_test_tells_two_apart() -> None:
    random = np.random.default_rng(0)
    told = set()
    for _ in range(300):
        n, comparisons = int(random.integers(1, 1000)), int(random.choice([1, 3, 45, 5000]))
        shares = random.dirichlet([1, 1, random.choice([1, 20])], size=40)
        better, worse, _ = np.array([random.multinomial(n, one) for one in shares]).T
        found = paired.differences(better, worse, examples=n, comparisons=comparisons)
        apart, excluded = found.p <= paired.LEVEL, (found.low > 0) | (found.high < 0)
        assert np.array_equal(apart, excluded)
        assert ((found.low <= found.difference) & (found.difference <= found.high)).all()
        assert ((found.low >= -1) & (found.high <= 1)).all()
        told |= set(apart.tolist())
    assert told == {True, False}


@pytest.mark.parametrize("shares", [(0.05, 0.05), (0.2, 0.1), (0.01, 0.0), (0.6, 0.01)], ids=str)
def test_the_interval_of_a_difference_covers_the_truth(shares: tuple[float, float]) -> None:
    draws = np.random.default_rng(1).multinomial(200, [*shares, 1 - sum(shares)], size=4000)
    found = paired.differences(draws[:, 0], draws[:, 1], examples=200, comparisons=1)
    truth = shares[0] - shares[1]

    assert ((found.low <= truth) & (truth <= found.high)).mean() >= 0.95


@pytest.mark.parametrize(("rows", "expected"), [(0, 1), (1, 1), (2, 1), (3, 3), (10, 45)])
def test_the_family_is_all_pairs(rows: int, expected: int) -> None:
    assert paired.pairs(rows) == expected


@pytest.mark.parametrize(
    ("a", "b"), [([True], [True, False]), ([], []), ([[True]], [[True]])], ids=str
)
def test_unequal_examples_are_no_pairs(a: list[bool], b: list[bool]) -> None:
    with pytest.raises(ValueError, match="outcomes must be pairs"):
        paired.compare(a, b, comparisons=1)


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        # pairs of neighbours differ in 6 examples: p = 2/2**6, times 2 is above 0.05;
        # the first and the third in 12: 3 * 2/2**12
        ([30, 24, 18], [1, 1, 2]),
        # 5 discordant examples never suffice: 2/2**5 = 0.0625
        ([30, 25], [1, 1]),
        ([30, 24], [1, 2]),
        ([18, 30, 30], [3, 1, 1]),
        ([0, 0], [1, 1]),
        ([7], [1]),
        ([], []),
    ],
    ids=str,
)
def test_ranks_tie_where_the_data_cannot_tell(right: list[int], expected: list[int]) -> None:
    assert ranks.with_ties([first(count, 40) for count in right]) == expected


@pytest.mark.parametrize(("comparisons", "expected"), [(None, [1, 2]), (2, [1, 1])], ids=str)
def test_ranks_are_corrected_for_the_family_that_is_given(
    comparisons: int | None, expected: list[int]
) -> None:
    rows = [first(count, 40) for count in (30, 24)]  # p = 2/2**6
    assert ranks.with_ties(rows, comparisons=comparisons) == expected


def test_no_row_ranks_below_a_less_accurate_one() -> None:
    best = np.arange(60) < 40
    nested = np.arange(60) < 30  # 10 discordant examples, all on one side: told apart
    scattered = (np.arange(60) < 9) | (np.arange(60) >= 40)  # 29 right; 31 against 20: not

    assert ranks.with_ties([best, nested, scattered]) == [1, 1, 1]


def test_ranks_agree_with_the_tests_pair_by_pair() -> None:
    random = np.random.default_rng(2)
    rows = [random.random(150) < share for share in np.linspace(0.5, 0.9, 6)]
    above = [0] * 6
    for i, j in itertools.combinations(range(6), 2):
        if paired.compare(rows[i], rows[j], comparisons=15).told_apart:
            above[i if rows[i].sum() < rows[j].sum() else j] += 1
    found = ranks.with_ties(rows)

    assert len(set(found)) > 1
    assert found == [
        min(1 + above[j] for j in range(6) if rows[j].sum() <= rows[i].sum()) for i in range(6)
    ]


@pytest.mark.parametrize("rows", [[[True], [True, False]], [[], []]], ids=str)
def test_ranks_refuse_unequal_examples(rows: list[list[bool]]) -> None:
    with pytest.raises(ValueError, match="of the same examples"):
        ranks.with_ties(rows)


def test_balanced_accuracy_is_the_mean_over_the_classes() -> None:
    right = np.array([True, True, True, False, False, True])
    assert balanced(right, np.array([0, 0, 0, 0, 7, 7])) == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_even_classes_need_no_balanced_accuracy() -> None:
    assert balanced(np.ones(5, bool), np.array([0, 0, 0, 1, 1])) is not None
    assert balanced(np.ones(4, bool), np.array([0, 0, 1, 1])) is None


def test_differences_of_one_seed_have_students_interval():
    values = np.random.default_rng(0).uniform(-0.5, 0.7, (1, 12))
    expected = stats.ttest_1samp(values[0], 0).confidence_interval(0.99)
    assert of_differences(values, confidence=0.99) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("sign", [1, -1])
def test_differences_of_one_seed_stay_within_what_shares_can_differ_by(sign):
    low, high = sorted(sign * end for end in of_differences(sign * np.array([[1.0, 1.0, 0.2]])))
    assert -0.5 < low < 0.1
    assert high == 1


def test_differences_over_seeds_are_turned_about_zero():
    values = np.random.default_rng(1).uniform(-0.5, 0.7, (3, 12))
    low, high = of_differences(values)
    assert low < values.mean() < high
    assert of_differences(-values) == pytest.approx((-high, -low))


@pytest.mark.parametrize("seeds", [1, 3])
def test_two_that_answer_alike_differ_by_0(seeds):
    assert of_differences(np.zeros((seeds, 12))) == (0.0, 0.0)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("value", [0.5, -1.0, 0.04])
def test_an_equal_difference_everywhere_keeps_an_interval(value, seeds):
    """Few values agree by chance; 0.04 has a standard deviation above 0 by its rounding."""
    low, high = of_differences(np.full((seeds, 5), value))
    assert low <= value <= high
    assert high - low > 0.1


def test_intervals_of_few_seeds_hold_at_any_confidence():
    values = np.stack([np.full(10, 0.2), np.full(10, 0.6)])
    found = across_seeds(values, confidence=0.9999)
    assert 0 <= found.low < 0.01
    assert 0.99 < found.high <= 1

"""What comes of episodes: areas, intervals, differences, and the rate and steps that are chosen."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmark.metatest.protocol import PRESETS
from benchmark.metatest.summary import area, difference, share
from benchmark.metatest.tuning import choose
from defenses.cost import Cost

CHOICES = dataclasses.replace(PRESETS["brief"], shots=(0, 2, 4), steps=(0, 1, 3), rates=(0.1, 0.5))


def test_the_area_is_that_of_the_trapezoids():
    # (0.2 + 0.4) / 2 over 1 step, then 0.4 over 4: 1.9 of 5
    assert area(np.array([0.2, 0.4, 0.4]), (0, 1, 5)) == pytest.approx(0.38)
    assert area(np.array([[1.0, 1.0], [0.0, 1.0]]), (0, 20)) == pytest.approx([1.0, 0.5])


def test_the_interval_of_shares_is_that_worked_by_hand():
    # 0.4 and 0.6: s^2 / 2 = 0.01, as of 0.25 / 0.01 = 25 queries; Student's quantile for 1 degree
    # of freedom is 12.706, so z^2 / n = 6.458 and reach = sqrt(6.458 (0.25 + 6.458 / 4)) / 7.458
    found = share(np.array([0.4, 0.6]), queries=100)
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.0347, 0.9653), abs=1e-4)


def test_episodes_that_agree_claim_no_more_than_their_queries():
    # as of 2 x 10 = 20 queries: z^2 / n = 8.072, so 8.072 / 9.072 at the upper end
    found = share(np.array([0.0, 0.0]), queries=10)
    assert (found.mean, found.low, found.high) == pytest.approx((0, 0, 0.8898), abs=1e-4)


def test_episodes_that_nearly_agree_claim_no_more_than_their_queries():
    # s^2 / 2 = 0.0025, as of 0.2475 / 0.0025 = 99 queries, but there were 20: z^2 / n = 8.072,
    # centre 4.486 / 9.072 and reach sqrt(8.072 (0.2475 + 8.072 / 4)) / 9.072 = 0.4714
    found = share(np.array([0.4, 0.5]), queries=10)
    assert (found.mean, found.low, found.high) == pytest.approx((0.45, 0.0231, 0.9659), abs=1e-4)


def test_the_interval_of_differences_is_students():
    # s = 0.1, quantile for 2 degrees of freedom 4.3027: 4.3027 x 0.1 / sqrt(3) = 0.2484
    found = difference(np.array([-0.1, -0.2, -0.3]))
    assert (found.mean, found.low, found.high) == pytest.approx((-0.2, -0.4484, 0.0484), abs=1e-4)


def test_differences_that_agree_by_chance_tell_nothing_and_none_is_no_difference():
    agreed, none = difference(np.full(3, 0.04)), difference(np.zeros(3))
    assert (agreed.low, agreed.high) == (-1.0, 1.0)
    assert (none.low, none.high) == (0.0, 0.0)


def test_the_best_curve_gives_the_rate_and_its_peak_the_steps():
    accuracy = np.zeros((2, 3, 3))
    accuracy[0, 1:] = [0.5, 0.6, 0.5]
    accuracy[1, 1:] = [0.5, 0.9, 0.9]
    accuracy[0, 0] = 1  # n = 0 has no part in it
    chosen = choose(CHOICES, accuracy, Cost())
    assert (chosen.rate, chosen.steps) == (0.5, 1)
    none = choose(CHOICES, np.full((2, 3, 3), 0.3), Cost())
    assert (none.rate, none.steps) == (0.1, 0)
    accuracy[0, 1:] = [0.9, 0.2, 0.2]  # the other rate's peak has none either
    assert choose(CHOICES, accuracy, Cost()).steps == 1

"""How many examples tell two models apart, against hand-worked numbers and drawn models."""

from __future__ import annotations

import numpy as np
import pytest

from reports import paired, power


def test_examples_for_two_points_worked_by_hand() -> None:
    # (1.95996 * sqrt(0.1) + 0.84162 * sqrt(0.1 - 0.0004))^2 / 0.0004 = 0.783897 / 0.0004
    assert power.examples_for(0.02, rows=2) == 1960


@pytest.mark.parametrize("rows", [2, 5, 30])
@pytest.mark.parametrize("difference", [0.01, 0.02, 0.05])
def test_the_least_difference_is_the_inverse(difference: float, rows: int) -> None:
    examples = power.examples_for(difference, rows=rows)

    assert power.told_from(examples, rows=rows) == pytest.approx(difference, rel=1e-3)


def test_more_rows_take_more_examples_and_fewer_tell_less() -> None:
    assert power.examples_for(0.02, rows=10) > power.examples_for(0.02, rows=2)
    assert power.told_from(100, rows=2) > power.told_from(1000, rows=2)
    assert power.told_from(5, rows=2) == power.DISCORDANT


@pytest.mark.parametrize("rows", [2, 6])
def test_models_that_differ_so_much_are_told_apart_so_often(rows: int) -> None:
    difference = 0.03
    examples = power.examples_for(difference, rows=rows)
    random = np.random.default_rng(0)
    better, worse = (power.DISCORDANT + difference) / 2, (power.DISCORDANT - difference) / 2
    drawn = random.multinomial(examples, [better, worse, 1 - power.DISCORDANT], size=4000)
    found = paired.differences(
        drawn[:, 0], drawn[:, 1], examples=examples, comparisons=paired.pairs(rows)
    )

    # The exact test is a little more careful than the normal approximation.
    assert power.POWER - 0.05 <= (found.p <= paired.LEVEL).mean() <= power.POWER + 0.02


@pytest.mark.parametrize(
    ("examples", "rows", "told"),
    [
        (1000, 2, "1,000 tell two models apart from 2.8% on, and 2 points take 1,960"),
        (1000, 4, "1,000 tell two of 4 models apart from 3.5% on"),
        (10, 2, "10 tell no two models apart, and 2 points take 1,960"),
    ],
)
def test_it_is_said_in_a_line(examples: int, rows: int, told: str) -> None:
    condition = "where only one of two models is right on 10% of the examples, "
    assert power.sentence(examples, rows=rows).startswith(condition + told)

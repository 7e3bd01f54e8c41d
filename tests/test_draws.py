"""Which examples are attacked, and when a model seems to guess on them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import datasets
from benchmark.datasets import splits
from benchmark.external.trial import is_near_chance


@pytest.mark.parametrize(
    ("counts", "size"),
    [
        ([10] * 10, 3),
        ([1] * 10, 5),
        ([1] * 10, 9),
        ([1000, 2], 100),
        ([2, 2], 3),
        ([5, 0, 1, 90], 2),
        ([5, 0, 1, 90], 95),
        ([40, 40, 40], 100),
    ],
    ids=str,
)
def test_exactly_as_many_examples_are_drawn_as_were_asked_for(counts: list[int], size: int) -> None:
    y = np.repeat(np.arange(len(counts)), counts)
    drawn = splits.draw(y, size, np.random.default_rng(0))
    assert len(drawn) == len(set(drawn.tolist())) == size


def test_a_draw_of_fewer_examples_than_classes_leaves_none_out_for_good() -> None:
    y = np.repeat(np.arange(10), 10)
    met = {int(y[i]) for seed in range(40) for i in splits.draw(y, 2, np.random.default_rng(seed))}
    assert met == set(range(10))


@pytest.mark.parametrize("size", [10, 100, 340])
def test_a_draw_that_was_exact_before_is_the_same(size: int) -> None:
    digits = datasets.load("digits")
    part = splits.stratified(digits.y_test, size, rng=np.random.default_rng(0))
    assert len(part) == size
    assert splits.draw(digits.y_test, size, np.random.default_rng(0)).tolist() == part.tolist()


@pytest.mark.parametrize(
    ("accuracy", "classes", "near"),
    [
        (1.0, 2, False),
        (0.72, 2, False),
        (0.55, 2, True),
        (0.45, 3, False),
        (0.2, 10, True),
        (0.22, 10, False),
        (0.002, 1000, True),
        (0.11, 1000, False),
    ],
)
def test_a_model_is_told_from_one_that_guesses(accuracy: float, classes: int, near: bool) -> None:
    assert is_near_chance(accuracy, classes) == near

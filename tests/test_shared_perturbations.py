"""Perturbations that all examples share: which way they go, and where patches may lie."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.metatest.attacks import Attacker

EPS, SHAPE = 0.1, (6, 8, 1)


class Sloped:
    """A model whose loss of each example has one slope in all of its values."""

    def __init__(self, slopes):
        self.slopes = np.reshape(slopes, (-1, 1, 1, 1))

    def logits(self, x):
        return np.zeros((len(x), 3))

    def input_gradient(self, x, y, *, scale):
        return self.slopes * np.ones_like(x)


def attacked(name, slopes):
    """What becomes of grey images, and where each may have been changed."""
    attacker = Attacker.within({"linf": EPS}, name, SHAPE, steps=10)
    x = np.full((len(slopes), *SHAPE), 0.5, np.float32)
    draw = attacker.draw(np.random.default_rng(0), x.shape)
    found, given_up = attacker.perturb(Sloped(slopes), x, np.zeros(len(x), int), draw)
    assert not given_up.any()
    return found, draw


# Each is led the way of the sum, whatever the first, the last or most of them would have
SLOPES = {"up": [-2.0, 7.0, -1.0, np.nan, -1.0], "down": [2.0, -7.0, 1.0, np.inf, 1.0]}


@pytest.mark.parametrize("way", SLOPES)
def test_a_universal_perturbation_goes_up_the_sum_of_losses(way):
    found, _ = attacked("universal", SLOPES[way])
    assert found == pytest.approx(np.full_like(found, 0.6 if way == "up" else 0.4))


@pytest.mark.parametrize("way", SLOPES)
def test_a_patch_goes_up_the_sum_of_losses_at_its_places(way):
    found, draw = attacked("patch", SLOPES[way])
    side = len(draw["start"])
    assert side == 2
    for image, row, column in zip(found, draw["rows"], draw["columns"], strict=True):
        expected = np.full(SHAPE, 0.5, np.float32)
        expected[row : row + side, column : column + side] = way == "up"
        assert image == pytest.approx(expected)


def test_a_patch_may_lie_anywhere_in_an_image():
    attacker = Attacker.within({}, "patch", SHAPE, steps=1)
    draw = SimpleNamespace(**attacker.draw(np.random.default_rng(0), (300, *SHAPE)))
    assert set(draw.rows) == set(range(5))
    assert set(draw.columns) == set(range(7))

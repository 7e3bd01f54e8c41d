"""Norms, distances and projections of attacks and of what measures them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.attacks.geometry import (
    ORDERS,
    distances,
    in_box,
    is_within,
    lengths,
    limit,
    onto_ball,
    spread,
)

ROWS = np.random.default_rng(0).normal(size=(6, 20))
NORMS = ("linf", "l2", "l1")


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("kind", "rounding"), [(np.float32, 1e-6), (np.float64, 0)])
def test_lengths_are_the_norms_in_the_type_of_the_rows(norm, kind, rounding):
    found = lengths(ROWS.astype(kind), norm)

    assert found.dtype == kind
    np.testing.assert_allclose(found, np.linalg.norm(ROWS, ORDERS[norm], axis=1), rtol=rounding)


@pytest.mark.parametrize(
    ("norm", "far"), [("linf", 0.5), ("l2", np.sqrt(0.26)), ("l1", 0.6), ("l0", 2)]
)
def test_distances_are_float64_and_l0_counts_no_rounding(norm, far):
    x = np.full((1, 4), 0.25, dtype=np.float32)
    points = x + np.array([[0.5, -0.1, 1e-7, 0]], dtype=np.float32)

    found = distances(points, x, norm)

    assert found.dtype == np.float64
    assert found == pytest.approx(far, abs=1e-6)


def test_what_is_no_number_is_no_change_under_l0():
    assert distances(np.array([[np.nan, 1.0]]), np.zeros((1, 2)), "l0") == 1


@pytest.mark.parametrize(
    ("value", "inside"), [(0, True), (1, True), (-1e-7, False), (1 + 1e-7, False), (np.nan, False)]
)
def test_what_is_no_number_is_not_in_the_box(value, inside):
    assert in_box(np.array([[0.5, value]])) == inside


@pytest.mark.parametrize("norm", ["linf", ""])
def test_what_is_within_is_in_the_box_and_in_the_budget_of_a_norm(norm):
    x = np.full((4, 1, 1, 2), 0.95)
    points = x + np.array([0.04, 0.06, np.nan, -0.2]).reshape(-1, 1, 1, 1)
    assert is_within(points, x, norm, 0.1).tolist() == [True, False, False, not norm]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [0.3, 0.5 / 255, 1e-5])
def test_float32_rounding_at_the_edge_is_within_the_limit_and_nothing_further(norm, eps):
    x = np.random.default_rng(2).random((50, 192), dtype=np.float32)
    change = np.sign(0.5 - x) / {"linf": 1, "l2": 192**0.5, "l1": 192}[norm]
    most = limit(norm, eps, 192)

    assert (distances(x + np.float32(eps) * change, x, norm) <= most).all()
    beyond = np.float32(eps + 2 * (most - eps))
    assert (distances(x + beyond * change, x, norm) > most).all()


@pytest.mark.parametrize("norm", NORMS)
def test_no_point_of_the_ball_is_nearer_than_the_projection(norm):
    generator = np.random.default_rng(1)
    found = onto_ball(ROWS, norm, 1.5)

    assert (lengths(found, norm) <= 1.5 + 1e-12).all()
    for _ in range(200):
        other = onto_ball(found + generator.normal(scale=0.05, size=found.shape), norm, 1.5)
        assert (lengths(ROWS - found, "l2") <= lengths(ROWS - other, "l2") + 1e-12).all()
    np.testing.assert_array_equal(onto_ball(ROWS / 100, norm, 1.5), ROWS / 100)


@pytest.mark.parametrize("norm", [*NORMS, "l0"])
def test_each_row_is_projected_onto_a_ball_of_its_own(norm):
    eps = np.array([0.0, 0.5, 1.0, 2.5, 4.0, np.inf])
    found = onto_ball(ROWS, norm, eps[:, np.newaxis])

    for row, own in enumerate(eps[:-1]):
        np.testing.assert_array_equal(found[[row]], onto_ball(ROWS[[row]], norm, own))
    np.testing.assert_array_equal(found[-1], ROWS[-1])


def test_the_projection_under_l0_keeps_the_largest_of_equal_values_too():
    rows = np.array([[1.0, -3.0, 1.0, 0.5]])
    np.testing.assert_array_equal(onto_ball(rows, "l0", 2), [[1, -3, 0, 0]])


def test_values_of_rows_broadcast_against_images():
    assert spread(np.arange(3), np.zeros((3, 4, 4, 1))).shape == (3, 1, 1, 1)

"""Verification of meta-tests: which episodes are run again, and what is found then."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.verification import episodes
from benchmark.verification.comparison import Comparison


@pytest.mark.parametrize(("count", "expected"), [(1, [0]), (3, [0, 1, 2])])
def test_all_of_few_episodes_are_run_again(count, expected):
    assert episodes.some_of(count) == expected


def test_none_of_many_episodes_is_safe_from_being_run_again():
    drawn = [episodes.some_of(20) for _ in range(300)]
    assert {len(some) for some in drawn} == {episodes.EPISODES}
    assert {number for some in drawn for number in some} == set(range(20))


STORED = {"robust": np.linspace(0, 1, 6), "autoattack": np.array([0.5, 0.25])}
SOME = [1, 4]
PARTS = {"robust": STORED["robust"][SOME], "autoattack": STORED["autoattack"][[1]]}


def checked(stored, *, same_machine=True):
    found = Comparison()
    loaded = SimpleNamespace(same_machine=same_machine)
    episodes.check_again(loaded, stored, PARTS, SOME, found)
    return found


def changed(name, place, by):
    values = STORED[name].copy()
    values[place] += by
    return {**STORED, name: values}


def test_what_is_stored_holds():
    found = checked(STORED)
    assert found.differs == []
    assert found.told == ["2 of 6 episodes run again"]


@pytest.mark.parametrize(("again", "differs"), [(0.0, False), (0.2, True)])
def test_what_was_not_counted_then_must_have_been_none(again, differs):
    found, parts = Comparison(), {**PARTS, "given_up": np.array([0.0, again])}
    episodes.check_again(SimpleNamespace(same_machine=True), STORED, parts, SOME, found)
    assert bool(found.differs) is differs


@pytest.mark.parametrize(
    ("stored", "same_machine"),
    [
        (changed("robust", 4, 0.01), True),
        (changed("robust", 1, 0.2), False),
        (changed("robust", 4, np.nan), True),
        (changed("autoattack", 1, 0.3), False),
        ({"autoattack": STORED["autoattack"]}, True),
        ({**STORED, "robust": STORED["robust"][:3]}, True),
        ({**STORED, "robust": np.ones((6, 2))}, True),
    ],
    ids=[
        "late",
        "elsewhere",
        "no number",
        "of the first alone",
        "missing",
        "too few",
        "of another shape",
    ],
)
def test_what_comes_out_otherwise_is_told(stored, same_machine):
    (told,) = checked(stored, same_machine=same_machine).differs
    assert "of the episodes [1, 4] differ" in told


def test_rounding_of_another_machine_is_no_difference():
    assert checked(changed("robust", 4, 0.05), same_machine=False).differs == []

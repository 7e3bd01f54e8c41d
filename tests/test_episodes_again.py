"""Verification of meta-tests: which episodes are run again, and what is found then."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.verification import domain, episodes, fewshot, sequence
from benchmark.verification.comparison import Comparison
from defenses.cost import Cost


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


def test_some_of_the_first_episodes_is_always_run_again():
    drawn = [episodes.some_of(600, first=5, most=20) for _ in range(50)]
    assert all(some == sorted(set(some)) and len(some) == 20 and some[0] < 5 for some in drawn)


def elsewhere(more):
    """What is found on another machine where the stored shares are so much more."""
    found, again = Comparison(), np.full(more.shape, 0.5)
    stored = {"robust": again + more}
    some = list(range(len(more)))
    episodes.check_again(
        SimpleNamespace(same_machine=False), stored, {"robust": again}, some, found
    )
    return found.differs


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (np.full(20, 0.04), "are told higher 20 times and lower 0 times"),
        (np.repeat([0.1, -0.04], [16, 4]), "are told 7.2% higher in the mean"),
        (np.array([0.08]), ""),
        (np.full((3, 5), 0.04), ""),
        (np.full(20, -0.04), ""),
        (np.tile([0.04, -0.04], 10), ""),
    ],
    ids=[
        "always by a query",
        "by much",
        "one episode",
        "parts of few",
        "to its harm",
        "either way",
    ],
)
def test_what_is_always_told_higher_is_no_rounding(more, told):
    found = elsewhere(more)
    assert [told in one for one in found] == ([True] if told else [])


TRIED = [
    *(
        {"penalty": p, "scale": 10.0, "robust": r}
        for p, r in ((0.1, 0.40), (1.0, 0.41), (9.0, 0.2))
    ),
    *({"penalty": 1.0, "scale": s, "robust": r} for s, r in ((1.0, 0.8), (3.0, 0.42), (30.0, 0.5))),
]


def tuned(setting, tried, *, exact=False):
    """What is found where this is stored of the tuning, and TRIED comes out again."""
    found = Comparison()
    stored = {"setting": setting, "tuning": {"ways": 5, "tried": tried}}
    again = {"setting": {"penalty": 1.0, "scale": 10.0}, "tuning": {"ways": 5, "tried": TRIED}}
    fewshot._check_tuning(stored, again, found, exact=exact)
    return found.differs


HAIR = [
    *(
        {"penalty": p, "scale": 10.0, "robust": r}
        for p, r in ((0.1, 0.41), (1.0, 0.40), (9.0, 0.2))
    ),
    *({"penalty": 0.1, "scale": s, "robust": r} for s, r in ((1.0, 0.8), (3.0, 0.42), (30.0, 0.5))),
]
BETTER = [*({**one, "robust": 0.9} if one["penalty"] == 9.0 else one for one in TRIED)]
TUNED = {
    "as it is": ({"penalty": 1.0, "scale": 10.0}, TRIED, ""),
    "another by a hair": ({"penalty": 0.1, "scale": 10.0}, HAIR, ""),
    "never tried": ({"penalty": 7.0, "scale": 10.0}, TRIED, "is none of those that are tried"),
    "not the best": ({"penalty": 9.0, "scale": 10.0}, TRIED, "is not the best of those"),
    "told better": ({"penalty": 1.0, "scale": 10.0}, BETTER, "does not come out again"),
    "told beside": (
        {"penalty": 1.0, "scale": 10.0},
        [*TRIED, {"penalty": 5.0, "scale": 10.0, "robust": 0.1}],
        "does not come out again",
    ),
}


@pytest.mark.parametrize(("setting", "tried", "told"), TUNED.values(), ids=TUNED)
def test_what_a_setting_was_chosen_by_is_chosen_again_elsewhere(setting, tried, told):
    found = tuned(setting, tried)
    assert [told in one for one in found] == ([True] if told else [])


def test_rounding_of_another_machine_is_no_difference():
    assert checked(changed("robust", 4, 0.05), same_machine=False).differs == []


@pytest.mark.parametrize(
    ("forwards", "exact", "differs"),
    [
        (100, True, False),
        (101, True, True),
        (99, True, True),
        (124, False, False),
        (126, False, True),
        (76, False, False),
        (74, False, True),
    ],
)
def test_costs_are_those_of_the_episodes_that_are_run_again(forwards, exact, differs):
    """5 of 10 took 50."""
    found, again = Comparison(), {"cost": {"forwards": 50}, "measuring_cost": {}}
    stored = {"cost": {"forwards": forwards}, "measuring_cost": {}}
    episodes.check_costs(stored, again, 2, found, exact=exact)
    assert bool(found.differs) is differs


@pytest.mark.parametrize(("told", "differs"), [(50, False), (100, False), (49, True), (101, True)])
def test_passes_are_those_of_an_episode_or_of_all(told, differs):
    """Features are taken once; 5 of 10 took 50."""
    found = Comparison()
    stored, again = ({"measuring_cost": {"forwards": count}} for count in (told, 50))
    fewshot._check_passes(stored, again, 2, found)
    assert bool(found.differs) is differs


COUNTED = {"tuning_cost": [{"forwards": 8}], "measuring_cost": [{"forwards": 10}]}


@pytest.mark.parametrize(
    ("changed", "differs"),
    [
        ({}, []),
        ({"tuning_cost": [{"forwards": 7}]}, ["tuning_cost"]),
        ({"measuring_cost": [{"forwards": 11}]}, ["measuring_cost"]),
        ({"tuning_cost": [], "measuring_cost": []}, []),  # of an earlier version
    ],
    ids=["as it is", "tuning", "measuring", "not counted then"],
)
def test_costs_of_other_data_are_counted_again(changed, differs):
    """2 of 4 episodes took 5."""
    found, again = Comparison(), {**COUNTED, "measuring_cost": [{"forwards": 5}]}
    domain._check_tuning_cost({**COUNTED, **changed}, again, found)
    domain._check_measuring_cost({**COUNTED, **changed}, again, 2, found)
    assert [line.split()[0] for line in found.differs] == differs


HALF = {"forwards": 30, "backwards": 15, "second_order": 0, "gradient_evaluations": 20}


@pytest.mark.parametrize(
    "record",
    [
        {"cost": HALF},
        {"tuning_cost": [HALF, {**HALF}]},
        {"measuring_cost": HALF},
        {"autoattack_cost": [HALF]},
        {"tuning": {"cost": HALF}},
    ],
    ids=lambda record: next(iter(record)),
)
def test_gradient_evaluations_are_those_of_the_passes(record):
    def told(changed):
        found = Comparison()
        episodes.check_sums(changed, found)
        return found.differs

    text = json.dumps(record)
    assert told(record) == []
    assert told({name: [] for name in record}) == []  # of an earlier version
    for wrong in (text.replace("20", "21"), text.replace("gradient_evaluations", "other")):
        assert told(json.loads(wrong))[0].startswith("gradient_evaluations of")


def passes(forwards, backwards=0):
    return Cost(forwards, backwards).as_record()


@pytest.mark.parametrize(
    ("stored", "again", "left", "whole", "differs"),
    [
        ({}, passes(5), [0, 5], True, False),  # of an earlier version
        (passes(0), {}, [0, 0], True, False),
        (passes(9), {}, [0, 0], True, True),
        (passes(0, 9), {}, [0, 0], True, True),
        (passes(9), {}, [0, 5], True, False),
        (passes(4), {}, [0, 5], True, True),
        (passes(9, 9), passes(9, 9), [0, 5], True, False),
        (passes(9, 8), passes(9, 9), [0, 5], True, True),
        (passes(9, 10), passes(9, 9), [0, 5], True, True),
        (passes(9, 10), passes(9, 9), [0, 5], False, False),
        (passes(9, 8), passes(9, 9), [0, 5], False, True),
    ],
)
def test_what_autoattack_passes_is_none_where_there_is_nothing_to_attack(
    stored, again, left, whole, differs
):
    found = Comparison()
    episodes.check_strongest(stored, again, np.array(left), found, whole=whole)
    assert bool(found.differs) is differs


@pytest.mark.parametrize(
    ("some", "count", "first", "whole"),
    [([0, 2], 9, 1, True), ([0, 2], 9, 2, False), ([0, 1], 2, 5, True), ([3], 9, 0, True)],
)
def test_the_first_episodes_are_run_again_as_a_whole_or_not(some, count, first, whole):
    assert episodes.are_whole(some, count, first) is whole


RATES = [{"rate": 0.1, "mean": 0.50}, {"rate": 0.3, "mean": 0.52}, {"rate": 0.9, "mean": 0.1}]
LESS = [{**one, "mean": one["mean"] - 0.2} for one in RATES]
# Setting and what is told to have been tried, where RATES come out again, to what is said of it.
CHOSEN = {
    "as it is": ({"rate": 0.3}, RATES, ""),
    "another by a hair": ({"rate": 0.1}, [{"rate": 0.1, "mean": 0.53}, *RATES[1:]], ""),
    "not the best of those told": ({"rate": 0.1}, RATES, "is not the best of those that are tried"),
    "never tried": ({"rate": 0.7}, RATES, "is not the best of those that are tried"),
    "told worse": ({"rate": 0.3}, LESS, "leave other shares"),
    "no number": ({"rate": 0.3}, [*RATES[:2], {"rate": 0.9, "mean": np.nan}], "leave other shares"),
    "told beside": ({"rate": 0.3}, [*RATES, {"rate": 0.7, "mean": 0.1}], "what is tried is told"),
    "one left out": ({"rate": 0.1}, [RATES[0], RATES[2]], "what is tried is told"),
    "none": ({"rate": 0.1}, [], "what is tried is told"),
}


@pytest.mark.parametrize(("setting", "tried", "told"), CHOSEN.values(), ids=CHOSEN)
def test_a_setting_is_the_best_of_those_that_are_tried_elsewhere(setting, tried, told):
    costs, families = {"forwards": 100.0}, ["linf", "l1"]
    record, again = (
        {"setting": one, "tuning": {"families": families, "tried": rates, "cost": costs}}
        for one, rates in ((setting, tried), ({"rate": 0.3}, RATES))
    )
    of_sequence, of_domain = Comparison(), Comparison()
    sequence._check_choice(record, again, of_sequence, same_machine=False)

    def by_shots(rates, setting):
        told = [{"rate": one["rate"], "robust": one["mean"]} for one in rates]
        tried = [{**one, "shots": shots} for shots in (1, 5) for one in told]
        return {"setting": [setting] * 2, "shots": [1, 5], "tried": tried}

    domain._check_settings(by_shots(tried, setting), by_shots(RATES, {"rate": 0.3}), of_domain)

    for found in (of_sequence, of_domain):
        assert any(told in one for one in found.differs) == bool(told), found.differs
        assert bool(found.differs) == bool(told), found.differs


@pytest.mark.parametrize(
    "other",
    [{"families": ["l2", "l1"]}, {"cost": {"forwards": 50.0}}, {"tried": [{"mean": 1.0}]}],
    ids=lambda other: next(iter(other)),
)
def test_what_a_sequence_was_tuned_on_is_compared_elsewhere(other):
    tuning = {"families": ["linf", "l1"], "tried": [], "cost": {"forwards": 100.0}}
    record, again = ({"setting": {}, "tuning": one} for one in ({**tuning, **other}, tuning))
    found = Comparison()
    sequence._check_choice(record, again, found, same_machine=False)
    assert found.differs

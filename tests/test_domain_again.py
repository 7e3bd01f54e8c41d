"""Verification of what was adapted to another data set: every part of a record is compared."""

from __future__ import annotations

import copy
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from small_domain import SMALL, course

from benchmark.errors import StoreError
from benchmark.results.identity import PROTOCOL_VERSION
from benchmark.verification import domain
from benchmark.verification.comparison import Comparison
from benchmark.verification.episodes import BY_A_HAIR
from defenses.cost import Cost

METHOD = "finetune"
# Nothing as it is where nobody says so
PROTOCOL = dataclasses.replace(SMALL, fingerprint="f", resize=True, tuning_episodes=2)
KEY = PROTOCOL.keys()[METHOD]
ARRAYS = {name: np.array([[0.5, 0.75], [0.25, 1.0]]) for name in ("clean", "robust", "given_up")}
CHOSEN = [{"rate": 0.1, "rounds": 2}, {"rate": 0.5, "rounds": 2}]
TRIED = [
    {**one, "shots": shots, "robust": 0.5 if one == best else 0.45}
    for shots, best in zip(PROTOCOL.shots, CHOSEN, strict=True)
    for one in CHOSEN
]


def cost(*forwards):
    return [Cost(one).as_record() for one in forwards]


def record_of(**changes):
    """What a run stores of a method, but for the arrays."""
    found = course(PROTOCOL).about(METHOD) | course(PROTOCOL).summary(ARRAYS)
    found |= {"adapt_to": "other", "protocol_version": PROTOCOL_VERSION}
    found |= {"setting": CHOSEN, "tried": TRIED, "cost": cost(1.0, 2.0)}
    return copy.deepcopy(found | changes)


def checked(
    monkeypatch, *, same_machine=True, key=KEY, arrays=ARRAYS, again=None, lacks=None, **changes
):
    """What is found in a record with these changes, where `again` comes out otherwise."""
    now, asked = course(PROTOCOL), []

    def some_of(count, *, first):
        assert (count, first) == (record["episodes"], record.get("autoattack_episodes", 0))
        return [0, 1]

    def course_of(context, protocol):
        asked.append(protocol)
        return now

    def run(method, model, *, numbers):
        assert numbers == [0, 1]
        parts = {name: values[numbers] for name, values in ARRAYS.items()}
        return record_of(**(again or {})), parts

    monkeypatch.setattr(domain.episodes, "some_of", some_of)
    monkeypatch.setattr(domain, "course_of", course_of)
    monkeypatch.setattr(domain, "beginning", lambda *_: None)
    monkeypatch.setattr(now, "run", run)
    record = record_of(**changes)
    record.pop(lacks, None)
    loaded = SimpleNamespace(
        context=None,
        same_machine=same_machine,
        stage=lambda name: {f"domains/{key}": record}[name],
        arrays=lambda name: {f"domains/{key}": arrays}[name],
        check_beginning=lambda: None,
    )
    found = Comparison()
    domain.check(loaded, key, found)
    assert [one.methods for one in asked] == [(METHOD,)]
    return found


@pytest.mark.parametrize("same_machine", [True, False], ids=["here", "elsewhere"])
def test_what_a_run_stores_holds(monkeypatch, same_machine):
    found = checked(monkeypatch, same_machine=same_machine)
    assert (found.differs, found.unchecked) == ([], [])
    assert found.told == ["2 of 2 episodes run again"]


OTHERS = {
    "protocol_version": PROTOCOL_VERSION - 1,
    "fingerprint": "another",
    "resize": False,
    "shots": [1, 2],
    "episodes": 3,
    "queries": 7,
    "attack_steps": 1,
    "support_attack_steps": 1,
    "rates": [0.1],
    "rounds": [3],
    "steps": 2,
    "tuning_episodes": 1,
    "autoattack_episodes": 1,
    "description": "so",
    "classes": 4,
    "norm": "l2",
    "eps": 0.1,
    "labels_used": [3, 10],
    "reason": "none",
    "clean": [{"mean": 1.0}] * 2,
    "given_up": 0.0,
    "cost": cost(1.0, 3.0),
    "tried": TRIED[:-1],
}


@pytest.mark.parametrize("same_machine", [True, False], ids=["here", "elsewhere"])
@pytest.mark.parametrize("name", OTHERS)
def test_a_changed_field_is_told(monkeypatch, name, same_machine):
    found = checked(monkeypatch, same_machine=same_machine, **{name: OTHERS[name]})
    assert found.differs


def test_the_key_is_that_of_the_settings(monkeypatch):
    (told,) = checked(monkeypatch, key="finetune-0").differs
    assert told.startswith("the key is told as 'finetune-0'")


@pytest.mark.parametrize("same_machine", [True, False], ids=["here", "elsewhere"])
def test_other_arrays_are_told(monkeypatch, same_machine):
    arrays = {**ARRAYS, "robust": ARRAYS["robust"] - 0.25}
    found = checked(monkeypatch, same_machine=same_machine, arrays=arrays)
    assert "run again, robust of the episodes [0, 1] differ" in found.differs


OTHER = {"setting": CHOSEN[::-1]}
AS_GOOD = [{**one, "robust": 0.5} for one in TRIED]


def test_another_setting_here_is_told(monkeypatch):
    (told,) = checked(monkeypatch, again=OTHER).differs
    assert told.startswith("setting is told as")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("setting", CHOSEN[:1]),
        ("setting", [*CHOSEN, CHOSEN[0]]),
        ("tried", [*TRIED, TRIED[0] | {"shots": 9}]),
    ],
    ids=["too few settings", "too many", "more tried"],
)
def test_each_number_of_labels_has_its_setting_elsewhere(monkeypatch, name, value):
    found = checked(monkeypatch, same_machine=False, **{name: value})
    assert any(told.startswith("settings") for told in found.differs), found


def test_where_another_setting_is_best_by_a_hair_elsewhere_nothing_else_is_said(monkeypatch):
    found = checked(
        monkeypatch, same_machine=False, again={**OTHER, "tried": AS_GOOD}, cost=[{}, {}]
    )
    assert (found.differs, found.unchecked) == ([], [BY_A_HAIR])


@pytest.mark.parametrize("which", ["stored", "again"])
def test_a_method_that_fails_is_told_as_such_alone(monkeypatch, which):
    """It has neither arrays nor settings."""
    failed = {"status": "failed", "reason": "ValueError: so"}
    told = failed if which == "stored" else {}
    again = failed if which == "again" else {}
    found = checked(monkeypatch, arrays=None, again=again, **told)
    assert len(found.differs) == 2  # status and reason
    assert found.told == [f"the method is {told.get('status', 'ok')}"]
    both = checked(monkeypatch, arrays=None, again=failed, **failed)
    assert (both.differs, both.told) == ([], ["the method is failed"])


@pytest.mark.parametrize("same_machine", [True, False], ids=["here", "elsewhere"])
@pytest.mark.parametrize(
    ("told", "here", "elsewhere"),
    [
        (cost(40.0, 80.0), [], []),
        (cost(40.0, 81.0), ["forwards of autoattack_cost"], []),
        (cost(2.0, 80.0), ["autoattack_cost has 2 forwards", "forwards of"], ["autoattack_cost"]),
        (cost(40.0), ["entries of autoattack_cost"], ["entries of autoattack_cost"]),
    ],
    ids=["as it is", "another", "fewer than queries", "of some labels"],
)
def test_what_autoattack_took_is_counted_again(monkeypatch, told, here, elsewhere, same_machine):
    """On a machine of the same kind; with 3 and 4.5 of 6 queries left in the first episode."""
    monkeypatch.setitem(globals(), "PROTOCOL", dataclasses.replace(PROTOCOL, autoattack_episodes=1))
    key, again = PROTOCOL.keys()[METHOD], {"autoattack_cost": cost(40.0, 80.0)}
    found = checked(
        monkeypatch, key=key, same_machine=same_machine, again=again, autoattack_cost=told
    )
    expected = here if same_machine else elsewhere
    assert len(found.differs) == len(expected)
    assert all(map(str.startswith, found.differs, expected))


def test_a_record_of_before_autoattack_is_taken_for_one_without(monkeypatch):
    found = checked(monkeypatch, lacks="autoattack_episodes")
    assert found.differs == ["autoattack_episodes is told as None, and is 0"]


def test_weights_that_it_begins_with_have_to_be_those_of_the_records():
    def check_beginning():
        raise StoreError("weights are missing")

    loaded = SimpleNamespace(stage=lambda name: record_of(), check_beginning=check_beginning)
    with pytest.raises(StoreError, match="weights are missing"):
        domain.check(loaded, KEY, Comparison())

"""Verification of a suite's worst case: how much of it stronger attacks may break."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.verification import worst_case
from benchmark.verification.comparison import Comparison

COUNT = 60


def checked(monkeypatch, broken, *, robust=50, flags=(), failed=()):
    """What is found where each stronger attack breaks these of the first `robust` examples."""
    y = np.zeros(COUNT, np.int64)
    success = np.arange(COUNT) >= robust
    attacks = {
        "pgd": ({"status": "ok", "norm": "linf", "eps": 0.3}, {"success": success}),
        "l2": ({"status": "ok", "norm": "l2", "eps": 0.3}, {"success": np.ones(COUNT, bool)}),
        "late": ({"status": "failed", "norm": "linf", "eps": 0.3}, {}),
    }
    checks = [{"name": "one", "status": "passed"}]
    checks += [{"name": name, "status": "flagged"} for name in flags]

    def stage(name):
        return {"checks": checks} if name == "trust/quick" else attacks[name.split("/")[1]][0]

    target = SimpleNamespace(y=y, clean_prediction=y, part=lambda rows: rows)
    loaded = SimpleNamespace(
        suites={"quick": list(attacks)},
        cell=SimpleNamespace(norm="linf", eps=0.3, seed=0),
        target=target,
        stage=stage,
        found=stage,
        arrays=lambda name: attacks[name.split("/")[1]][1],
        job=lambda suite: SimpleNamespace(trust_stage="trust/quick"),
    )

    def run_attack(spec, rows, **_):
        if spec.name in failed:
            return {"status": "failed", "reason": "no memory"}, {}
        return {"status": "ok"}, {"success": np.isin(rows, broken[spec.name])}

    monkeypatch.setattr(worst_case, "run_attack", run_attack)
    found = Comparison()
    worst_case.check(loaded, "quick", found)
    return found


FIRST, SECOND = (spec.name for spec in worst_case.STRONGER)


@pytest.mark.parametrize(
    ("robust", "broken", "differs"),
    [
        (50, {FIRST: range(10), SECOND: range(10)}, False),
        (50, {FIRST: range(11), SECOND: ()}, True),
        (50, {FIRST: range(6), SECOND: range(6, 11)}, True),
        (10, {FIRST: range(3), SECOND: ()}, False),
        (10, {FIRST: (), SECOND: range(4)}, True),
    ],
    ids=["a fifth", "more", "more of both together", "3 of few", "4 of few"],
)
def test_a_fifth_of_the_worst_case_may_break_and_at_least_3(monkeypatch, robust, broken, differs):
    found = checked(monkeypatch, broken, robust=robust)
    assert bool(found.differs) is differs
    count = len({*broken[FIRST], *broken[SECOND]})
    assert found.told == [f"stronger attacks break {count} of {robust} examples claimed robust"]


def test_what_the_trust_checks_say_themselves_is_no_difference(monkeypatch):
    found = checked(monkeypatch, {FIRST: range(30), SECOND: ()}, flags=["two"])
    assert found.differs == []
    assert found.told[0].endswith("and its trust checks say so (two)")


@pytest.mark.parametrize(("flags", "unchecked"), [((), 1), (("two",), 0)])
def test_without_a_stronger_attack_nothing_is_checked(monkeypatch, flags, unchecked):
    found = checked(monkeypatch, {}, flags=flags, failed=(FIRST, SECOND))
    assert (len(found.unchecked), len(found.differs)) == (unchecked, 0)


def test_one_stronger_attack_suffices(monkeypatch):
    found = checked(monkeypatch, {SECOND: range(30)}, failed=(FIRST,))
    assert len(found.differs) == 1


def test_of_no_example_claimed_robust_there_is_nothing_to_break(monkeypatch):
    assert checked(monkeypatch, {}, robust=0).told == ["no example is claimed robust"]

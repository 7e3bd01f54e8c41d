"""Verification of what was asked for: with what was set, the suite gives the cell's attacks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmark.verification import runs
from benchmark.verification.comparison import Comparison

RECORD = {"suite": "quick", "attacks": {"pgd": {"max_iter": 7}}}


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({}, None),
        ({"attacks": {"pgd": {"max_iter": 8}}}, "the attacks of the suite is told as"),
        ({"attacks": {}}, "the attacks of the suite is told as"),
        ({"suite": "full"}, "no suite that this was asked for under"),
        ({"suite_digest": "0" * 64}, "the digest of the suite's text"),
        ({"suite_file": "mine.yaml"}, "its suite file is told as 'mine.yaml'"),
    ],
    ids=lambda other: next(iter(other), "as it is") if isinstance(other, dict) else "",
)
def test_what_was_set_gives_the_attacks_that_are_stored(other, told):
    def key(given):
        return f"pgd-{given.get('pgd', {}).get('max_iter', 40)}"

    loaded = SimpleNamespace(
        suites={"quick": ["pgd-7"]},
        stage=lambda name: {**RECORD, **other},
        run_stage=lambda suite: f"runs/{suite}",
        suite_text=lambda suite: None,
        attacks_of=lambda suite, given: key(given),
        job=lambda suite, attacks: SimpleNamespace(attack_keys=lambda: {"pgd": attacks}),
    )
    found = Comparison()
    runs.check(loaded, "quick", found)
    assert [told is not None and told in one for one in found.differs] == [True] * bool(told)

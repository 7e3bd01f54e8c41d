"""Trust checks of attacks that were run on few examples: never passed by what can't be flagged."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import Match, target_of

from benchmark.trust import gradients, roads, suite
from benchmark.trust.finding import too_few
from benchmark.trust.subject import Attacked, Subject

EPS = 0.5
CHECKS = {
    "twice the iterations": (gradients.converged, ("pgd",)),
    "white-box beats noise": (gradients.beats_noise, ("pgd",)),
    "other roads": (roads.other_roads, ("pgd",)),
    "iterative beats single-step": (suite.iterative_beats_single_step, ("fgsm", "pgd")),
}


def attack(name, some):
    """PGD that broke nothing, or one step that broke all, of some of the examples."""
    kind = {"pgd": "ProjectedGradientDescent", "fgsm": "FastGradientMethod"}[name]
    record = {"name": name, "attack": kind, "families": ["gradient"], "status": "ok"}
    record |= {"norm": "linf", "eps": EPS, "arguments": {"max_iter": 10}}
    return Attacked(record, {"success": some & (name == "fgsm"), "attacked": some})


@pytest.mark.parametrize(("check", "attacks"), CHECKS.values(), ids=CHECKS)
@pytest.mark.parametrize(
    ("count", "status"), [(0, "not-applicable"), (2, "not-applicable"), (12, "flagged")]
)
def test_an_attack_that_fails_on_few_examples_passes_no_check(check, attacks, count, status):
    target = target_of(Match())
    correct = target.clean_prediction == target.y
    # None of them is among the first that the checks would look at.
    some = correct & (correct.cumsum() > 30)
    some &= some.cumsum() <= count
    finding = check(
        Subject(
            target.estimator, target.once, target.x, target.y, target.clean_prediction,
            "linf", EPS, 0, [attack(name, some) for name in attacks],
        )
    )  # fmt: skip
    assert finding.status == status, finding.sentence
    if status == "not-applicable":
        assert "Too few examples" in finding.sentence
        assert finding.evidence == {"too_few": count}


@pytest.mark.parametrize(
    ("examples", "left", "told"),
    [
        (0, 0, True), (2, 2, True), (2, 0, False), (3, 3, False), (10, 2, True),
        (30, 2, False), (64, 64, False),
    ],
)  # fmt: skip
def test_examples_are_too_few_where_no_threshold_can_be_reached(examples, left, told):
    """Beyond chance, which is 2, and beyond 10 % of them: of 30, 2 are fewer than that."""
    assert (too_few(examples, left, 0.1) is not None) == told


def test_all_of_the_examples_under_attack_are_looked_at():
    target = target_of(Match())
    correct = target.clean_prediction == target.y
    some = correct & (np.arange(len(correct)) % 2 == 1)
    subject = Subject(
        target.estimator, target.once, target.x, target.y, target.clean_prediction,
        "linf", EPS, 0, [],
    )  # fmt: skip
    rows = subject.compared([attack("pgd", some)])
    assert rows.tolist() == np.flatnonzero(some).tolist()
    assert len(subject.compared([attack("pgd", correct)])) == len(subject.rows) == 64

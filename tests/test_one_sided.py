"""Verification elsewhere: what is told a little better of many examples is no rounding."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.attacks.claims import Claims
from benchmark.attacks.specification import Smoothing
from benchmark.stages.certification import Certification
from benchmark.stages.corruptions import Corruptions, summary
from benchmark.verification import certification, claims, corruptions, stages
from benchmark.verification.comparison import Comparison, one_sided

EXAMPLES, CLAIMED, DRAWS = 100, 600, 1000
LABEL = np.arange(EXAMPLES) % 3


@pytest.mark.parametrize(
    ("better", "worse", "expected"),
    [(0, 0, False), (0, 50, False), (13, 0, False), (14, 0, True), (30, 8, False), (33, 8, True)],
)
def test_one_side_is_what_chance_does_not_explain(better, worse, expected):
    assert one_sided(better, worse) is expected


def loaded(record, arrays, **more):
    return SimpleNamespace(
        same_machine=False,
        target=None,
        context=None,
        cell=SimpleNamespace(examples=EXAMPLES),
        stage=lambda path: record,
        arrays=lambda path: arrays,
        **more,
    )


CASES = [(13, 0, False), (14, 0, True), (14, 14, False), (0, 20, False)]


@pytest.mark.parametrize(("better", "worse", "differs"), CASES)
def test_corrupted_images_are_not_told_right_on_one_side(monkeypatch, better, worse, differs):
    """Each in several of its corrupted images, which are one vote."""
    again = np.broadcast_to(LABEL, (15, 5, EXAMPLES)).copy()
    again[:, :2, :50] += 1
    told = again.copy()
    told[0, :2, :better] = LABEL[:better]
    told[0, 2:4, 50 : 50 + worse] += 1

    def arrays(prediction):
        found = {"prediction": prediction, "correct": prediction == LABEL, "label": LABEL}
        return found | {"test_index": np.arange(EXAMPLES)}

    monkeypatch.setattr(Corruptions, "measured", lambda *_: ({}, arrays(again)))
    record = summary(told == LABEL) | {"protocol_version": corruptions.PROTOCOL_VERSION}
    found = Comparison()

    corruptions.check(loaded(record, arrays(told)), "common", found)

    assert [("too many for chance" in one) for one in found.differs] == [True] * differs


@pytest.mark.parametrize(("better", "worse", "differs"), CASES)
def test_answers_under_noise_are_not_counted_on_one_side(monkeypatch, better, worse, differs):
    """Each by so few that it alone could be rounding."""
    asked = Smoothing(sigma=0.25, n=DRAWS)
    again = np.full((EXAMPLES, 3), 100)
    again[np.arange(EXAMPLES), LABEL] = 700
    told = again.copy()
    told[np.arange(better), LABEL[:better]] += 40
    told[np.arange(50, 50 + worse), LABEL[50 : 50 + worse]] -= 40

    def arrays(estimation):
        common = {"selection": again // 10, "label": LABEL, "test_index": np.arange(EXAMPLES)}
        prediction, radius = certification.smoothing.certificates(
            again // 10, estimation, draws=DRAWS, sigma=0.25, alpha=0.001
        )
        return common | {
            "estimation": estimation,
            "prediction": prediction,
            "radius": radius,
            "broken": np.zeros(EXAMPLES, bool),
        }

    monkeypatch.setattr(
        Certification, "measured", lambda *_: ({"radius_needed": 0.1}, arrays(again))
    )
    monkeypatch.setattr(certification, "summary", lambda *_: {})
    job = SimpleNamespace(certification=asked, certification_key=lambda: "key")
    found = Comparison()

    certification.check(loaded({}, arrays(told), suites=["one"], job=lambda *_: job), "key", found)

    assert [("too many for chance" in one) for one in found.differs] == [True] * differs


@pytest.mark.parametrize(("better", "worse", "differs"), CASES)
@pytest.mark.parametrize(("name", "times"), [("success", (4,)), ("fools", (2, 2))])
def test_curves_and_transfers_are_not_told_on_one_side(name, times, better, worse, differs):
    """Each example at all budgets, or on all models, which is one vote."""
    again = np.zeros((*times, 1000), bool)
    again[..., :500] = True
    told = again.copy()
    told[..., :better], told[..., 500 : 500 + worse] = False, True
    found = Comparison()

    stages._compare({name: told}, {name: again}, found, exact=False, count=told.size)

    assert [("too many for chance" in one) for one in found.differs] == [True] * differs


def judged(success):
    """Record and arrays of claims about every example, of which these hold."""
    x = np.full((CLAIMED, 2), 0.5, np.float32)
    index = np.arange(len(x))
    first = np.flatnonzero(success)[:8]
    arrays = {
        "test_index": index,
        "label": np.zeros(len(x), int),
        "clean_correct": np.ones(len(x), bool),
        "success": success,
        "linf": np.full(len(x), 0.1),
        "sample_index": index[first],
        "sample_clean": x[first],
        "sample_adversarial": x[first] + np.float32(0.1),
        "index": index,
        "x_adv": x + np.float32(0.1),
    }
    robust = float((~success).mean())
    record = {"clean_accuracy": 1.0, "robust_accuracy": robust, "violations": 0, "abstained": 0}
    record["status"] = "ok"
    return x, record, arrays


HELD = np.arange(CLAIMED) < EXAMPLES


def told_of_claims(monkeypatch, success, **other):
    """What differs on another machine where this is stored of claims of which HELD hold."""
    monkeypatch.setattr(claims, "judge", lambda *_, **__: judged(HELD)[1:])
    x, record, arrays = judged(success)
    key = Claims("", "", arrays["index"], arrays["x_adv"]).key
    for name, value in other.items():
        (record if name in record else arrays)[name] = value
    found, held = Comparison(), loaded(record, arrays)
    held.target = SimpleNamespace(index=arrays["index"], x=x)
    held.cell = SimpleNamespace(norm="linf", eps=0.1, seed=0)
    claims.check(held, key, found)
    return found.differs


@pytest.mark.parametrize(("better", "worse", "differs"), CASES)
def test_claims_are_not_told_to_fail_on_one_side(monkeypatch, better, worse, differs):
    told = HELD.copy()
    told[:better], told[EXAMPLES : EXAMPLES + worse] = False, True
    found = told_of_claims(monkeypatch, told)
    assert [("too many for chance" in one) for one in found] == [True] * differs


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"violations": 20}, "violations is told as 20"),
        ({"abstained": 31}, "abstained is told as 31"),
        ({"abstained": 30}, None),
        ({"sample_adversarial": np.zeros((8, 2), np.float32)}, "don't follow from the successes"),
        ({"sample_index": np.arange(1, 9)}, "don't follow from the successes"),
        ({"linf": np.full(CLAIMED, 0.1 * (1 + 1e-12))}, None),
        ({"linf": np.full(CLAIMED, 0.05)}, "linf differ"),
        ({"label": np.arange(CLAIMED) // 599}, "label differ"),
    ],
)
def test_what_no_rounding_moves_is_compared_elsewhere(monkeypatch, other, told):
    found = told_of_claims(monkeypatch, HELD, **other)
    assert [told is not None and told in one for one in found] == [True] * (told is not None)

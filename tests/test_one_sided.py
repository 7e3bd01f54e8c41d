"""Verification elsewhere: what is told a little better of many examples is no rounding."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.attacks.specification import Smoothing
from benchmark.stages.certification import Certification
from benchmark.stages.corruptions import Corruptions, summary
from benchmark.verification import certification, corruptions
from benchmark.verification.comparison import Comparison, one_sided

EXAMPLES, DRAWS = 100, 1000
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

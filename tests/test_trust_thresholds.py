"""Where a trust check flags: the last count that passes, and the next one, of each threshold."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.trust import elsewhere, gradients, outputs, roads, scale, suite
from benchmark.trust.subject import Attacked, Subject

COUNT, EPS = 200, 0.15
BY = {"fgsm": "FastGradientMethod", "pgd": "ProjectedGradientDescent", "square": "SquareAttack"}


def first(count, total=COUNT):
    return np.arange(total) < count


def attack(name, broken=0):
    """One that broke the first examples alone."""
    record = {"name": name, "attack": BY[name], "status": "ok", "norm": "linf", "eps": EPS}
    return Attacked({**record, "arguments": {"max_iter": 10}}, {"success": first(broken)})


def subject(*attacks, pipeline=None):
    """A model that is right on all examples, and has gradients."""
    x, y = np.full((COUNT, 2), 0.5, np.float32), np.zeros(COUNT, np.int64)
    flat = SimpleNamespace(loss_gradient=lambda x, y: np.ones_like(x))
    return Subject(flat, pipeline, x, y, y.copy(), "linf", EPS, 0, attacks)


def ascending(*counts):
    """An ascent that breaks so many of the examples, call by call."""
    left = iter(counts)
    return lambda subject, rows, **_: first(next(left), len(rows))


def single_step(monkeypatch, alone):
    return suite.iterative_beats_single_step(subject(attack("fgsm", alone), attack("pgd")))


def black_box(monkeypatch, alone):
    monkeypatch.setattr(suite, "ascend", ascending(0, 0))
    return suite.white_box_beats_black_box(subject(attack("square", alone), attack("pgd")))


def black_box_again(monkeypatch, hidden):
    """20 broke under Square alone, and ascent breaks all of them but these."""
    monkeypatch.setattr(suite, "ascend", ascending(20 - hidden, 20 - hidden))
    return suite.white_box_beats_black_box(subject(attack("square", 20), attack("pgd")))


def converged(monkeypatch, more):
    monkeypatch.setattr(gradients, "ascend", ascending(more))
    return gradients.converged(subject(attack("pgd")))


def other_roads(monkeypatch, more):
    monkeypatch.setattr(roads, "ascend", ascending(more))
    monkeypatch.setattr(roads, "_from_beyond", lambda subject, rows, _: first(0, len(rows)))
    return roads.other_roads(subject(attack("pgd")))


def along_the_boundary(monkeypatch, more):
    monkeypatch.setattr(roads, "ascend", ascending(0))
    monkeypatch.setattr(roads, "_from_beyond", lambda subject, rows, _: first(more, len(rows)))
    return roads.other_roads(subject(attack("pgd")))


def noise(monkeypatch, alone):
    monkeypatch.setattr(gradients, "judged", lambda subject, rows, *_: first(alone, len(rows)))
    return gradients.beats_noise(subject(attack("pgd")))


def falls(monkeypatch, by):
    monkeypatch.setattr(gradients, "ascend", ascending(12, 12 - by, 20, 24))
    return gradients.rises_with_eps(subject())


def unreached(monkeypatch, left):
    monkeypatch.setattr(gradients, "ascend", ascending(1, 2, 3, 24 - left))
    return gradients.rises_with_eps(subject())


def zero_gradients(monkeypatch, count):
    gradient = np.where(first(count, 100)[:, None], 0.0, 1.0) * np.ones((100, 2))
    return gradients.usable_gradients(SimpleNamespace(loss_gradients=gradient))


def broken_gradients(monkeypatch, count):
    """Two are zero, and these are no numbers."""
    gradient = np.ones((100, 2))
    gradient[:2], gradient[2 : 2 + count] = 0, np.nan
    return gradients.usable_gradients(SimpleNamespace(loss_gradients=gradient))


def vanished(monkeypatch, count):
    """Gradients of the loss that are 0.9 or 1.1 times 1e-20 of those of the logits."""
    ones = np.ones((100, 2))
    seen = SimpleNamespace(probe=None, labels=None, lacks_gradients="")
    seen.loss_gradients = np.where(first(count, 100)[:, None], 0.9e-20, 1.1e-20) * ones
    seen.margin_gradient = lambda x, y: (np.ones(100), ones)
    return gradients.loss_in_range(seen)


def moved_alone(monkeypatch, percent):
    """Outputs that are nearly so much more for an example that is asked about alone."""

    def pipeline(x):
        return np.tile([1.0, 0.0], (len(x), 1)) * (1 + 0.0099 * percent * (len(x) == 1))

    return outputs.batch_independent(subject(pipeline=pipeline))


def elsewhere_more(monkeypatch, there, count=100):
    """None of so many examples break where they are, and these once they are shifted."""
    broken = iter([0, there])
    monkeypatch.setattr(elsewhere, "_broken", lambda *_: next(broken))
    monkeypatch.setattr(
        elsewhere,
        "_harmless",
        lambda subject, rows: (subject.x[rows], first(count, len(rows)), "so"),
    )
    monkeypatch.setattr("benchmark.trust.subject.EXAMPLES", COUNT)
    return elsewhere.as_robust_elsewhere(subject())


def elsewhere_of_few(monkeypatch, there):
    return elsewhere_more(monkeypatch, there, count=30)


def twin(monkeypatch, percent):
    left = SimpleNamespace(twin=percent / 100, is_twin=False, norm="linf")
    return suite.undefended_twin(left)


# The check, and the greatest count that passes.
LAST = {
    "iterative beats single-step: 2 % of 200": (single_step, 4),
    "white-box beats black-box: 5 % of 200": (black_box, 10),
    "the same, tried again": (black_box_again, 10),
    "twice the iterations: 15 % of 64, by 24": (converged, 3),
    "other roads: 15 % of 64, by 24": (other_roads, 3),
    "other roads, along the boundary": (along_the_boundary, 3),
    "white-box beats noise: 5 % of 64": (noise, 3),
    "success rises with eps: falls by 10 % of 24": (falls, 2),
    "success rises with eps: reaches 95 % of 24": (unreached, 1),
    "usable gradients: zero at 5 %": (zero_gradients, 5),
    "usable gradients: zero or none at 5 %": (broken_gradients, 3),
    "loss in float32's range: vanished at 10 %": (vanished, 10),
    "independent of the batch: by 3 %": (moved_alone, 3),
    "as robust elsewhere: 10 % of 100 more": (elsewhere_more, 10),
    "as robust elsewhere: chance among 30": (elsewhere_of_few, 8),
    "undefended twin: half": (twin, 50),
}


@pytest.mark.parametrize(("check", "last"), LAST.values(), ids=LAST)
def test_a_check_flags_what_is_beyond_its_threshold(check, last, monkeypatch):
    assert check(monkeypatch, last).status == "passed"
    assert check(monkeypatch, last + 1).status == "flagged"


@pytest.mark.parametrize(
    ("right", "near"), [(21, True), (22, False), (0, True)], ids=["chance", "above it", "none"]
)
def test_near_chance_is_what_a_binomial_test_does_not_tell_from_it(right, near):
    assert scale._near(right / 100, 0.15, 100) is near


@pytest.mark.parametrize(("lead", "status"), [(0.5, "passed"), (1.5, "flagged")])
def test_labels_that_change_with_the_batch_are_flagged_however_little_outputs_move(lead, status):
    """By 0.5 or 1.5 % for an example that is asked about alone, of which the first leads by 1 %."""

    def pipeline(x):
        return np.tile([100.0, 99 + lead if len(x) == 1 else 99.0], (len(x), 1))

    found = outputs.batch_independent(subject(pipeline=pipeline))
    assert found.status == status
    assert max(found.evidence.values()) == (1 if status == "flagged" else pytest.approx(0.005))

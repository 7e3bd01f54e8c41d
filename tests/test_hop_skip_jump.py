"""HopSkipJump over many examples: near the exact distance, no weaker than ART's, in any batch."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from attacked_digits import estimator, right

from benchmark import frameworks

frameworks.import_torch_first()

import art.attacks.evasion as art  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

import benchmark.estimators.pytorch as on_torch  # noqa: E402
from benchmark.attacks.creating import create  # noqa: E402
from benchmark.attacks.decision import hop_skip_jump  # noqa: E402
from benchmark.attacks.decision.hop_skip_jump import HopSkipJump  # noqa: E402
from benchmark.attacks.geometry import distances  # noqa: E402
from benchmark.attacks.specification import AttackSpec  # noqa: E402
from benchmark.attacks.watch import Watch  # noqa: E402

NORMS = {"linf": np.inf, "l2": 2}
SIZE = 20


@functools.cache
def plane():
    """Two classes, parted by a plane through the middle of the box."""
    model = nn.Linear(SIZE, 2)
    normal = torch.from_numpy(np.random.default_rng(0).normal(size=SIZE).astype(np.float32))
    with torch.no_grad():
        model.weight.copy_(torch.stack([normal, -normal]))
        model.bias.copy_(torch.stack([-normal.sum() / 2, normal.sum() / 2]))
    return on_torch.wrap(model, input_shape=(SIZE,), classes=2, device="cpu"), normal.numpy()


def near_plane(count=12):
    """Points in the middle of the box, with their labels and distances to the plane."""
    estimator, normal = plane()
    x = np.random.default_rng(1).uniform(0.4, 0.6, (count, SIZE)).astype(np.float32)
    y = estimator.predict(x).argmax(axis=1)
    offset = np.abs((x - 0.5) @ normal)
    dual = {"l2": np.linalg.norm(normal), "linf": np.abs(normal).sum()}
    return x, y, {norm: offset / length for norm, length in dual.items()}


def digits():
    """A trained model, with examples that it gets right."""
    return estimator(), *right(16)


def attacked(attack, x, y, seed=0):
    frameworks.seed_everything(seed)
    return attack.generate(x.copy(), y)


def apart(norm, x, found):
    return distances(found.reshape(len(x), -1), x.reshape(len(x), -1), norm)


@pytest.mark.parametrize("norm", NORMS)
def test_finds_the_distance_to_a_plane(norm):
    estimator, _ = plane()
    x, y, exact = near_plane()
    attack = HopSkipJump(estimator, norm=NORMS[norm], max_iter=15, init_eval=200, max_eval=1000)
    found = attacked(attack, x, y)
    assert (estimator.predict(found).argmax(axis=1) != y).all()
    assert (apart(norm, x, found) >= exact[norm] * (1 - 1e-4)).all()
    assert np.median(apart(norm, x, found) / exact[norm]) < 1.1


@pytest.mark.parametrize("norm", NORMS)
def test_no_weaker_than_arts(norm):
    estimator, x, y = digits()
    settings = {"max_iter": 4, "max_eval": 200, "init_eval": 50}
    ours = attacked(HopSkipJump(estimator, norm=NORMS[norm], **settings), x, y)
    arts = art.HopSkipJump(estimator, norm=NORMS[norm], verbose=False, **settings)
    theirs = attacked(arts, x, np.eye(10)[y])
    assert (estimator.predict(ours).argmax(axis=1) != y).all()
    assert apart(norm, x, ours).mean() < 1.05 * apart(norm, x, theirs).mean()


def test_drawn_in_portions(monkeypatch):
    estimator, _ = plane()
    x, y, exact = near_plane()
    monkeypatch.setattr(hop_skip_jump, "_VALUES", 70 * SIZE)
    found = attacked(
        HopSkipJump(estimator, norm=2, max_iter=15, init_eval=200, max_eval=1000), x, y
    )
    assert np.median(apart("l2", x, found) / exact["l2"]) < 1.1


def test_examples_that_are_near_enough_are_left_alone():
    estimator, x, y = digits()
    settings = {"max_iter": 8, "max_eval": 100, "init_eval": 50}
    spent = []
    for enough in (None, 1.5):
        before = estimator.passes.forwards
        found = attacked(HopSkipJump(estimator, norm=2, enough=enough, **settings), x, y)
        spent.append(estimator.passes.forwards - before)
        assert (apart("l2", x, found) <= 1.5).mean() > 0.5
    assert spent[1] < 0.7 * spent[0]


def test_the_budget_is_enough_unless_the_search_goes_to_the_end():
    estimator, _, _ = digits()
    for to_the_end, enough in ((False, 0.5), (True, None)):
        spec = AttackSpec("h", "hop-skip-jump", {}, to_the_end=to_the_end)
        assert create(spec, estimator, "l2", 0.5).enough == enough


@pytest.mark.parametrize("is_random", [False, True])
def test_a_random_model_is_asked_as_far_away_as_at_first_and_never_enough(is_random, monkeypatch):
    """What it answers nearer to the boundary is chance."""
    estimator, x, y = digits()
    monkeypatch.setattr(estimator, "is_random", is_random, raising=False)
    spec = AttackSpec("h", "hop-skip-jump", {"max_iter": 3})
    attack = create(spec, estimator, "linf", 0.5)
    assert attack.enough == (None if is_random else 0.5)
    generator = np.random.default_rng(0)
    search = hop_skip_jump._Search(attack, x, y, np.arange(len(x)), generator)
    rows, points = search._start()
    first, later = (search._radius(rows, points, iteration) for iteration in (0, 1))
    assert np.array_equal(first, later) == is_random


def test_without_a_start_the_example_comes_back():
    x, *_ = near_plane(3)

    class Constant(nn.Module):
        def forward(self, x):
            return torch.eye(2)[0].expand(len(x), 2) + 0 * x.sum()

    constant = on_torch.wrap(Constant(), input_shape=(SIZE,), classes=2, device="cpu")
    found = attacked(HopSkipJump(constant, norm=2, max_iter=2), x, np.zeros(3, dtype=np.int64))
    assert np.array_equal(found, x)


def test_an_observer_knows_whom_each_query_is_about():
    estimator, x, y = digits()
    watch = Watch(norm="l2", eps=0.5, predict=estimator.predict, nearest=True)
    asked = []
    expect = watch.expect
    watch.expect = lambda rows: (asked.append(len(rows)), expect(rows))
    watch.begin(x, y)
    estimator.observer = watch
    before = estimator.passes.forwards
    try:
        attack = HopSkipJump(
            estimator, norm=2, max_iter=2, init_eval=20, max_eval=20, batch_size=5, init_size=3
        )
        found = attacked(attack, x, y)
    finally:
        estimator.observer = None
    assert sum(asked) == estimator.passes.forwards - before
    kept = np.where(watch.has_kept.reshape(-1, 1, 1, 1), watch.kept, np.inf)
    near = apart("l2", x[watch.has_kept], kept[watch.has_kept])
    assert watch.has_kept.all()
    assert np.allclose(near, apart("l2", x, found), atol=1e-6)


@pytest.mark.parametrize(
    "settings", [{"norm": 1}, {"max_iter": -1}, {"init_eval": 0}], ids=lambda s: next(iter(s))
)
def test_bad_arguments(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        HopSkipJump(plane()[0], **{"norm": 2, **settings})

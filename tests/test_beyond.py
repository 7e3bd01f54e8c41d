"""Where a point on the boundary may be judged to be right, what lies beyond it is looked at."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from fakes import Match, X, Y, drops, target_of

from benchmark import frameworks

frameworks.import_torch_first()

import torch  # noqa: E402

from benchmark.attacks import curves  # noqa: E402
from benchmark.attacks.aiming import _wrapped_target  # noqa: E402
from benchmark.attacks.beyond import SHARES, farther  # noqa: E402
from benchmark.attacks.geometry import distances, limit  # noqa: E402
from benchmark.attacks.running import run_attack  # noqa: E402
from benchmark.attacks.suites import AttackSpec, SecurityCurve  # noqa: E402
from benchmark.stages import curve as stage  # noqa: E402

EPS = 0.15
ATTACKS = {
    "fab": ("linf", {"max_iter": 20, "targets": 3}),
    "fab-targeted": ("linf", {"max_iter": 20, "targets": 3}),
    "fmn": ("linf", {"max_iter": 60}),
    "ddn": ("l2", {"max_iter": 60}),
    "deepfool": ("l2", {"max_iter": 20}),
}
EACH = pytest.mark.parametrize("attack", ATTACKS)


def left(attack, target):
    """What the attack leaves right."""
    norm, arguments = ATTACKS[attack]
    spec = AttackSpec(attack, attack, arguments)
    eps = EPS if norm == "linf" else 0.8
    record, _ = run_attack(spec, target, key="k", norm=norm, eps=eps, seed=0)
    assert record["status"] == "ok", record["reason"]
    return record["robust_accuracy"]


def noisy():
    return target_of(Match(before=lambda x: x + 0.1 * torch.randn_like(x)))


def behind(name, **settings):
    """The model with an output defense."""
    model = target_of(Match()).estimator
    cell = SimpleNamespace(wrapped_in={name: settings}, seed=0)
    return _wrapped_target(cell, model, X, Y, np.arange(len(X)))


@EACH
def test_noise_on_the_inputs_hides_no_nearest_points(attack):
    plain = left(attack, target_of(Match()))
    assert plain < 0.8
    assert left(attack, noisy()) <= plain + 0.05


@EACH
@pytest.mark.parametrize("decimals", [1, 2])
def test_rounded_scores_hide_no_nearest_points(attack, decimals):
    plain = left(attack, target_of(Match()))
    assert left(attack, behind("rounded", decimals=decimals)) <= plain + 0.02


def test_a_curve_of_a_random_model_is_that_of_the_model_below():
    grid = SecurityCurve("fab", (0.5, 1.0, 2.0))
    spec = AttackSpec("fab", "fab", ATTACKS["fab"][1])
    made = run_attack(spec, target_of(Match()), key="k", norm="linf", eps=EPS, seed=0)
    plain, _ = curves.from_distances(grid, *made)
    found, _ = curves.from_bounded_runs(grid, spec, noisy(), norm="linf", eps=EPS, seed=0)
    assert plain["robust_accuracy"][-1] < 0.05
    assert found["robust_accuracy"] == pytest.approx(plain["robust_accuracy"], abs=0.05)


@pytest.mark.parametrize(("draws", "origin"), [({}, "from_distances"), ({"draws": 50}, "runs")])
def test_distances_of_a_random_model_are_no_curve(draws, origin, monkeypatch):
    spec = AttackSpec("fab", "fab", {})
    one = SimpleNamespace(spec=spec, path="attacks/k", key="k", needs=(), timeout=None)
    record = {"status": "ok", "eps": EPS, **draws}
    monkeypatch.setattr(stage, "from_distances", lambda *_: "from_distances")
    monkeypatch.setattr(stage, "from_bounded_runs", lambda *_, **__: "runs")
    context = SimpleNamespace(
        record=lambda path: record, target=None,
        cell=SimpleNamespace(cell_id="c", norm="linf", eps=EPS, seed=0),
        store=SimpleNamespace(read_arrays=lambda *_: {}),
        reporter=SimpleNamespace(stage=lambda label: None),
    )  # fmt: skip
    made = stage.Curve(SecurityCurve("fab", (1.0,)), "k", one, examples=10)
    assert made.drawn(context) == origin


def test_of_two_successes_on_a_random_model_the_firmer_counts():
    """The nearest point of those that fool the mean fools fewer of its draws."""
    spec = AttackSpec("fmn", "fmn", {"max_iter": 30})
    target = target_of(Match(before=drops))
    record, arrays = run_attack(spec, target, key="k", norm="linf", eps=0.3, seed=0)
    assert arrays["success"].mean() > 0.5
    assert np.median(arrays["right_share"][arrays["success"]]) < 0.2
    assert record["expected_accuracy"] < 0.3


@pytest.mark.parametrize("weights", [None, np.array([0.5, 2, 0, 1, 1, 1, 1, 1])], ids=["", "of"])
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.2), ("l1", 0.5), ("l0", 3)])
def test_the_way_leads_to_the_edge_of_the_budget_and_no_farther(norm, eps, weights):
    x = np.random.default_rng(0).uniform(0.4, 0.6, (20, 8)).astype(np.float32)
    change = np.random.default_rng(1).normal(size=x.shape) * (1e-3 if weights is None else weights)
    change[:, 2:] *= norm != "l0"
    if weights is not None:  # an attack that knows of none moves what may not be moved
        change[:, weights == 0] = 1
    points = (x + 0.01 * change).astype(np.float32)
    points[0] = np.nan

    ways = list(farther(x, points, norm=norm, eps=eps, weights=weights))

    assert len(ways) == len(SHARES)
    apart = np.array([distances(way, x, norm, weights) for way in ways])
    assert (apart[:, 0] == 0).all()
    assert (np.diff(apart, axis=0) >= -1e-6).all()
    assert (apart <= limit(norm, eps, 8)).all()
    assert norm == "l0" or apart[-1, 1:] == pytest.approx(eps, rel=1e-4)

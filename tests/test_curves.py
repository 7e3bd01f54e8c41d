"""Security curves: from distances, from bounded runs, and through a whole cell."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.attacks import curves
from benchmark.attacks.running import run_attack
from benchmark.attacks.suites import AttackSpec, SecurityCurve, load_suite
from benchmark.errors import SuiteError

BUDGETS = (0.25, 0.5, 1.0, 2.0, 8.0)
GRID = SecurityCurve("one", BUDGETS)


def test_a_curve_from_distances_worked_by_hand():
    record = {"name": "one", "norm": "l2", "eps": 0.4}
    arrays = {
        "test_index": np.arange(5),
        "clean_correct": np.array([True, True, True, True, False]),
        "adversarial": np.array([True, True, True, False, True]),
        "attacked": np.ones(5, dtype=bool),
        "l2": np.array([0.05, 0.4 + 1e-6, 3.0, 0.1, 0.0]),  # of 0.4 by rounding alone
        "sample_clean": np.zeros((0, 8, 8, 1), dtype=np.float32),
    }
    found, stored = curves.from_distances(GRID, record, arrays)
    assert found["eps"] == pytest.approx([0, 0.1, 0.2, 0.4, 0.8, 3.2])
    assert found["robust_accuracy"] == pytest.approx([0.8, 0.6, 0.6, 0.4, 0.4, 0.2])
    assert (found["from"], found["examples"]) == ("minimal-norm", 5)
    assert stored["success"].shape == (6, 5)
    assert not stored["success"][:, 3:].any()


def test_a_curve_from_bounded_runs_falls_and_meets_the_attack(make_target):
    target = make_target("torch")
    spec = AttackSpec("one", "pgd", {"max_iter": 20, "eps_step": "0.25 eps"})
    found, stored = curves.from_bounded_runs(GRID, spec, target, norm="linf", eps=0.05, seed=0)
    shares = found["robust_accuracy"]
    assert found["from"] == "bounded"
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 0.5 > shares[-1]
    assert (stored["success"][1:] >= stored["success"][:-1]).all()
    record, _ = run_attack(spec, target, key="k", norm="linf", eps=0.05, seed=0)
    assert shares[3] <= record["robust_accuracy"]


def test_a_curve_may_be_of_fewer_examples(make_target):
    target = make_target("torch")
    spec = AttackSpec("one", "fast-gradient", {})
    few = SecurityCurve("one", BUDGETS, examples=10)
    found, stored = curves.from_bounded_runs(few, spec, target, norm="linf", eps=0.3, seed=0)
    assert found["examples"] == stored["attacked"].sum() == 10
    assert not stored["success"][:, ~stored["attacked"]].any()
    right = (target.clean_prediction == target.y) & ~stored["success"]
    assert found["robust_accuracy"] == right[:, stored["attacked"]].mean(axis=1).tolist()
    assert found["robust_accuracy"] != right.mean(axis=1).tolist()


def test_a_curve_whose_attack_fails_has_failed(make_target, capsys):
    target = make_target("torch")
    target.estimator.loss_gradient = None
    spec = AttackSpec("one", "pgd", {})
    found, stored = curves.from_bounded_runs(GRID, spec, target, norm="linf", eps=0.3, seed=0)
    assert found["status"] == "failed"
    assert "robust_accuracy" not in found
    assert not stored


SUITE = "attacks: {{one: {{attack: hop-skip-jump}}}}\nsecurity_curve: {}"


def load(tmp_path, curve):
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE.format(curve))
    return load_suite(str(path))


def test_the_attack_of_a_curve_runs_to_its_end(tmp_path):
    suite = load(tmp_path, "{attack: one, budgets: [0.5, 1], examples: 9}")
    assert suite.curve == SecurityCurve("one", (0.5, 1.0), 9)
    assert suite.attacks[0].to_the_end


BAD = {
    "unknown attack": ("{attack: two, budgets: [1]}", "names the attack 'two'"),
    "no budgets": ("{attack: one}", "give ascending shares of eps"),
    "not ascending": ("{attack: one, budgets: [2, 1]}", "give ascending shares of eps"),
    "no number": ("{attack: one, budgets: [a]}", "give ascending shares of eps"),
    "unknown key": ("{attack: one, budgets: [1], eps: 3}", "unknown key 'eps'"),
    "examples": ("{attack: one, budgets: [1], examples: 0}", "whole number from 1 up, got 0"),
}


@pytest.mark.parametrize(("curve", "message"), BAD.values(), ids=BAD)
def test_a_bad_curve_is_refused(tmp_path, curve, message):
    with pytest.raises(SuiteError, match=message):
        load(tmp_path, curve)

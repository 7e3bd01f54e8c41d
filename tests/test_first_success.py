"""A suite may have its attacks leave an example at the first adversarial point in the budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.attacks.running import run_attack
from benchmark.attacks.suites import AttackSpec, load_suite, recorded_attack
from benchmark.attacks.watch import Watch
from benchmark.errors import SuiteError

SUITE = """
first_success: {flag}
attacks:
  pgd:
    attack: pgd
    arguments: {{max_iter: 20, eps_step: 0.1 eps, num_random_init: 2}}
  apgd:
    attack: apgd
  deepfool:
    attack: deepfool
"""


def suite(folder: Path, flag: str) -> Any:
    path = folder / "mine.yaml"
    path.write_text(SUITE.format(flag=flag))
    return load_suite(str(path))


def test_attacks_that_would_go_on_are_told_and_no_others(tmp_path: Path) -> None:
    specs = suite(tmp_path, "true").attacks
    assert [(spec.name, spec.first_success) for spec in specs] == [
        ("pgd", True),
        ("apgd", False),  # leaves an example alone anyway
        ("deepfool", False),  # looks for the nearest
    ]


def test_the_attack_is_another_one_by_its_identity_and_comes_back_from_it(tmp_path: Path) -> None:
    leaving, staying = (suite(tmp_path, flag).attacks[0] for flag in ("true", "false"))
    assert staying.identity() == AttackSpec("pgd", "pgd", staying.arguments).identity()
    assert leaving.identity() == [*staying.identity(), {"first_success": True}]
    assert recorded_attack("pgd", leaving.identity()) == leaving


def test_a_flag_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="first_success must be true or false, got 'soon'"):
        suite(tmp_path, "soon")


def run(target: Any, *, first_success: bool) -> Any:
    arguments = {"max_iter": 20, "eps_step": "0.1 eps", "num_random_init": 1}
    spec = AttackSpec("pgd", "pgd", arguments, first_success=first_success)
    return run_attack(spec, target, key="k", norm="linf", eps=0.05, seed=0)


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_the_same_examples_break_at_the_same_query_for_less(
    framework: str, make_target: Any
) -> None:
    whole, before = run(make_target(framework, count=60), first_success=False)
    found, after = run(make_target(framework, count=60), first_success=True)
    assert 0 < before["success"].sum() < before["clean_correct"].sum()
    for name in ("success", "first_query", "clean_correct"):
        assert np.array_equal(after[name], before[name]), name
    assert found["backwards"] < whole["backwards"]
    assert found["silent"] == 0
    assert found["robust_accuracy"] == whole["robust_accuracy"]


def test_where_all_are_broken_the_attack_ends(make_target: Any) -> None:
    target = make_target("torch", count=60)
    arguments = {"max_iter": 500, "eps_step": "0.1 eps"}
    spec = AttackSpec("pgd", "pgd", arguments, first_success=True)
    record, arrays = run_attack(spec, target, key="k", norm="linf", eps=0.5, seed=0)
    assert np.array_equal(arrays["success"], arrays["clean_correct"])
    assert record["backwards"] < 100 * arrays["success"].sum()


def test_gradients_are_asked_for_where_the_watch_found_nothing() -> None:
    clean, labels = np.full((3, 2), 0.5, dtype=np.float32), np.zeros(3, dtype=np.int64)
    watch = Watch(norm="linf", eps=0.1, predict=np.zeros_like, leaves=True)
    watch.begin(clean, labels)
    assert watch.open_rows(3) is None
    watch(clean + np.float32(0.05), np.array([[1, 0], [0, 1], [1, 0]]))
    assert watch.open_rows(2) is None  # nobody knows which two these are
    assert watch.open_rows(3).tolist() == [0, 2]

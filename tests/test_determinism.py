"""The same seed gives the same adversarial examples, for every attack, ART's unseeded ones too."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.attacks.entry import UNRESTRICTED
from benchmark.attacks.running import run_attack
from benchmark.attacks.suites import AttackSpec
from benchmark.attacks.table import ATTACKS

# Just enough of each attack to draw all that it draws.
STEPS = {"max_iter": 4, "eps_step": "0.5 eps"}
MARGIN = {"max_iter": 3, "binary_search_steps": 2, "initial_const": 1}
ARGUMENTS = {
    "bim": STEPS,
    "pgd": {**STEPS, "num_random_init": 2},
    "momentum": STEPS,
    "apgd": {**STEPS, "nb_random_init": 2},
    "acg": {**STEPS, "nb_random_init": 2},
    "racg": {**STEPS, "nb_random_init": 2},
    "apgd-targeted": {"max_iter": 3, "targets": 2},
    "fab-targeted": {"max_iter": 3, "targets": 2},
    "fab": {"max_iter": 3, "targets": 2},
    "autoattack": {"max_iter": 3, "queries": 10},
    "fmn": {"max_iter": 4},
    "ddn": {"max_iter": 4},
    "sigma-zero": {"max_iter": 4},
    "sparse-rs": {"max_iter": 10},
    "fast-gradient": {"num_random_init": 2},
    "deepfool": {"max_iter": 5},
    "newtonfool": {"max_iter": 3},
    "cw-l2": MARGIN,
    "cw-linf": {"max_iter": 1, "const_factor": 1000, "decrease_factor": 0.3},
    "cw-l0": MARGIN,
    "elastic-net": MARGIN,
    "square": {"max_iter": 10},
    "simba": {"max_iter": 5},
    "zoo": {"max_iter": 2, "nb_parallel": 4},
    "virtual-adversarial": {"max_iter": 1, "finite_diff": 0.1},
    "threshold": {"max_iter": 1},
    "pixel": {"max_iter": 1},
    "hop-skip-jump": {"max_iter": 1, "max_eval": 20, "init_eval": 10},
    "boundary": {"max_iter": 2},
    "sign-opt": {"max_iter": 1, "num_trial": 2, "query_limit": 100},
    "geoda": {"max_iter": 500, "sub_dim": 4},
    "spatial": {"max_rotation": 20, "num_rotations": 3},
    "shadow": {"nb_steps": 2},
    "wasserstein": {
        "max_iter": 2,
        "eps": 0.5,
        "conjugate_sinkhorn_max_iter": 5,
        "projected_sinkhorn_max_iter": 5,
    },
    "universal": {"max_iter": 1, "attacker": "pgd"},
    "universal-targeted": {"max_iter": 1},
    "patch": {"max_iter": 2, "scale": 0.5},
}
# Draw nothing, or only an order: another seed need not change anything.
DRAW_NOTHING = {
    "bim", "momentum", "deepfool", "newtonfool", "cw-l2", "cw-linf", "cw-l0", "elastic-net",
    "jsma", "spatial", "wasserstein", "fab", "universal-targeted", "fab-targeted",
    "fmn", "ddn", "sigma-zero",
}  # fmt: skip
EPS = {"linf": 0.05, "l2": 0.5, "l1": 3.0, "l0": 4.0, UNRESTRICTED: None}
# Those whose code differs between the frameworks; the others are NumPy around the estimator.
IN_BOTH = ("pgd", "momentum", "hop-skip-jump", "shadow")

CASES = [
    *[(name, "torch") for name in ATTACKS],
    *[(name, "tensorflow") for name in IN_BOTH],
]


def points(name, target, seed):
    """Every example as the attack left it: what it returned, or met within the budget."""
    norm = ATTACKS[name].norms[-1]
    spec = AttackSpec(name, name, ARGUMENTS.get(name, {}), norm=norm, eps=EPS[norm])
    record, arrays = run_attack(spec, target, key="k", norm="linf", eps=0.05, seed=seed)
    assert record["status"] == "ok", record["reason"]
    return arrays


@pytest.mark.parametrize(("name", "framework"), CASES)
def test_the_same_seed_gives_the_same_examples(name, framework, make_target):
    target = make_target(framework, shape=(6, 6, 1), count=4)
    ours, theirs = (points(name, target, seed=7) for _ in range(2))
    for array in ours:
        same = np.array_equal(ours[array], theirs[array], equal_nan=ours[array].dtype.kind == "f")
        assert same, array


@pytest.mark.parametrize("name", sorted(set(ATTACKS) - DRAW_NOTHING))
def test_another_seed_gives_others(name, make_target):
    target = make_target("torch", shape=(6, 6, 1), count=8)
    ours, theirs = (points(name, target, seed=seed) for seed in (7, 8))
    assert any(not np.array_equal(ours[norm], theirs[norm]) for norm in ("l2", "linf", "l0"))

"""sigma-zero, Sparse-RS, FMN and DDN: against known distances, and their promises."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from attacked_digits import abstaining, broken, estimator, right

from benchmark import frameworks

frameworks.import_torch_first()

import torch  # noqa: E402

import benchmark.estimators.pytorch as on_torch  # noqa: E402
from benchmark.attacks.geometry import distances  # noqa: E402
from benchmark.attacks.nearest.decoupled_direction_norm import (  # noqa: E402
    DecoupledDirectionNorm,
)
from benchmark.attacks.nearest.fast_minimum_norm import FastMinimumNorm  # noqa: E402
from benchmark.attacks.nearest.sigma_zero import SigmaZero  # noqa: E402
from benchmark.attacks.nearest.sparse_rs import SparseRS  # noqa: E402
from benchmark.attacks.running import run_attack  # noqa: E402
from benchmark.attacks.specification import AttackSpec  # noqa: E402
from benchmark.attacks.workarounds.saliency import SaliencyMapMethod  # noqa: E402

FEW = {"max_iter": 30}
# The class, its norm, and arguments.
ATTACKS = {
    "sigma-zero": (SigmaZero, "l0", FEW),
    "fmn, l0": (FastMinimumNorm, "l0", {"norm": 0, **FEW}),
    "fmn, l1": (FastMinimumNorm, "l1", {"norm": 1, **FEW}),
    "fmn, l2": (FastMinimumNorm, "l2", {"norm": 2, **FEW}),
    "fmn, linf": (FastMinimumNorm, "linf", {"norm": np.inf, **FEW}),
    "ddn": (DecoupledDirectionNorm, "l2", FEW),
    "sparse-rs": (SparseRS, "l0", {"eps": 5, "max_iter": 60}),
}
COUNT = 30


examples = functools.partial(right, COUNT)


def apart(norm, x, found):
    return distances(found.reshape(len(x), -1), x.reshape(len(x), -1), norm)


# Known answers: the boundary of a linear model


def linear(size=20, shift=0.6):
    """A linear model, examples at the centre of the box, and their distances by norm."""
    generator = np.random.default_rng(0)
    weights = generator.normal(size=size)
    module = torch.nn.Linear(size, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor(np.stack([np.zeros(size), weights])))
        module.bias.copy_(torch.tensor([0.0, -weights.sum() / 2 - shift]))
    falling = -np.sort(-np.abs(weights))
    gains = np.r_[0, np.cumsum(falling) / 2]  # of the k values that weigh most, at the box's end
    whole = int(np.searchsorted(gains, shift)) - 1
    known = {
        "linf": shift / np.abs(weights).sum(),
        "l2": shift / np.linalg.norm(weights),
        "l1": whole / 2 + (shift - gains[whole]) / falling[whole],
        "l0": whole + 1,
    }
    x = np.full((3, size), 0.5, dtype=np.float32)
    return on_torch.wrap(module, input_shape=(size,), classes=2, device="cpu"), x, known


@pytest.mark.parametrize("shift", [0.6, 3.0], ids=["near", "far"])
@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "sparse-rs"])
def test_the_distance_to_a_plane_is_found(name, shift):
    kind, norm, arguments = ATTACKS[name]
    model, x, known = linear(shift=shift)
    found = kind(model, seed=0, **{**arguments, "max_iter": 300}).generate(x)

    assert broken(found, 0, model).all()
    assert apart(norm, x, found) == pytest.approx(np.full(3, known[norm]), rel=0.02)


def test_the_fewest_values_that_can_cross_a_plane_are_found_by_random_search():
    model, x, known = linear(shift=3.0)
    fewest = int(known["l0"])
    found = [
        broken(SparseRS(model, eps=eps, max_iter=2000, seed=0).generate(x), 0, model)
        for eps in (fewest - 1, fewest)
    ]
    assert [each.tolist() for each in found] == [[False] * 3, [True] * 3]


def test_the_slope_of_the_smooth_count_is_its_gradient():
    attack = SigmaZero(estimator(), sigma=0.1)
    change = np.random.default_rng(1).normal(size=(4, 6))

    def smooth(change):
        return (change**2 / (change**2 + 0.1)).mean(axis=1)

    for column in range(6):
        step = np.zeros_like(change)
        step[:, column] = 1e-6
        slope = (smooth(change + step) - smooth(change - step)) / 2e-6
        assert np.allclose(attack._count_slope(change)[:, column], slope, atol=1e-6)


# On a trained model


@pytest.mark.parametrize("name", ATTACKS)
def test_what_is_found_is_in_the_box_misclassified_and_repeatable(name):
    kind, norm, arguments = ATTACKS[name]
    x, y = examples()
    found = kind(estimator(), seed=1, **arguments).generate(x, y)

    assert found.shape == x.shape
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1
    changed = apart(norm, x, found) > 0
    assert changed.sum() > COUNT / 2
    if name != "sparse-rs":  # which returns its best where nothing was found
        np.testing.assert_array_equal(broken(found, y), changed)
    again = kind(estimator(), seed=1, **arguments).generate(x, np.eye(10)[y])
    assert np.array_equal(found, again)


@pytest.mark.parametrize("name", ATTACKS)
def test_both_frameworks_find_the_same(name):
    kind, norm, arguments = ATTACKS[name]
    x, y = examples()
    found = [
        kind(estimator(f), seed=1, **arguments).generate(x, y) for f in ("torch", "tensorflow")
    ]
    first, second = (apart(norm, x, one) for one in found)

    assert (broken(found[0], y) == broken(found[1], y)).mean() > 0.9
    assert np.median(first) == pytest.approx(np.median(second), rel=0.05)


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "sparse-rs"])
def test_more_steps_come_nearer(name):
    kind, norm, arguments = ATTACKS[name]
    x, y = examples()
    near = []
    for steps in (8, 80):
        found = kind(estimator(), seed=0, **{**arguments, "max_iter": steps}).generate(x, y)
        near.append(np.where(broken(found, y), apart(norm, x, found), np.inf))
    assert (near[1] <= near[0] + 1e-6).mean() > 0.8
    assert (near[1] < near[0]).any()


def test_sigma_zero_changes_several_times_fewer_values_than_jsma():
    x, y = examples()
    ours = SigmaZero(estimator(), max_iter=100).generate(x, y)
    jsma = SaliencyMapMethod(
        estimator(), norm=0, eps=64, targets=3, batch_size=COUNT, verbose=False
    ).generate(x, y)
    medians = [
        np.median(np.where(broken(found, y), apart("l0", x, found), np.inf))
        for found in (ours, jsma)
    ]
    assert 2 * medians[0] <= medians[1]


@pytest.mark.parametrize("eps", [1, 2.9, 5, 1000])
def test_random_search_changes_no_more_values_than_its_budget(eps):
    x, y = examples()
    found = SparseRS(estimator(), eps=eps, max_iter=20, seed=0).generate(x, y)
    assert apart("l0", x, found).max() <= min(int(eps), 64)


def test_random_search_asks_no_more_than_its_queries_and_leaves_what_is_broken():
    x, y = examples()
    model = estimator()
    before = model.passes.forwards
    found = SparseRS(model, eps=3, max_iter=50, seed=0).generate(x, y)
    robust = int((~broken(found, y)).sum())
    asked = model.passes.forwards - before - 2 * COUNT  # of generate, and of the line above

    assert 0 < robust < COUNT
    assert 50 * robust < asked < 50 * COUNT


def test_a_restart_breaks_what_the_first_search_left():
    x, y = examples()
    breaks = [
        broken(
            SparseRS(estimator(), eps=4, max_iter=30, nb_restarts=n, seed=0).generate(x, y), y
        ).sum()
        for n in (1, 6)
    ]
    assert breaks[0] < breaks[1]


@pytest.mark.parametrize("name", ATTACKS)
def test_outputs_that_are_no_numbers_end_the_search_at_finite_points(name):
    model = abstaining(above=0.3)
    kind, _, arguments = ATTACKS[name]
    x, _ = examples()
    found = kind(model, seed=0, **arguments).generate(x, np.zeros(len(x), dtype=int))
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("kind", "norm", "allowed"),
    [(SigmaZero, 2, "0"), (SparseRS, np.inf, "0"), (DecoupledDirectionNorm, 1, "2")],
)
def test_other_norms_are_refused(kind, norm, allowed):
    with pytest.raises(ValueError, match=f"allowed: {allowed}$"):
        kind(estimator(), norm=norm)


# As attacks of a suite


@pytest.mark.parametrize("name", ["sigma-zero", "fmn", "ddn"])
def test_what_is_nearest_beyond_the_budget_is_stored_and_is_no_success(name, make_target):
    target = make_target("torch")
    norm = {"sigma-zero": "l0"}.get(name, "l2")
    spec = AttackSpec(name, name, {"max_iter": 40}, norm=norm, eps=1e-3)
    record, arrays = run_attack(spec, target, key="k", norm="linf", eps=0.1, seed=0)
    attacked = arrays["clean_correct"]

    assert (record["status"], record["violations"]["budget"]) == ("ok", 0)
    assert arrays["adversarial"][attacked].any()
    assert not arrays["success"].any()
    assert (arrays[norm][attacked & arrays["adversarial"]] > 1e-3).all()


@pytest.mark.parametrize("queries", [1, 100, 20_000])
def test_the_share_that_sparse_rs_exchanges_is_half_at_most_and_never_grows(make_target, queries):
    attack = SparseRS(make_target("torch").estimator, eps=5, max_iter=queries)
    shares = [attack._share(query) for query in range(1, queries + 1)]
    assert shares == sorted(shares, reverse=True)
    assert max(shares) <= attack.p_init / 2


def test_a_suite_counts_sparse_successes_within_the_budget(make_target):
    target = make_target("torch")
    spec = AttackSpec("s", "sparse-rs", {"max_iter": 100}, norm="l0", eps=20.0)
    record, arrays = run_attack(spec, target, key="k", norm="linf", eps=0.1, seed=0)

    assert record["violations"] == {"budget": 0, "box": 0, "non_finite": 0}
    assert arrays["success"].any()
    assert arrays["l0"][arrays["success"]].max() <= 20

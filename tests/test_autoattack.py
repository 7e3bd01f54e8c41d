"""Our AutoAttack: its mathematics against slow references, its promises on a trained model."""

from __future__ import annotations

import functools
import tracemalloc

import numpy as np
import pytest
from attacked_digits import abstaining, broken, estimator, right, trained
from scipy.optimize import linprog, minimize

from benchmark import frameworks, models

frameworks.import_torch_first()

import torch  # noqa: E402
from art.estimators.classification import PyTorchClassifier  # noqa: E402

import benchmark.estimators.pytorch as on_torch  # noqa: E402
import benchmark.models.pytorch as in_torch  # noqa: E402
from benchmark.attacks.autoattack.apgd import (  # noqa: E402
    LOSSES,
    APGDCrossEntropy,
    APGDTargeted,
)
from benchmark.attacks.autoattack.cascade import StandardAutoAttack  # noqa: E402
from benchmark.attacks.autoattack.climbing import Climb, Halving  # noqa: E402
from benchmark.attacks.autoattack.fab import FABTargeted  # noqa: E402
from benchmark.attacks.autoattack.losses import Difference, TargetedDLR  # noqa: E402
from benchmark.attacks.autoattack.planes import towards_plane  # noqa: E402
from benchmark.attacks.autoattack.square import Square  # noqa: E402
from benchmark.attacks.geometry import Region, lengths  # noqa: E402

FRAMEWORKS = ("torch", "tensorflow")
# ART's name of a norm, and a budget that breaks some examples of `estimator` and leaves some.
NORMS = {"linf": (np.inf, 0.1), "l2": (2, 0.5), "l1": (1, 1.5)}
ATTACKS = {
    "apgd-ce": (APGDCrossEntropy, {"max_iter": 12}),
    "apgd-pm": (APGDCrossEntropy, {"max_iter": 12, "loss": "probability-margin"}),
    "apgd-targeted": (APGDTargeted, {"max_iter": 6, "targets": 3}),
    "fab-targeted": (FABTargeted, {"max_iter": 10, "targets": 2}),
    "square": (Square, {"max_iter": 60, "rescaled": True}),
    "autoattack": (StandardAutoAttack, {"max_iter": 3, "queries": 10}),
}
COUNT = 40


examples = functools.partial(right, COUNT)


def distances(norm, x, found):
    return lengths((found.astype(np.float64) - x).reshape(len(x), -1), norm)


# Projections


@pytest.mark.parametrize("norm", NORMS)
def test_a_projection_is_in_the_region_and_no_other_point_there_is_nearer(norm):
    generator = np.random.default_rng(0)
    x = generator.random((6, 5))
    points = x + generator.normal(size=x.shape)
    region = Region(norm, 0.4)
    found = region.project(x.astype(np.float32), points.astype(np.float32))
    assert (lengths(found - x, norm) <= 0.4 + 1e-6).all()
    assert found.min() >= 0
    assert found.max() <= 1
    if norm == "l2":
        return  # scaled, then clipped: the reference's own short cut
    for row in range(len(x)):
        limits = {"type": "ineq", "fun": lambda z, c=x[row]: 0.4 - lengths((z - c)[None], norm)[0]}
        if norm == "linf":
            best = np.clip(np.clip(points[row], x[row] - 0.4, x[row] + 0.4), 0, 1)
        else:
            best = minimize(
                lambda z, p=points[row]: ((z - p) ** 2).sum(), x[row], bounds=[(0, 1)] * 5,
                constraints=limits, options={"maxiter": 500},
            ).x  # fmt: skip
        nearest = ((best - points[row]) ** 2).sum()
        assert ((found[row] - points[row]) ** 2).sum() <= nearest + 1e-4


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("crosses", [True, False], ids=["crosses the box", "beyond the box"])
def test_the_shortest_move_to_a_plane(norm, crosses):
    generator = np.random.default_rng(1)
    x, normal = generator.random((8, 6)), generator.normal(size=(8, 6))
    normal[:, 0] = 0
    offset = generator.normal(scale=0.3, size=8) + (0 if crosses else 30)
    gap = (normal * x).sum(axis=1) - (normal * generator.random(x.shape)).sum(axis=1) + offset
    moves = towards_plane(
        *(v.astype(np.float32) for v in (x, normal, gap)), norm, (0.0, 1.0)
    ).astype(np.float64)  # fmt: skip
    assert (x + moves).min() >= -1e-6
    assert (x + moves).max() <= 1 + 1e-6
    for row, (least, reachable) in enumerate(shortest(x, normal, gap, norm)):
        left = gap[row] + normal[row] @ moves[row]
        if reachable:
            assert abs(left) < 1e-5
            assert lengths(moves[row][None], norm)[0] == pytest.approx(least, abs=1e-5)
        else:
            assert left * gap[row] > 0
            assert abs(left) == pytest.approx(least, abs=1e-5)
    assert any(reachable for _, reachable in shortest(x, normal, gap, norm)) == crosses


def shortest(x, normal, gap, norm):
    """(length of the shortest move, True), or (what is left at best of the gap, False)."""
    results = []
    for point, w, g in zip(x, normal, gap, strict=True):
        room = np.where(-w * np.sign(g) > 0, 1 - point, point) * (w != 0)
        left = abs(g) - np.abs(w) @ room
        if left > 0:
            results.append((left, False))
        elif norm == "l2":
            plane = {"type": "eq", "fun": lambda d, w=w, g=g: w @ d + g}
            bounds = list(zip(-point, 1 - point, strict=True))
            found = minimize(lambda d: d @ d, np.zeros(6), bounds=bounds, constraints=plane)
            results.append((np.sqrt(found.fun), True))
        else:
            results.append((linear(point, w, g, norm), True))
    return results


def linear(point, w, g, norm):
    """The shortest length by linear programming over the move's parts up and down, and its size."""
    d = len(point)
    lengths = np.r_[np.zeros(2 * d), 1] if norm == "linf" else np.r_[np.ones(2 * d), 0]
    largest = np.hstack([np.eye(d), np.eye(d), -np.ones((d, 1))])
    bounds = [(0, up) for up in 1 - point] + [(0, down) for down in point] + [(0, None)]
    limits = (largest, np.zeros(d)) if norm == "linf" else (None, None)
    return linprog(lengths, *limits, np.r_[w, -w, 0][None], [-g], bounds=bounds).fun


# Losses


@pytest.mark.parametrize("classes", [2, 3, 4, 7])
@pytest.mark.parametrize("kind", [*LOSSES, "difference", "targeted dlr"])
def test_weights_are_the_gradient_of_the_value(kind, classes):
    generator = np.random.default_rng(2)
    logits = generator.normal(size=(5, classes))
    y = generator.integers(0, classes, 5)
    target = (y + 1) % classes
    loss = {
        **{name: made(y) for name, made in LOSSES.items()},
        "difference": Difference(y, target),
        "targeted dlr": TargetedDLR(y, target),
    }[kind]
    for column in range(classes):
        step = np.zeros_like(logits)
        step[:, column] = 1e-6
        slope = (loss.values(logits + step) - loss.values(logits - step)) / 2e-6
        assert np.allclose(loss.weights(logits)[:, column], slope, atol=1e-6)


def test_the_targeted_dlr_does_not_depend_on_the_scale_of_the_logits():
    logits = np.random.default_rng(3).normal(size=(5, 6))
    loss = TargetedDLR(np.zeros(5, dtype=int), np.ones(5, dtype=int))
    assert np.allclose(loss.values(logits), loss.values(1000 * logits))
    assert (np.abs(loss.weights(logits)).max(axis=1) > 0).all()


# The schedule


def test_steps_are_halved_at_the_papers_checkpoints():
    flat = np.zeros((1, 4), dtype=np.float32)
    climb = Climb.begin(flat, flat, np.zeros(1), flat)
    rule = Halving(climb, Region("linf", 0.1), 100)
    halved_at = []
    for step in range(1, 101):
        before = rule.step[0, 0]
        climb.arrive(flat, np.zeros(1), flat)  # never rises
        rule.review(climb)
        if rule.step[0, 0] < before:
            halved_at.append(step)
    assert halved_at == [22, 41, 57, 70, 80, 87, 93, 99]


def test_steps_that_rise_are_kept():
    flat = np.zeros((1, 4), dtype=np.float32)
    climb = Climb.begin(flat, flat, np.zeros(1), flat)
    rule = Halving(climb, Region("linf", 0.1), 100)
    for step in range(100):
        climb.arrive(flat, np.full(1, step + 1.0), flat)
        rule.review(climb)
    assert rule.step[0, 0] == np.float32(0.2)


# The attacks


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ATTACKS)
def test_what_is_found_is_in_the_region_repeatable_and_misclassified(name, norm):
    kind, arguments = ATTACKS[name]
    art_norm, eps = NORMS[norm]
    x, y = examples()
    arguments = {"norm": art_norm, "eps": eps, "seed": 1, **arguments}
    found = kind(estimator(), **arguments).generate(x, y)
    assert found.shape == x.shape
    assert found.dtype == np.float32
    assert (distances(norm, x, found) <= eps * (1 + 1e-5)).all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert 0 < broken(found, y).sum() < COUNT
    again = kind(estimator(), **arguments).generate(x, np.eye(10)[y])
    assert np.array_equal(found, again)


def test_without_a_seed_one_is_drawn_from_numpys_generator():
    x, y = examples()
    drawn = []
    for seed in (5, 5, 6):
        np.random.seed(seed)  # noqa: NPY002
        drawn.append(Square(estimator(), eps=0.1, max_iter=3).generate(x, y))
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize("name", ATTACKS)
def test_both_frameworks_find_the_same(name):
    kind, arguments = ATTACKS[name]
    x, y = examples()
    found = [
        broken(kind(estimator(f), eps=0.1, seed=1, **arguments).generate(x, y), y)
        for f in FRAMEWORKS
    ]
    assert (found[0] != found[1]).sum() <= 1


@pytest.mark.parametrize("name", ATTACKS)
def test_arts_own_estimator_with_channels_first_is_attacked_as_well(name):
    kind, arguments = ATTACKS[name]
    _, specification, weights = trained()
    foreign = PyTorchClassifier(
        in_torch.build(specification, weights), torch.nn.CrossEntropyLoss(), (1, 8, 8), 10,
        clip_values=(0.0, 1.0), device_type="cpu",
    )  # fmt: skip
    x, y = examples()
    ours = kind(estimator(), eps=0.1, seed=1, **arguments).generate(x, y)
    theirs = kind(foreign, eps=0.1, seed=1, **arguments).generate(x.transpose(0, 3, 1, 2), y)
    assert np.allclose(theirs.transpose(0, 2, 3, 1), ours, atol=1e-5)


@pytest.mark.parametrize("name", ATTACKS)
def test_what_is_decided_is_not_asked_about_again(name):
    kind, arguments = ATTACKS[name]
    x, y = examples()
    model = estimator()
    before = model.passes.forwards
    found = kind(model, eps=1.0, seed=1, **arguments).generate(x, y)
    assert broken(found, y).all()
    # All but a few fall to the first points, so this is far from every step or query.
    assert model.passes.forwards - before < 12 * len(x)


@pytest.mark.parametrize("name", ATTACKS)
def test_misclassified_examples_are_left_alone(name):
    kind, arguments = ATTACKS[name]
    x, y = examples()
    wrong = (y + 1) % 10
    before = estimator().passes.backwards
    assert np.array_equal(kind(estimator(), eps=0.1, **arguments).generate(x, wrong), x)
    assert estimator().passes.backwards == before


@pytest.mark.parametrize("name", ["apgd-ce", "apgd-targeted", "fab-targeted"])
def test_tabular_data_are_attacked_by_gradients(name):
    specification = models.specification("mlp", (12,), 3)
    model = in_torch.build(specification, specification.initial_weights(0))
    tabular = on_torch.wrap(model, input_shape=(12,), classes=3, device="cpu")
    x = np.random.default_rng(0).random((20, 12), dtype=np.float32)
    kind, arguments = ATTACKS[name]
    y = tabular.predict(x).argmax(axis=1)
    assert broken(kind(tabular, eps=0.3, seed=0, **arguments).generate(x), y, tabular).any()


def test_square_saves_queries_that_would_change_nothing():
    x, y = examples()
    model = estimator()
    before = model.passes.forwards
    found = Square(model, eps=0.02, seed=0, max_iter=200, rescaled=True).generate(x, y)
    robust = (~broken(found, y)).sum()
    assert robust > COUNT / 2
    assert model.passes.forwards - before < 0.9 * 200 * robust


def test_a_later_target_breaks_what_the_first_left():
    x, y = examples()
    breaks = [
        broken(
            APGDTargeted(estimator(), eps=0.15, seed=0, targets=t, max_iter=30).generate(x, y), y
        ).sum()
        for t in (1, 9)
    ]
    assert breaks[0] < breaks[1]


def test_fab_comes_nearer_to_the_example_with_more_steps():
    x, y = examples()
    near = []
    for steps in (2, 20):
        attack = FABTargeted(
            estimator(), norm=2, eps=0.5, seed=0, targets=2, max_iter=steps, minimal=True
        )
        found = attack.generate(x, y)
        assert broken(found, y).all()
        near.append(distances("l2", x, found))
    assert (near[1] <= near[0] + 1e-6).all()
    assert near[1].mean() < 0.97 * near[0].mean()


@pytest.mark.parametrize("name", ATTACKS)
def test_outputs_that_are_no_numbers_end_the_search_at_finite_points(name):
    model = abstaining(above=0)
    kind, arguments = ATTACKS[name]
    x, _ = examples()
    y = np.zeros(len(x), dtype=int)
    found = kind(model, eps=0.1, seed=0, **arguments).generate(x, y)
    assert np.isfinite(found).all()


def test_memory_does_not_grow_with_the_number_of_examples():
    x, y = examples()
    peaks = []
    for times in (1, 8):
        many, labels = np.tile(x, (times, 1, 1, 1)), np.tile(y, times)
        attack = APGDCrossEntropy(estimator(), eps=0.1, seed=0, max_iter=5, batch_size=COUNT)
        tracemalloc.start()
        attack.generate(many, labels)
        peaks.append(tracemalloc.get_traced_memory()[1] - many.nbytes)
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.parametrize(
    "arguments",
    [{"norm": 3}, {"eps": 0}, {"batch_size": 0}, {"loss": "hinge"}],
    ids=["norm", "eps", "batch size", "loss"],
)
def test_wrong_settings_are_refused(arguments):
    with pytest.raises(ValueError, match=r"allowed|above 0"):
        APGDCrossEntropy(estimator(), **arguments)


def test_the_cascade_says_what_each_attack_found():
    x, y = examples()
    attack = StandardAutoAttack(estimator(), eps=0.12, seed=0, max_iter=10, queries=30)
    found = attack.generate(x, y)
    assert sum(attack.found.values()) == broken(found, y).sum() > 0
    assert attack.found["apgd-ce"] > 0

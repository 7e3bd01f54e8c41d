"""Attacks whose points lie where the model computes find what they find with NumPy's."""

from __future__ import annotations

import functools
from functools import partial

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import torch  # noqa: E402
from attacked_digits import right, trained  # noqa: E402
from far_tensors import FarEstimator, copied_shapes  # noqa: E402

import benchmark.estimators.pytorch as on_torch  # noqa: E402
import benchmark.models.pytorch as in_torch  # noqa: E402
from benchmark.attacks import arrays  # noqa: E402
from benchmark.attacks.autoattack.apgd import APGDCrossEntropy, APGDTargeted  # noqa: E402
from benchmark.attacks.autoattack.cascade import StandardAutoAttack  # noqa: E402
from benchmark.attacks.autoattack.fab import FABTargeted  # noqa: E402
from benchmark.attacks.autoattack.planes import towards_plane  # noqa: E402
from benchmark.attacks.autoattack.square import Square  # noqa: E402
from benchmark.attacks.geometry import ORDERS, Region, distances, in_box, lengths  # noqa: E402
from benchmark.attacks.running import run_attack  # noqa: E402
from benchmark.attacks.suites import AttackSpec  # noqa: E402
from benchmark.attacks.target import Target  # noqa: E402
from benchmark.attacks.watch import Watch  # noqa: E402
from benchmark.estimators.passes import outputs_of  # noqa: E402

EPS = {"linf": 0.1, "l2": 0.5, "l1": 1.5}
ATTACKS = {
    "apgd-ce": (APGDCrossEntropy, {"max_iter": 12}),
    "apgd-targeted": (APGDTargeted, {"max_iter": 6, "targets": 3}),
    "fab-targeted": (FABTargeted, {"max_iter": 10, "targets": 2, "nb_restarts": 2}),
    "square": (Square, {"max_iter": 60, "rescaled": True}),
    "autoattack": (StandardAutoAttack, {"max_iter": 3, "queries": 10, "batch_size": 25}),
}
COUNT = 40


@functools.cache
def network():
    data, specification, weights = trained()
    return data, in_torch.build(specification, weights)


def estimator(home="numpy"):
    data, model = network()
    kind = FarEstimator if home == "far" else on_torch.FastPyTorchClassifier
    made = kind(
        in_torch.ChannelsLast(model), torch.nn.CrossEntropyLoss(), data.input_shape, data.classes,
        channels_first=False, clip_values=(0.0, 1.0), device_type="cpu",
    )  # fmt: skip
    made.keeps_tensors = home != "numpy"
    return made


@functools.cache
def examples():
    """Correctly classified ones."""
    return right(COUNT)


def watched(home, name, norm, **options):
    """What an attack returned, and the watch that looked on."""
    kind, arguments = ATTACKS[name]
    x, y = examples()
    model = estimator(home)
    watch = Watch(norm=norm, eps=EPS[norm], predict=partial(outputs_of, model), **options)
    watch.begin(x, y)
    model.observer = watch
    found = kind(model, norm=ORDERS[norm], eps=EPS[norm], seed=1, **arguments).generate(x, y)
    return found, watch, model.passes


@pytest.mark.parametrize("norm", EPS)
@pytest.mark.parametrize("name", ATTACKS)
def test_tensors_end_where_numpys_points_do(name, norm):
    found, watch, passes = watched("numpy", name, norm)
    other, others_watch, others_passes = watched("torch", name, norm)
    apart = np.abs(found - other).reshape(COUNT, -1).max(axis=1) > 1e-4
    # Under l1, steps depend on how many values are equal: one robust row took others.
    assert apart.sum() <= (norm == "l1")
    assert np.array_equal(watch.first_query, others_watch.first_query)
    assert np.array_equal(watch.next_query, others_watch.next_query)
    assert np.allclose(watch.kept, others_watch.kept, atol=1e-4)
    assert passes == others_passes
    assert 0 < watch.has_kept.sum() < COUNT


@pytest.mark.parametrize("norm", EPS)
@pytest.mark.parametrize("name", ATTACKS)
def test_of_a_devices_points_only_hits_and_the_last_come_to_the_host(name, norm):
    expected, *_ = watched("torch", name, norm)
    with copied_shapes() as copies:
        found, watch, passes = watched("far", name, norm)
    assert np.array_equal(found, expected)
    size = found[0].size
    points = sum(shape[0] for shape in copies if np.prod(shape[1:]) == size)
    last = COUNT * (4 if name == "autoattack" else 1)  # of each of its attacks
    assert points <= watch.has_kept.sum() + last
    others = [np.prod(shape) for shape in copies if np.prod(shape[1:]) != size]
    assert max(others) <= 4 * COUNT
    assert passes.forwards > 3 * COUNT


def run(home, name, attack, arguments, **options):
    """The stored record and arrays of an attack in a suite."""
    x, y = examples()
    target = Target(estimator(home), x, y, y, np.arange(COUNT))
    spec = AttackSpec(name, attack, arguments, **options)
    return run_attack(spec, target, key="k", norm="linf", eps=0.1, seed=0)


@pytest.mark.parametrize(
    ("attack", "arguments", "options"),
    [
        ("apgd", {"max_iter": 10}, {"first_success": True}),
        ("pgd", {"max_iter": 10, "eps_step": "0.2 eps"}, {}),
        ("pgd", {"max_iter": 10, "eps_step": "0.2 eps"}, {"first_success": True}),
        ("fab", {"max_iter": 5, "targets": 2}, {}),
        ("fmn", {"max_iter": 10}, {}),
        ("hop-skip-jump", {"max_iter": 2}, {}),
    ],
    ids=["apgd, leaves", "pgd", "pgd, leaves", "fab, nearest", "fmn, host", "hsj, host"],
)
def test_a_suites_attack_is_recorded_alike(attack, arguments, options):
    record, found = run("numpy", "one", attack, arguments, **options)
    other, others = run("torch", "one", attack, arguments, **options)
    del record["seconds"], other["seconds"]
    assert record["robust_accuracy"] < 1
    for name in ("success", "first_query", "adversarial"):
        assert np.array_equal(found[name], others[name]), name
    assert np.allclose(found["linf"], others["linf"], atol=1e-4)
    assert [record[n] for n in ("forwards", "backwards")] == [
        other[n] for n in ("forwards", "backwards")
    ]


def test_points_stay_arrays_on_a_cpu_and_under_defenses_of_art():
    x, _ = examples()
    assert isinstance(estimator("numpy").placed(x), np.ndarray)
    assert isinstance(estimator("torch").placed(x), torch.Tensor)
    behind = estimator("torch")
    behind._postprocessing_defences = behind.postprocessing_defences = [object()]
    assert isinstance(behind.placed(x), np.ndarray)


def test_tensors_get_a_tensor_of_gradients_and_outputs_of_numpy():
    x, y = examples()
    model = estimator("torch")
    weights = np.eye(10, dtype=np.float32)[y]
    answers = [
        model.logits_and_gradient(points, lambda logits, rows: weights[rows])
        for points in (x, torch.from_numpy(x))
    ]
    assert [type(logits) for logits, _ in answers] == [np.ndarray] * 2
    assert [type(gradient) for _, gradient in answers] == [np.ndarray, torch.Tensor]
    assert np.array_equal(answers[0][1], answers[1][1].numpy())


# Geometry

ROWS = np.random.default_rng(0).random((6, 20), dtype=np.float32)
OTHERS = ROWS + np.random.default_rng(1).normal(size=ROWS.shape).astype(np.float32) / 3
GAP = np.linspace(-2, 2, 6)


@pytest.mark.parametrize("norm", EPS)
@pytest.mark.parametrize(
    "compute",
    [
        lambda x, points, norm: lengths(points - x, norm),
        lambda x, points, norm: distances(points, x, norm),
        lambda x, points, norm: distances(points, x, "l0"),
        lambda x, points, norm: in_box(points),
        lambda x, points, norm: Region(norm, 0.5).project(x, points),
        lambda x, points, norm: Region(norm, 0.5).random_points(x, np.random.default_rng(2)),
        lambda x, points, norm: towards_plane(x, points, arrays.beside(GAP, x), norm, (0, 1)),
        lambda x, points, norm: arrays.smallest(points, 4),
    ],
    ids=["length", "distance", "l0", "box", "project", "random", "plane", "smallest"],
)
def test_geometry_is_the_same_of_tensors(compute, norm):
    expected = compute(ROWS, OTHERS, norm)
    found = compute(torch.from_numpy(ROWS), torch.from_numpy(OTHERS), norm)
    assert np.allclose(arrays.host(found), expected, atol=1e-6)
    assert arrays.host(found).dtype == expected.dtype

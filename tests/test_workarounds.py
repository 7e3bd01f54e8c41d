"""What is wrong with ART's attacks, and its cure: when a fault is gone, so can its cure."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from benchmark import frameworks
from benchmark.attacks import creating, running
from benchmark.attacks.creating import create
from benchmark.attacks.running import run_attack
from benchmark.attacks.suites import AttackSpec
from benchmark.attacks.table import ATTACKS
from benchmark.estimators.passes import CHUNK
from benchmark.estimators.probabilities import Probabilities

frameworks.import_torch_first()

import art.attacks.evasion as art  # noqa: E402

from benchmark.attacks.workarounds.deepfool import DeepFool  # noqa: E402
from benchmark.attacks.workarounds.projected_gradient import (  # noqa: E402
    ProjectedGradientDescent,
)


@pytest.fixture
def target(make_target):
    """A small torch model that is right about every other example."""
    return make_target("torch")


def right(target):
    """The examples that are classified correctly, with their labels."""
    rows = np.flatnonzero(target.clean_prediction == target.y)
    return target.x[rows], target.y[rows]


def ours(name, target, norm, eps, **arguments):
    """What the harness makes of an attack: its record and arrays."""
    spec = AttackSpec(name, name, arguments, norm=norm, eps=eps)
    return run_attack(spec, target, key="k", norm="linf", eps=0.3, seed=0)


def test_arts_apgd_returns_its_random_start_where_it_fails(target):
    x, y = right(target)
    attack = art.AutoProjectedGradientDescent(
        target.estimator, eps=0.01, eps_step=0.02, max_iter=10, nb_random_init=1, verbose=False
    )
    returned = target.estimator.compute_loss(attack.generate(x, y), y)
    failed = target.estimator.predict(attack.x_max).argmax(axis=1) == y
    assert failed.any()
    assert (returned < attack.f_max - 1e-4)[failed].all()
    mended = create(AttackSpec("a", "apgd", {"max_iter": 10}), target.estimator, "linf", 0.01)
    assert (target.estimator.compute_loss(mended.generate(x, y), y) > returned)[failed].all()


def test_momentum_is_not_implemented_in_arts_tensorflow(make_target):
    target = make_target("tensorflow")
    x, y = right(target)
    attack = art.MomentumIterativeMethod(target.estimator, max_iter=1, verbose=False)
    with pytest.raises(NotImplementedError):
        attack.generate(x, y)


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize(
    ("name", "kind"),
    [("pgd", art.ProjectedGradientDescent), ("bim", art.BasicIterativeMethod)],
)
def test_arts_pgd_asks_for_a_line_in_its_log(make_target, framework, name, kind):
    target = make_target(framework)
    estimator, (x, y) = target.estimator, right(target)
    passes, found = [], []
    for attack in (
        kind(estimator, eps=0.1, eps_step=0.02, max_iter=3, verbose=False),
        create(AttackSpec(name, name, {"max_iter": 3, "eps_step": 0.02}), estimator, "linf", 0.1),
    ):
        before = estimator.passes.forwards, estimator.passes.backwards
        found.append(attack.generate(x, y))
        after = estimator.passes.forwards, estimator.passes.backwards
        passes.append([b - a for a, b in zip(before, after, strict=True)])
    assert passes == [[5 * len(x), 3 * len(x)], [3 * len(x), 3 * len(x)]]
    assert np.array_equal(*found)


def test_arts_pgd_takes_its_batches_from_an_iterator_of_tensorflow(make_target, monkeypatch):
    """Which may wait at its end; a wait itself comes by chance."""
    import tensorflow

    target = make_target("tensorflow", count=20)
    x, y = right(target)
    asked = []

    def told(*arguments, whole=tensorflow.data.Dataset.from_tensor_slices, **options):
        asked.append(arguments)
        return whole(*arguments, **options)

    monkeypatch.setattr(tensorflow.data.Dataset, "from_tensor_slices", told)
    settings = {"max_iter": 3, "eps_step": 0.02, "num_random_init": 3, "batch_size": 3}
    found = []
    for attack in (
        art.ProjectedGradientDescent(target.estimator, eps=0.1, verbose=False, **settings),
        create(AttackSpec("pgd", "pgd", settings), target.estimator, "linf", 0.1),
    ):
        np.random.seed(0)  # noqa: NPY002
        found.append(attack.generate(x, y))
        assert len(asked) == 1
    assert np.array_equal(*found)


@pytest.mark.parametrize("weights", ["mask", "eps"])
def test_pgd_in_tensorflow_takes_what_arts_takes(make_target, weights):
    target = make_target("tensorflow", count=20)
    x, y = right(target)
    each = np.random.default_rng(0).random(x.shape, dtype=np.float32)
    eps = 0.1 * each if weights == "eps" else 0.1
    given = {"mask": (each > 0.5).astype(np.float32)} if weights == "mask" else {}
    settings = {"eps": eps, "eps_step": 0.2 * eps, "max_iter": 3, "batch_size": 3}
    found = [
        kind(target.estimator, verbose=False, **settings).generate(x, y, **given)
        for kind in (art.ProjectedGradientDescent, ProjectedGradientDescent)
    ]
    assert np.array_equal(*found)
    assert np.abs(found[0] - x).max() > 0.05


@pytest.mark.parametrize("name", ["momentum", "pgd"])
def test_momentum_is_the_same_in_both_frameworks(make_target, name):
    arguments = {"max_iter": 5, "eps_step": "0.5 eps", "decay": 1.0}
    found = []
    for framework in ("torch", "tensorflow"):
        target = make_target(framework)
        attack = create(AttackSpec(name, name, arguments), target.estimator, "l2", 0.5)
        found.append(attack.generate(*right(target)))
    assert np.allclose(*found, atol=1e-4)


def test_arts_deepfool_asks_about_what_is_decided(make_target):
    target = make_target("torch", count=60)
    x, y = right(target)
    found, passes = [], []
    for kind in (art.DeepFool, DeepFool):
        before = target.estimator.passes.backwards
        attack = kind(target.estimator, max_iter=20, batch_size=60, verbose=False)
        found.append(attack.generate(x, y))
        passes.append(target.estimator.passes.backwards - before)
    assert np.allclose(*found, atol=1e-5)
    assert passes[1] < 0.8 * passes[0]


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_deepfool_asks_for_the_gradients_of_the_likely_classes_alone(
    framework, make_target, monkeypatch
):
    target = make_target(framework, count=60, classes=7)
    x, y = right(target)
    found, passes = [], []
    for every in (False, True):
        if every:

            def all_of_them(self, points, classes, count):
                gradients = self.estimator.class_gradient(points)
                return gradients[np.arange(len(points))[:, np.newaxis], classes]

            monkeypatch.setattr(DeepFool, "_gradients", all_of_them)
        before = target.estimator.passes.backwards
        attack = DeepFool(target.estimator, max_iter=5, nb_grads=3, batch_size=60, verbose=False)
        found.append(attack.generate(x, y))
        passes.append(target.estimator.passes.backwards - before)
    assert np.array_equal(*found) if framework == "torch" else np.allclose(*found, atol=1e-6)
    assert passes[0] == passes[1] * 3 // 7


def test_arts_square_does_nothing_under_l1(target):
    x, y = right(target)
    attack = art.SquareAttack(target.estimator, norm=1, eps=9.0, max_iter=5, verbose=False)
    assert np.array_equal(attack.generate(x, y), x)
    _, arrays = ours("square", target, "l1", 9.0, max_iter=20)
    assert arrays["l1"].max() > 1


def test_arts_square_crashes_where_its_square_fills_the_image(target):
    x, y = right(target)
    attack = art.SquareAttack(target.estimator, eps=0.01, p_init=0.99, max_iter=5, verbose=False)
    with pytest.raises(ValueError, match="high <= 0"):
        attack.generate(x, y)
    assert ours("square", target, "linf", 0.01, p_init=0.99, max_iter=5)[0]["status"] == "ok"


def test_the_conjugate_gradient_hardly_moves_under_linf_and_is_refused(target):
    x, y = right(target)
    asked = []
    target.estimator.observer = lambda points, outputs: asked.append(points)
    attack = art.AutoConjugateGradient(
        target.estimator, eps=0.3, eps_step=0.1, max_iter=1, nb_random_init=1, verbose=False
    )
    attack.generate(x, y)
    target.estimator.observer = None
    start, moved = asked[1], asked[3]
    assert np.abs(moved - start).max() < 0.1 * attack.eps_step
    assert all(ATTACKS[name].obstacle("linf", x.shape[1:]) for name in ("acg", "racg"))


ONE_AT_A_TIME = ("deepfool", "newtonfool", "cw-l2", "cw-l0", "elastic-net", "jsma", "wasserstein")


@pytest.mark.parametrize("name", ONE_AT_A_TIME)
def test_batches_are_of_one_unless_told_otherwise(target, name):
    attack = create(AttackSpec(name, name, {}), target.estimator, ATTACKS[name].norms[0], 4.0)
    first = next(c for c in type(attack).__mro__ if c.__module__.startswith("art."))
    assert inspect.signature(first.__init__).parameters["batch_size"].default == 1
    assert attack.batch_size == CHUNK


def test_starts_are_drawn_from_a_generator_that_no_seed_reaches(target):
    x, y = right(target)
    spec = AttackSpec("boundary", "boundary", {"max_iter": 0})
    arts = art.BoundaryAttack(target.estimator, targeted=False, max_iter=0, verbose=False)
    for attack, same in ((arts, False), (create(spec, target.estimator, "l2", 1), True)):
        found = []
        for _ in range(2):
            frameworks.seed_everything(0)
            found.append(attack.generate(x, y))
        assert np.array_equal(*found) == same
    assert np.random.RandomState.__module__ == "numpy.random.mtrand"


def test_simba_needs_probabilities_and_one_hot_labels(target):
    x, y = right(target)
    with pytest.raises(ValueError, match="probabilities"):
        art.SimBA(target.estimator, verbose=False).generate(x, y)
    with pytest.raises(ValueError, match="axis"):
        art.SimBA(Probabilities(target.estimator), verbose=False).generate(x, y)
    for norm, eps in (("linf", 0.3), ("l2", 3.0)):
        _, arrays = ours("simba", target, norm, eps, max_iter=100)
        assert arrays["success"].any()
        assert arrays[norm].max() > 0.1


def test_jsma_takes_true_labels_for_targets_and_does_nothing(target):
    x, y = right(target)
    attack = art.SaliencyMapMethod(target.estimator, theta=1.0, verbose=False)
    assert np.array_equal(attack.generate(x, y), x)
    _, arrays = ours("jsma", target, "l0", 9.0)
    assert 0 < arrays["l0"].max() <= 9
    assert arrays["success"].any()


def test_spatial_transformation_remembers_what_it_found_elsewhere(target, monkeypatch):
    x, y = right(target)
    attack = art.SpatialTransformation(
        target.estimator, max_rotation=30, num_rotations=3, verbose=False
    )
    attack.generate(x[:6], y[:6])
    before = target.estimator.passes.forwards
    attack.generate(x[6:], y[6:])
    assert target.estimator.passes.forwards == before

    made = []
    monkeypatch.setattr(running, "rows_at_once", lambda: 6)
    monkeypatch.setattr(creating, "create", lambda *a: made.append(create(*a)) or made[-1])
    ours("spatial", target, "unrestricted", None, max_rotation=30, num_rotations=3)
    assert len(set(map(id, made))) == 2


@pytest.mark.parametrize(("down", "right_", "turn"), [(2, -3, 20.0), (-1, 0, -7.5), (0, 9, 0.0)])
def test_whole_pixels_need_no_splines(target, down, right_, turn):
    arts = art.SpatialTransformation(target.estimator, verbose=False)
    mended = create(AttackSpec("s", "spatial", {}), target.estimator, "unrestricted", 0)
    x = np.random.default_rng(0).random((3, 8, 6, 2), dtype=np.float32)
    expected, found = (attack._perturb(x, down, right_, turn) for attack in (arts, mended))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert mended._perturb(x, down, right_, turn).dtype == np.float32


def test_pgd_refuses_numpys_eps(target):
    with pytest.raises((TypeError, ValueError)):
        art.ProjectedGradientDescent(target.estimator, eps=np.float32(0.3), eps_step=0.1)
    assert ours("pgd", target, "linf", np.float32(0.3), max_iter=2)[0]["status"] == "ok"


def test_the_shadow_attack_takes_true_labels_for_targets(target):
    x, y = right(target)
    attack = art.ShadowAttack(target.estimator, nb_steps=1, batch_size=2, verbose=False)
    attack.generate(x[:1], y[:1])
    assert attack.targeted
    mended = create(AttackSpec("a", "shadow", {"nb_steps": 1}), target.estimator, "l2", 1)
    mended.generate(x[:1], y[:1])
    assert not mended.targeted


def test_the_pixel_attack_rounds_every_value(target):
    x, y = right(target)
    attack = art.PixelAttack(target.estimator, th=2, es=1, max_iter=1)
    changed = (attack.generate(x, y) != x).reshape(len(x), -1).sum(axis=1)
    assert changed.max() > 2
    _, arrays = ours("pixel", target, "l0", 2.0, max_iter=1)
    assert arrays["success"].any()
    assert (arrays["l0"] <= 2).all()


@pytest.mark.parametrize("attacker", ATTACKS["universal"].options["attacker"])
def test_the_attack_inside_a_universal_perturbation_has_its_budget(target, attacker):
    plain = art.UniversalPerturbation(target.estimator, attacker=attacker, eps=0.2)
    assert getattr(plain._get_attack(attacker), "eps", 0.3) == 0.3
    assert (
        ours("universal", target, "linf", 0.2, attacker=attacker, max_iter=1)[0]["status"] == "ok"
    )
    spec = AttackSpec("a", "universal", {"attacker": attacker})
    mended = create(spec, target.estimator, "linf", 0.2)._get_attack(attacker)
    assert getattr(mended, "eps", 0.2) == 0.2
    assert not getattr(mended, "verbose", False)


def test_the_targeted_universal_perturbation_steps_away_from_its_target(target):
    attack = art.TargetedUniversalPerturbation(target.estimator)
    assert not attack._get_attack(attack.attacker, attack.attacker_params).targeted
    spec = AttackSpec("a", "universal-targeted", {})
    mended = create(spec, target.estimator, "linf", 0.2)
    inner = mended._get_attack(mended.attacker, mended.attacker_params)
    assert (inner.targeted, inner.eps, inner.norm) == (True, 0.2, np.inf)


def test_the_patch_fails_on_arts_own_clip_values_and_returns_no_examples(target, capsys):
    with pytest.raises(AttributeError):
        art.AdversarialPatchNumpy(target.estimator)
    record, arrays = ours("patch", target, "unrestricted", None, max_iter=5, scale=0.5)
    assert record["status"] == "ok"
    attacked = arrays["clean_correct"]
    assert (arrays["l0"][attacked] > 0).all()
    assert (arrays["l0"][attacked] < 64).all()
    failed, _ = ours("patch", target, "unrestricted", None, max_iter=1, scale=0.1)
    assert "covers no pixel of 8x8" in failed["reason"]


def test_zoo_fails_where_it_asks_about_more_values_than_there_are(make_target):
    target = make_target("torch", shape=(10,))
    x, y = right(target)
    attack = art.ZooAttack(
        target.estimator, nb_parallel=16, use_resize=False, use_importance=False, verbose=False
    )
    with pytest.raises(ValueError, match="Too many samples"):
        attack.generate(x[:1], y[:1])
    record, _ = ours("zoo", target, "l2", 0.5, max_iter=2, nb_parallel=16)
    assert record["status"] == "ok"


def test_geoda_needs_numpy_1_and_leaves_a_file_behind(target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, y = right(target)
    attack = art.GeoDA(target.estimator, max_iter=500, sub_dim=3, verbose=False)
    with pytest.raises(AttributeError, match=r"np\.mat"):
        attack.generate(x[:1], y[:1])
    assert ours("geoda", target, "l2", 9.0, max_iter=500, sub_dim=3)[1]["success"].any()
    assert not list(tmp_path.iterdir())


def test_geodas_basis_is_the_cosine_transforms(target):
    attack = create(AttackSpec("a", "geoda", {"max_iter": 500}), target.estimator, "l2", 1)
    basis = attack._generate_2d_dct_basis(4, 8)
    assert basis.shape == (64, 16)
    assert np.allclose(basis.T @ basis, np.eye(16))
    flat = basis[:, 0].reshape(8, 8)
    assert np.allclose(flat, 1 / 8)
    along_rows = basis[:, 1].reshape(8, 8)  # the second number is that of rows
    assert np.allclose(along_rows, along_rows[:, :1])


def test_geoda_gives_up_where_no_start_is_adversarial(target, monkeypatch):
    constant = np.eye(3, dtype=np.float32)[np.zeros(1, dtype=int)]
    monkeypatch.setattr(
        target.estimator, "predict", lambda x, **kw: np.repeat(constant, len(x), axis=0)
    )
    attack = create(AttackSpec("a", "geoda", {"max_iter": 500}), target.estimator, "l2", 1)
    x = target.x[:1]
    assert np.array_equal(attack.generate(x, np.zeros(1, dtype=int)), x)


def test_probabilities_and_their_gradients(target):
    x = target.x[:5]
    soft = Probabilities(target.estimator)
    assert np.allclose(soft.predict(x).sum(axis=1), 1, atol=1e-6)
    logits, gradients = target.estimator.predict(x), target.estimator.class_gradient(x)
    p = soft.predict(x)
    expected = p[:, :, None, None, None] * (
        gradients - np.einsum("nc,nchwd->nhwd", p, gradients)[:, None]
    )
    assert np.allclose(soft.class_gradient(x), expected, atol=1e-6)
    label = logits.argmax(axis=1)
    one = soft.class_gradient(x, label=label)
    assert np.allclose(one[:, 0], expected[np.arange(5), label], atol=1e-6)

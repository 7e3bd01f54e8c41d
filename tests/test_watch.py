"""Nothing that an attack meets on its way is lost, and no attack outlives its limit."""

from __future__ import annotations

import sys
import time
import types
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.attacks.entry import AttackEntry
from benchmark.attacks.judging import Answers
from benchmark.attacks.running import run_attack, seed_of
from benchmark.attacks.suites import AttackSpec
from benchmark.attacks.table import ATTACKS
from benchmark.attacks.watch import AttackTimeoutError, FoundError, Watch

CLEAN = np.array([[0.2, 0.2], [0.5, 0.5], [0.8, 0.8]], dtype=np.float32)
LABEL = np.zeros(3, dtype=np.int64)
RIGHT, WRONG = [1.0, 0.0], [0.0, 1.0]


def watch(norm="linf", eps=0.1, **options):
    made = Watch(norm=norm, eps=eps, predict=lambda points: np.array([WRONG] * len(points)))
    made = Watch(norm=norm, eps=eps, predict=made._predict, **options)
    made.begin(CLEAN, LABEL)
    return made


def ask(one, points, outputs):
    one(np.array(points, dtype=np.float32), None if outputs is None else np.array(outputs))


POINTS = {
    "within the budget": ([0.55, 0.45], WRONG, True),
    "at its edge": ([0.6, 0.5], WRONG, True),
    "beyond it": ([0.62, 0.5], WRONG, False),
    "classified correctly": ([0.55, 0.45], RIGHT, False),
    "outputs not finite": ([0.55, 0.45], [np.nan, 1.0], True),
    "outputs not finite beyond the budget": ([0.62, 0.5], [1.0, np.nan], False),
    "outputs not known": ([0.55, 0.45], None, True),
}


@pytest.mark.parametrize("firmest", [False, True])
@pytest.mark.parametrize(("point", "outputs", "kept"), POINTS.values(), ids=POINTS)
def test_a_point_is_kept_for_the_example_that_it_lies_near(point, outputs, kept, firmest):
    one = watch(firmest=firmest)
    ask(one, [point], None if outputs is None else [outputs])
    assert one.has_kept.tolist() == [False, kept, False]
    assert one.first_query.tolist() == [-1, 1 if kept else -1, -1]
    assert not kept or np.allclose(one.kept[1], point)


def test_a_point_outside_the_box_is_not_kept():
    one = watch(eps=0.3)
    ask(one, [[1.05, 0.9]], [WRONG])
    assert not one.has_kept.any()


def test_subsets_in_any_order_are_told_apart():
    one = watch()
    ask(one, CLEAN, [RIGHT] * 3)
    ask(one, [[0.85, 0.8], [0.2, 0.25]], [WRONG, RIGHT])
    ask(one, [[0.5, 0.55], [0.2, 0.25]], [WRONG, WRONG])
    assert one.has_kept.tolist() == [True, True, True]
    assert one.first_query.tolist() == [3, 2, 2]


def test_the_nearest_of_many_examples_is_found():
    """Of more than are tried one after the other, for any of them."""
    clean = np.repeat(np.linspace(0, 1, 12, dtype=np.float32)[:, None], 2, axis=1)
    for row in range(12):
        one = Watch(norm="linf", eps=0.04, predict=lambda points: points)
        one.begin(clean, np.zeros(12, dtype=np.int64))
        ask(one, [np.clip(clean[row] + 0.03, 0, 1)], [WRONG])
        assert np.flatnonzero(one.has_kept).tolist() == [row]


def test_queries_of_one_example_are_counted_in_their_order():
    one = watch()
    ask(one, [[0.5, 0.51], [0.5, 0.52], [0.2, 0.2], [0.5, 0.53]], [RIGHT, RIGHT, RIGHT, WRONG])
    ask(one, [[0.21, 0.2]], [WRONG])
    assert one.first_query.tolist() == [2, 3, -1]


def test_the_first_point_is_kept_or_the_nearest():
    far, near = [0.59, 0.5], [0.51, 0.5]
    for nearest, expected in ((False, far), (True, near)):
        one = watch(nearest=nearest)
        ask(one, [CLEAN[0], far, CLEAN[2]], [RIGHT, WRONG, RIGHT])
        ask(one, [CLEAN[0], near, CLEAN[2]], [RIGHT, WRONG, RIGHT])
        assert np.allclose(one.kept[1], expected)
        assert one.first_query[1] == 1


def test_the_firmest_within_the_budget_is_kept():
    one = watch(firmest=True, nearest=True)
    for value, margin in [(0.58, 0.2), (0.51, 0.1), (0.55, 0.3), (0.54, 0.25), (0.7, 0.9)]:
        ask(one, [CLEAN[0], [value, 0.5], CLEAN[2]], [RIGHT, [0.0, margin], RIGHT])
    assert np.allclose(one.kept[1], [0.55, 0.5])
    assert one.has_kept.tolist() == [False, True, False]
    assert one.first_query[1] == 1


@pytest.mark.parametrize("outputs", [[0.4, 0.44], [0.44, 0.4]], ids=["for the label", "against it"])
def test_what_is_given_out_for_outputs_decides(outputs):
    one = watch(scores=lambda outputs: np.round(outputs[:, ::-1], 2))
    ask(one, [CLEAN[0], [0.55, 0.5], CLEAN[2]], [WRONG, outputs, WRONG])
    assert one.has_kept.tolist() == [False, outputs[0] > outputs[1], False]


def test_the_nearest_may_lie_beyond_the_budget():
    one = watch(nearest=True)
    ask(one, [CLEAN[0], [0.7, 0.5], CLEAN[2]], [RIGHT, WRONG, RIGHT])
    assert one.has_kept[1]
    assert one.first_query[1] == -1


def test_without_a_budget_any_point_in_the_box_counts():
    one = watch(norm="unrestricted", eps=np.inf)
    ask(one, [CLEAN[0], [0.0, 1.0], CLEAN[2]], [RIGHT, WRONG, RIGHT])
    assert one.first_query.tolist() == [-1, 1, -1]


def test_it_stops_once_every_example_is_done():
    one = watch(stops=True)
    ask(one, CLEAN[:2], [WRONG, WRONG])
    with pytest.raises(FoundError):
        ask(one, CLEAN[2:], [WRONG])


def test_a_universal_attack_keeps_nothing():
    one = watch(keeps=False)
    ask(one, CLEAN, [WRONG] * 3)
    assert not one.has_kept.any()


def test_the_limit_is_looked_at_with_every_query():
    one = watch(seconds=0.01)
    time.sleep(0.02)
    with pytest.raises(AttackTimeoutError, match=r"attack timeout of 0.01 s"):
        ask(one, CLEAN, [RIGHT] * 3)


def test_linf_finds_the_right_example_where_another_is_nearer_in_l2():
    clean = np.array([[0.0] * 50, [0.31] * 25 + [0.1] * 25], dtype=np.float32)
    one = Watch(norm="linf", eps=0.3, predict=lambda points: points)
    one.begin(clean, np.zeros(2, dtype=np.int64))
    point = clean[0] + np.float32(0.3)  # nearer to the other one, but for it beyond the budget? no
    point[25:] = 0.0
    point[:25] = 0.3
    ask(one, [point], [WRONG])
    near_in_l2 = np.linalg.norm(clean - point, axis=1).argmin()
    assert near_in_l2 == 1
    assert one.has_kept.sum() == 1


class Planted:
    """An attack that behaves badly; `estimator_params` is what ART asks of every attack."""

    attack_params = ("norm", "eps", "batch_size", "verbose")

    def __init__(self, estimator, norm=None, eps=0.1, batch_size=1, verbose=False):
        self.estimator, self.eps = estimator, eps

    def steps(self, x, y):
        """The points along PGD's way, without projection beyond the budget."""
        x_adv = x.copy()
        for _ in range(10):
            gradient = self.estimator.loss_gradient(x_adv, y)
            x_adv = np.clip(x_adv + 0.3 * self.eps * np.sign(gradient), 0, 1)
            x_adv = np.clip(x_adv, x - self.eps, x + self.eps).astype(np.float32)
        return x_adv


class Silent(Planted):
    """Meets adversarial points and returns the clean ones."""

    def generate(self, x, y):
        self.estimator.predict(self.steps(x, y))
        return x


class Honest(Planted):
    """Returns what it met."""

    def generate(self, x, y):
        return self.steps(x, y)


class Relabelling(Planted):
    """Meets adversarial points too, once it has written over the labels that it was given."""

    def generate(self, x, y):
        labels = y.copy()
        y += 1
        self.estimator.predict(x)
        self.steps(x, labels)
        return x


class Counting(Planted):
    """Tells how often it came to its end after it met something."""

    ended = 0

    def generate(self, x, y):
        self.steps(x, y)
        self.estimator.predict(x)
        Counting.ended += 1
        return x


class Cheating(Planted):
    """Leaves its budget, and asks about such points."""

    def generate(self, x, y):
        x_adv = (x > 0.5).astype(np.float32)
        self.estimator.predict(x_adv)
        return x_adv


class Endless(Planted):
    """Asks for ever."""

    def generate(self, x, y):
        while True:
            self.estimator.predict(x)


class Misshapen(Planted):
    """Returns something else than examples."""

    def generate(self, x, y):
        return x[:1], x[:1]


@pytest.fixture
def planted(monkeypatch, make_target):
    """run(name, ...) of one of the attacks above on a small model."""
    module = types.ModuleType("planted")
    module.__dict__.update({one.__name__: one for one in Planted.__subclasses__()})
    monkeypatch.setitem(sys.modules, "planted", module)
    target = make_target("torch")

    def run(name, *, eps=0.3, rows="chunk", source=None, is_random=False, **options):
        entry = AttackEntry(f"planted:{name}", "planted", ("linf",), (), rows=rows)
        monkeypatch.setitem(ATTACKS, "planted", entry)
        spec = AttackSpec("planted", "planted", {}, source=source)
        right = target.clean_prediction == target.y
        clean = Answers(np.zeros((len(right), 2)), 2 * right, 2) if is_random else None
        others = SimpleNamespace(made_on=str, estimator=lambda _: target.estimator)
        aimed = replace(target, surrogates=others, clean=clean)
        return run_attack(spec, aimed, key="k", norm="linf", eps=eps, seed=0, **options)

    return run


def test_a_silent_success_counts_and_is_told(planted):
    silent, found = planted("Silent")
    honest, expected = planted("Honest")
    assert honest["robust_accuracy"] < 0.5
    assert silent["robust_accuracy"] == honest["robust_accuracy"]
    assert silent["silent"] == found["success"].sum() > 0
    assert np.array_equal(found["success"], expected["success"])
    assert (found["first_query"][found["success"]] > 0).all()
    assert (found["first_query"][~found["success"]] == -1).all()
    assert (found["linf"] <= 0.3 * (1 + 1e-5)).all()


def test_an_attack_may_write_over_its_labels(planted):
    (silent, found), (relabelling, others) = planted("Silent"), planted("Relabelling")
    assert relabelling["silent"] == silent["silent"] > 0
    assert np.array_equal(others["success"], found["success"])


def test_what_another_model_says_of_points_on_the_way_tells_nothing(planted):
    """Only what an attack returns that is made on it is tried."""
    record, arrays = planted("Silent", source="none")
    assert record["status"] == "ok"
    assert record["silent"] == 0
    assert not arrays["success"].any()
    assert (planted("Honest", source="none")[1]["first_query"] == -1).all()


@pytest.mark.parametrize(("rows", "is_random"), [("one", False), ("one", True), ("chunk", False)])
def test_an_attack_on_one_example_ends_at_a_success_unless_that_may_be_chance(
    planted, rows, is_random, monkeypatch
):
    monkeypatch.setattr(Counting, "ended", 0)
    _, arrays = planted("Counting", rows=rows, is_random=is_random)
    right, broken = arrays["clean_correct"].sum(), arrays["success"].sum()
    assert broken > 0
    to_the_end = right if is_random else right - broken
    assert Counting.ended == (to_the_end if rows == "one" else 1)


def test_each_attack_and_each_seed_draws_its_own():
    most = 2**32 - 1
    seeds = [seed_of(seed, name) for seed in (0, 1, most) for name in ("pgd", "apgd")]
    assert len(set(seeds)) == 6
    assert 0 <= min(seeds) <= max(seeds) <= most


def test_points_beyond_the_budget_never_count(planted):
    record, arrays = planted("Cheating", eps=0.01)
    assert record["robust_accuracy"] == record["clean_accuracy"]
    assert record["violations"]["budget"] > 0
    assert (arrays["first_query"] == -1).all()


def test_an_attack_past_its_limit_has_failed(planted, capsys):
    record, arrays = planted("Endless", timeout=0.05)
    assert record["status"] == "failed"
    assert "ran past the attack timeout of 0.05 s" in record["reason"]
    assert "robust_accuracy" not in record
    assert not arrays
    assert planted("Honest", timeout=60)[0]["status"] == "ok"


def test_an_attack_that_returns_no_examples_has_failed(planted, capsys):
    record, _ = planted("Misshapen")
    assert record["status"] == "failed"
    assert "shape" in record["reason"]


def test_an_attack_may_be_run_on_some_examples_only(make_target):
    target = make_target("torch")
    spec = AttackSpec("fgsm", "fast-gradient", {}, examples=10)
    record, arrays = run_attack(spec, target, key="k", norm="linf", eps=0.3, seed=0)
    again = run_attack(spec, target, key="k", norm="linf", eps=0.3, seed=1)[1]
    attacked = arrays["attacked"]
    assert record["examples"] == attacked.sum() == 10
    assert np.array_equal(attacked, again["attacked"])
    assert not arrays["success"][~attacked].any()
    assert not attacked[:10].all()  # the data may have an order
    held = arrays["clean_correct"] & ~arrays["success"]
    assert record["robust_accuracy"] == held[attacked].mean()
    assert record["clean_accuracy"] == arrays["clean_correct"][attacked].mean()


@pytest.mark.parametrize("norm", ["l2", "unrestricted"])
def test_a_threat_of_its_own_is_measured(norm, make_target):
    target = make_target("torch")
    attack = {"l2": "pgd", "unrestricted": "spatial"}[norm]
    spec = AttackSpec("own", attack, {}, norm=norm, eps=2.0 if norm == "l2" else None)
    record, arrays = run_attack(spec, target, key="k", norm="linf", eps=0.01, seed=0)
    assert (record["norm"], record["eps"]) == (norm, 2.0 if norm == "l2" else None)
    assert record["own_threat"]
    assert norm == "unrestricted" or (arrays["linf"].max() > 0.01 and arrays["success"].any())

"""Suites, the attack table, re-measuring, and running attacks through the estimators."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fakes import Match, target_of

from benchmark import frameworks
from benchmark.attacks import running
from benchmark.attacks.measure import measure
from benchmark.attacks.running import run_attack
from benchmark.attacks.suites import AttackSpec, load_suite, suite_names
from benchmark.errors import BenchError

frameworks.import_torch_first()

FRAMEWORKS = ("torch", "tensorflow")


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_can_be_read(name):
    suite = load_suite(name)
    assert suite.attacks
    assert suite.description


def test_shares_of_eps_are_resolved():
    spec = AttackSpec("pgd", "pgd", {"eps_step": "0.1 eps", "max_iter": 7})
    assert spec.resolved(0.3) == {"eps_step": pytest.approx(0.03), "max_iter": 7}


def test_threats_take_their_budgets_from_the_data(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "attacks: {a: {attack: pgd, threat: l2}, b: {attack: pgd, threat: {norm: l1, eps: 7}}, "
        "c: {attack: pgd}, d: {attack: spatial, threat: unrestricted}}"
    )
    suite = load_suite(str(path)).with_budgets({"linf": 0.3, "l2": 1.5})
    assert [spec.threat("linf", 0.3) for spec in suite.attacks] == [
        ("l2", 1.5),
        ("l1", 7.0),
        ("linf", 0.3),
        ("unrestricted", float("inf")),
    ]
    with pytest.raises(BenchError, match="no default eps under l2"):
        load_suite(str(path)).with_budgets({})


BAD_SUITES = {
    "not YAML": ("attacks: [", "is not valid YAML"),
    "no mapping": ("- pgd", "must be a mapping"),
    "no attacks": ("description: x\nattacks: {}", "has no attacks"),
    "unknown key": ("attack: {}", "unknown key 'attack'; did you mean 'attacks'?"),
    "unknown attack": ("attacks: {a: {attack: pdg}}", "unknown attack 'pdg'; did you mean 'pgd'?"),
    "a class path": (
        "attacks: {a: {attack: 'os:system'}}",
        "no installed distribution has the module os",
    ),
    "unknown argument": (
        "attacks: {a: {attack: pgd, arguments: {max_itr: 3}}}",
        "unknown key 'max_itr'; did you mean 'max_iter'?",
    ),
    "a share of nothing": (
        "attacks: {a: {attack: pgd, arguments: {eps_step: eps/4}}}",
        "a share of the budget such as '0.1 eps'",
    ),
    "negative": ("attacks: {a: {attack: pgd, arguments: {max_iter: -1}}}", "is -1; allowed: a"),
    "text for a number": (
        "attacks: {a: {attack: universal, arguments: {attacker: fgms}}}",
        "attacker is 'fgms'; did you mean 'fgsm'?",
    ),
    "nothing like it": (
        "attacks: {a: {attack: zzzz}}",
        "'zzzz'; the nearest are zoo, sigma-zero, wasserstein; all of them: bench list attacks",
    ),
    "unknown norm": ("attacks: {a: {attack: pgd, threat: l3}}", "norm is 'l3'; did you mean"),
    "no budget": ("attacks: {a: {attack: pgd, threat: {norm: l2, eps: 0}}}", "a number above 0"),
    "a budget where there is none": (
        "attacks: {a: {attack: spatial, threat: {norm: unrestricted, eps: 1}}}",
        "none if unrestricted",
    ),
    "a share of no budget": (
        "attacks: {a: {attack: shadow, threat: unrestricted, arguments: {sigma: 1 eps}}}",
        "it has no budget",
    ),
    "examples": ("attacks: {a: {attack: pgd, examples: 1.5}}", "from 1 up, got 1.5"),
    "a Python object": ("attacks: !!python/object/apply:os.getcwd []", "is not valid YAML"),
    "unsafe name": ("attacks: {../a: {attack: pgd}}", "may hold a-z, 0-9 and hyphens only"),
}


@pytest.mark.parametrize(("text", "message"), BAD_SUITES.values(), ids=BAD_SUITES)
def test_a_bad_suite_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(BenchError) as caught:
        load_suite(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("quik", {}, "unknown suite 'quik'; did you mean 'quick'?"),
        ("../quick", {}, "unknown suite"),
        ("missing.yaml", {}, "can't read suite file"),
        ("quick", {"pdg": {}}, "has no attack 'pdg'; did you mean 'pgd'?"),
        ("quick", {"pgd": {"steps": 1}}, "unknown key 'steps'"),
    ],
)
def test_unknown_names_are_refused(name, overrides, message):
    with pytest.raises(BenchError, match=message.replace("?", r"\?")):
        load_suite(name, overrides)


POINTS = {
    "adversarial in budget": ([0.6, 0.5], [0, 1], True, {}),
    "prediction unchanged": ([0.6, 0.5], [1, 0], False, {}),
    "over budget": ([0.61, 0.5], [0, 1], False, {"budget": 1}),
    "at the budget in float32": ([0.5 + np.float32(0.1), 0.5], [0, 1], True, {}),
    "not finite": ([np.nan, 0.5], [0, 1], False, {"non_finite": 1}),
    "NaN for an answer": ([0.6, 0.5], [np.nan, 1], True, {}),
    "NaN, the label's logit the largest": ([0.6, 0.5], [1, np.nan], True, {}),
    "an infinite answer": ([0.6, 0.5], [np.inf, 0], True, {}),
    "beyond budget and box": ([1.1, 0.5], [0, 1], False, {"budget": 1, "box": 1}),
    "not finite, nor the answer": ([np.nan, 0.5], [np.nan, 1], False, {"non_finite": 1}),
    "NaN beyond the budget": ([0.61, 0.5], [np.nan, 1], False, {"budget": 1}),
}


class TestMeasure:
    """One clean example of two pixels, labelled 0 and classified so, under linf 0.1."""

    @pytest.mark.parametrize(
        ("point", "logits", "success", "violations"), POINTS.values(), ids=POINTS
    )
    def test_success_is_measured(self, point, logits, success, violations):
        found = self.measured([0.5, 0.5], point, logits)
        assert found.success.tolist() == [success]
        assert found.violations == {"budget": 0, "box": 0, "non_finite": 0} | violations
        assert found.abstained == (np.isfinite(point).all() and not np.isfinite(logits).all())

    def test_a_point_outside_the_box_does_not_count(self):
        found = self.measured([0.95, 0.5], [1.05, 0.5], [0, 1])
        assert not found.success[0]
        assert found.violations["box"] == 1

    def test_a_misclassified_example_is_no_success(self):
        found = self.measured([0.5, 0.5], [0.6, 0.5], [0, 1], clean_prediction=1)
        assert not found.success[0]

    def test_distances_are_those_of_every_norm(self):
        found = self.measured([0.5, 0.5], [0.8, 0.1], [0, 1])
        assert found.distances["linf"][0] == pytest.approx(0.4)
        assert found.distances["l2"][0] == pytest.approx(0.5)
        assert found.distances["l1"][0] == pytest.approx(0.7)
        assert found.distances["l0"][0] == 2

    def measured(self, clean, point, logits, *, clean_prediction=0):
        return measure(
            np.array([clean], dtype=np.float32),
            np.array([point], dtype=np.float32),
            np.array([logits], dtype=np.float32),
            clean_prediction=np.array([clean_prediction]),
            label=np.array([0]),
            norm="linf",
            eps=0.1,
        )


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.5), ("l2", 3.0), ("l1", 30.0)])
@pytest.mark.parametrize("name", [spec.name for spec in load_suite("quick").attacks])
def test_every_quick_attack_runs_within_its_budget(make_target, framework, norm, eps, name):
    overrides = {"square": {"max_iter": 20}, "apgd": {"max_iter": 10}, "pgd": {"max_iter": 5}}
    spec = next(s for s in load_suite("quick", overrides).attacks if s.name == name)
    shape = (12, 12, 1)
    target = make_target(framework, shape=shape)

    record, arrays = run_attack(spec, target, key="k", norm=norm, eps=eps, seed=0)

    assert record["status"] == "ok", record["reason"]
    assert record["violations"] == {"budget": 0, "box": 0, "non_finite": 0}
    assert 0 < arrays[norm].max() <= eps * (1 + 1e-5)
    assert not arrays["success"][1::2].any()
    # Under l1 one step spends the whole budget on one pixel, and the box takes most of it back.
    assert arrays["success"].any() or (name, norm) == ("fgsm", "l1")
    assert record["clean_accuracy"] == 0.5
    assert record["robust_accuracy"] == (arrays["clean_correct"] & ~arrays["success"]).mean()
    assert record["forwards"] >= 12


@pytest.mark.parametrize("eps", [0.5 / 255, 1e-4])
@pytest.mark.parametrize("attack", ["fast-gradient", "pgd", "apgd"])
def test_a_small_budget_is_kept_but_for_rounding(attack, eps):
    target = target_of(Match())
    spec = AttackSpec(attack, attack, {})
    record, arrays = run_attack(spec, target, key="k", norm="linf", eps=eps, seed=0)
    assert record["violations"]["budget"] == 0
    assert arrays["linf"].max() > eps


def test_samples_are_named_by_their_index_in_the_data(make_target):
    target = make_target("torch")
    target = dataclasses.replace(target, index=target.index + 100)
    (spec,) = [spec for spec in load_suite("quick").attacks if spec.name == "pgd"]
    _, arrays = run_attack(spec, target, key="k", norm="linf", eps=0.5, seed=0)
    assert len(arrays["sample_index"])
    assert np.array_equal(arrays["sample_clean"], target.x[arrays["sample_index"] - 100])
    assert arrays["success"][arrays["sample_index"] - 100].all()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_same_seed_gives_the_same_adversarial_examples(make_target, framework):
    target = make_target(framework)
    for spec in load_suite("quick", {"square": {"max_iter": 20}}).attacks:
        runs = [run_attack(spec, target, key="k", norm="linf", eps=0.3, seed=7) for _ in range(2)]
        samples = [arrays["sample_adversarial"] for _, arrays in runs]
        assert np.array_equal(*samples), spec.name


def test_an_attack_that_raises_is_recorded_as_failed(make_target, capsys):
    target = make_target("torch")
    target.estimator.loss_gradient = None
    spec = load_suite("quick").attacks[0]
    record, arrays = run_attack(spec, target, key="k", norm="linf", eps=0.3, seed=0)
    assert record["status"] == "failed"
    assert record["reason"].startswith("TypeError")
    assert "robust_accuracy" not in record
    assert not arrays
    assert "Traceback" in capsys.readouterr().err


def test_an_attack_that_ends_the_process_fails_alone(make_target, monkeypatch, capsys):
    def ending(*_, **__):
        raise SystemExit(3)

    monkeypatch.setattr(running, "adversarial", ending)
    spec = load_suite("quick").attacks[0]
    record, arrays = run_attack(spec, make_target("torch"), key="k", norm="linf", eps=0.3, seed=0)
    assert (record["status"], record["reason"], arrays) == ("failed", "SystemExit: 3", {})
    assert "Traceback" in capsys.readouterr().err


def test_an_attack_that_returns_no_number_is_recorded_as_failed(make_target, monkeypatch, capsys):
    """Its points count for nothing, so that a model would seem robust to it."""
    monkeypatch.setattr(running, "adversarial", lambda spec, estimator, x, *_, **__: x + np.nan)
    spec = load_suite("quick").attacks[0]
    record, arrays = run_attack(spec, make_target("torch"), key="k", norm="linf", eps=0.3, seed=0)
    assert record["status"] == "failed"
    assert "the attack returned no point that is finite" in record["reason"]
    assert not arrays
    assert "Traceback" in capsys.readouterr().err


def test_square_does_not_apply_to_tabular_data(make_target):
    target = make_target("torch", shape=(10,))
    spec = next(s for s in load_suite("quick").attacks if s.name == "square")
    record, arrays = run_attack(spec, target, key="k", norm="linf", eps=0.3, seed=0)
    assert record["status"] == "not-applicable"
    assert "images only" in record["reason"]
    assert not arrays

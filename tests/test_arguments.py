"""Arguments of attacks: what would fail after a training is refused before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.attacks.arguments import as_art_takes_it, kind_of, misfit
from benchmark.attacks.suites import SecurityCurve, load_suite, suite_names
from benchmark.attacks.table import ATTACKS
from benchmark.config import read
from benchmark.errors import BenchError
from benchmark.plans.run import make_plan

ALL = [(name, argument) for name, entry in ATTACKS.items() for argument in entry.arguments]
HUGE = "1" + "0" * 23
BRIEF = "protocol=brief"


def one_attack(folder: Path, body: str, *, name: str = "a") -> str:
    path = folder / "mine.yaml"
    path.write_text(f"attacks: {{{name}: {{{body}}}}}", encoding="utf-8")
    return str(path)


def refusal(suite: str) -> str:
    with pytest.raises(BenchError) as caught:
        load_suite(suite)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    return str(caught.value)


@pytest.mark.parametrize(("attack", "argument"), ALL, ids=[" ".join(pair) for pair in ALL])
def test_no_argument_of_any_attack_takes_what_no_attack_can_use(attack, argument):
    nonsense = (float("nan"), float("inf"), -1, 10**23, 10**400, [], None, "x")
    assert not [value for value in nonsense if kind_of(attack, argument).takes(value)]


@pytest.mark.parametrize(
    ("attack", "argument", "value"),
    [
        ("pgd", "max_iter", "1.5"),
        ("pgd", "max_iter", "true"),
        ("pgd", "max_iter", "0"),
        ("pgd", "max_iter", ".nan"),
        ("pgd", "max_iter", HUGE),
        ("pgd", "max_iter", "0.1 eps"),
        ("pgd", "eps_step", "0"),
        ("pgd", "eps_step", "0 eps"),
        ("pgd", "eps_step", '"0.1 eps\\n"'),
        ("pgd", "eps_step", "true"),
        ("pgd", "eps_step", "1" * 400 + " eps"),
        ("square", "p_init", "7"),
        ("square", "p_init", "0"),
        ("square", "rescaled", "1"),
        ("cw-linf", "decrease_factor", "1"),
        ("cw-linf", "const_factor", "1"),
        ("deepfool", "nb_grads", "1"),
        ("universal", "delta", "1"),
        ("universal-targeted", "delta", "1.0"),
        ("wasserstein", "kernel_size", "4"),
        ("wasserstein", "eps_factor", "1"),
        ("geoda", "bin_search_tol", "0.000000000001"),
        ("spatial", "max_rotation", "181"),
        ("universal", "attacker", "[pgd]"),
    ],
)
def test_a_value_that_would_fail_after_the_training_is_refused(tmp_path, attack, argument, value):
    line = refusal(one_attack(tmp_path, f"attack: {attack}, arguments: {{{argument}: {value}}}"))
    assert line.startswith(f"attack 'a': {argument} is ")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("1", "write it in quotes"),
        ('"pgd\\n"', "a-z, 0-9 and hyphens only"),
        ("p" * 300, "has 300 characters; at most 60"),
        ("[1, 2]", "YAML"),
    ],
    ids=["a number", "a line break", "long", "a list"],
)
def test_a_name_that_makes_no_file_is_refused(tmp_path, name, reason):
    assert reason in refusal(one_attack(tmp_path, "attack: pgd", name=name))


@pytest.mark.parametrize(
    ("threat", "reason"),
    [
        ("{norm: linf, eps: 8}", "did you mean 8/255?"),
        ("{norm: l2, eps: 1e+300}", "a number above 0"),
        (f"{{norm: l2, eps: {'9' * 400}}}", "a number of more than 100 digits"),
        (f"{{norm: l2, eps: {'9' * 90}}}", "a number above 0"),
        ("{norm: l2, eps: 1.0e-300}", "from 1e-09"),
        ("{norm: l2, eps: true}", "a number above 0"),
        ("{norm: l0, eps: 0.5}", "below 1 under l0, which counts changed values"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(tmp_path, threat, reason):
    assert reason in refusal(one_attack(tmp_path, f"attack: pgd, threat: {threat}"))


SUITE_IN_NUMBERS = """
attacks:
  one:
    attack: pgd
    arguments: {max_iter: 1e2, eps_step: 2/255}
    threat: {norm: linf, eps: 8/255}
    examples: 1e1
security_curve: {attack: one, budgets: [1/2, 1e0], examples: 1e1}
certification: {sigma: 64/255, n: 1e3, alpha: 1e-3}
"""


def test_numbers_of_a_suite_are_taken_as_options_are(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE_IN_NUMBERS)
    suite = load_suite(str(path))
    (one,) = suite.attacks
    assert one.arguments == {"max_iter": 100, "eps_step": 2 / 255}
    assert (one.norm, one.eps, one.examples) == ("linf", 8 / 255, 10)
    assert suite.curve == SecurityCurve("one", (0.5, 1.0), 10)
    found = suite.certification
    assert (found.sigma, found.n, found.alpha) == (64 / 255, 1000, 0.001)


def test_a_suite_whose_file_name_is_too_long_for_its_results_is_refused(tmp_path):
    path = tmp_path / f"{'s' * 200}.yaml"
    path.write_text("attacks: {a: {attack: pgd}}")
    assert "has 200 characters; at most 150" in refusal(str(path))


MISFITS = {
    "frequencies": ("simba", {"freq_dim": 9}, "l2", "don't fit images of 8x8"),
    "stride": ("simba", {"stride": 3}, "l2", "a multiple of stride"),
    "pixels know no frequency": ("simba", {"freq_dim": 9}, "linf", ""),
    "class": ("universal-targeted", {"target": 10}, "linf", "from 0 to 9 (the data's classes)"),
    "last class": ("universal-targeted", {"target": 9}, "linf", ""),
    "queries": ("geoda", {"max_iter": 250}, "l2", "max_iter is 250"),
    "patch": ("patch", {"scale": 0.2}, "unrestricted", "at least 3 pixels of 8"),
    "no search": ("cw-linf", {"initial_const": 20}, "linf", "no search begins at"),
    "a short search": ("cw-linf", {"initial_const": 19, "largest_const": 20}, "linf", ""),
    "a share of eps": ("cw-linf", {"initial_const": "9 eps", "largest_const": 1}, "linf", ""),
    "anything else": ("pgd", {"max_iter": 1}, "linf", ""),
}


@pytest.mark.parametrize(("attack", "arguments", "norm", "reason"), MISFITS.values(), ids=MISFITS)
def test_what_does_not_fit_the_data_is_told(attack, arguments, norm, reason):
    found = misfit(attack, arguments, norm, (8, 8, 1), 10)
    assert reason in found
    assert bool(found) == bool(reason)


@pytest.mark.parametrize("suite", suite_names())
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3), (10,)], ids=str)
def test_every_suite_fits_common_data(suite, norm, shape):
    found = load_suite(suite)
    if found.corruptions and len(shape) == 1:
        pytest.skip("corruptions are of images")
    found.check_fits(norm, shape, 2)


def test_whole_numbers_become_floats_where_art_takes_no_others():
    assert isinstance(as_art_takes_it("shadow", "learning_rate", 1), float)
    assert isinstance(as_art_takes_it("pgd", "max_iter", 1), int)
    assert as_art_takes_it("square", "rescaled", True) is True


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["attacks.pgd.max_iter=1.5"], "max_iter is 1.5"),
        (["suite=blackbox", "norm=l2", "attacks.simba.freq_dim=9"], "don't fit images of 8x8"),
        ([f"epochs={HUGE}"], "epochs must be less than or equal to 1000000"),
        ([f"budget_ge={HUGE}"], "budget_ge must be less than or equal to"),
        ([f"seed={HUGE}"], "seed must be less than or equal to 4294967295"),
        ([f"split_seed={HUGE}"], "split_seed must be less than or equal to 4294967295"),
        ([f"examples={HUGE}"], "examples must be less than or equal to"),
        ([f"jobs={HUGE}"], "jobs must be less than or equal to"),
        (["attack_timeout=1.0e+300"], "attack_timeout must be less than or equal to"),
        (["eps=.nan"], "eps nan is not allowed"),
        (["eps=.inf"], "eps inf is not allowed"),
        (["eps=1.0e-300"], "eps 1e-300 is not allowed"),
        (["norm=l2", "eps=" + "9" * 90], "is not allowed"),
        ([f"parameters.pgd-at.attack_steps={HUGE}"], "attack_steps must be"),
        ([f"parameters.pgd-at.batch_size={HUGE}"], "batch_size must be"),
        (["parameters.pgd-at.learning_rate=" + "9" * 90], "learning_rate must be"),
        ([BRIEF, f"adaptation.episodes={HUGE}"], "adaptation.episodes must be"),
        ([BRIEF, "adaptation.rates=" + "9" * 90], "adaptation.rates must be"),
        ([BRIEF, f"adaptation.steps={HUGE}"], "adaptation.steps must be"),
    ],
    ids=lambda value: value[-1][:40] if isinstance(value, list) else "",
)
def test_a_dry_run_refuses_what_no_machine_finishes(tmp_path, settings, reason):
    with pytest.raises(BenchError) as caught:
        make_plan(
            read({"defense": "pgd-at", "out": str(tmp_path / "o")}, assignments=settings),
            dry_run=True,
        )
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500

"""The table of attacks against ART's own list: nothing is missing, nothing is misspelt."""

from __future__ import annotations

import importlib
import inspect

import pytest

from benchmark import frameworks
from benchmark.attacks.autoattack.parameters import ParameterAttack
from benchmark.attacks.entry import KINDS
from benchmark.attacks.left_out import LEFT_OUT
from benchmark.attacks.specification import THREATS, AttackSpec
from benchmark.attacks.suites import load_suite, suite_names
from benchmark.attacks.table import ATTACKS
from benchmark.stages.attack import effort_each

frameworks.import_torch_first()

from art.attacks import evasion  # noqa: E402
from art.attacks.attack import EvasionAttack  # noqa: E402


def attack_class(name):
    module, _, attack = ATTACKS[name].target.partition(":")
    return getattr(importlib.import_module(module), attack)


def parameters(attack):
    """Every argument that an attack's constructors take by name."""
    if issubclass(attack, ParameterAttack):  # which refuses others
        return set(attack.attack_params)
    return {name for one in attack.__mro__ for name in inspect.signature(one.__init__).parameters}


def test_every_attack_of_art_is_in_the_table_or_left_out_with_a_reason():
    exported = {
        name
        for name, one in vars(evasion).items()
        if inspect.isclass(one) and issubclass(one, EvasionAttack)
    }
    # Exported only where the package numba is installed.
    exported.add("BrendelBethgeAttack")
    held = {
        base.__name__
        for name in ATTACKS
        for base in attack_class(name).__mro__
        if base.__module__.startswith("art.attacks.evasion.") and base.__name__ in exported
    }
    assert exported - held - set(LEFT_OUT) == set()
    assert set(LEFT_OUT) <= exported
    assert all(LEFT_OUT.values())


@pytest.mark.parametrize("name", ATTACKS)
def test_an_entry_names_what_the_attack_knows(name):
    entry, attack = ATTACKS[name], attack_class(name)
    assert issubclass(attack, EvasionAttack)
    known = parameters(attack)
    assert {*entry.arguments, *entry.options, *entry.fixed, *entry.defaults} <= known
    assert set(entry.norms) <= set(THREATS)
    assert set(entry.kinds) <= set(KINDS)
    bounded = "minimal-norm" not in entry.kinds and "unrestricted" not in entry.norms
    assert not bounded or "eps" in attack.attack_params
    assert len(entry.norms) == 1 or "norm" in attack.attack_params


def test_the_suite_full_holds_every_attack():
    assert {spec.attack for spec in load_suite("full").attacks} == set(ATTACKS)


@pytest.mark.parametrize("suite", suite_names())
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_an_attack_of_a_suite_serves_its_own_threat(suite, norm):
    for spec in load_suite(suite).attacks:
        assert spec.norm is None or not spec.obstacle(norm, (28, 28, 1)), spec.name


def test_the_effort_of_an_attack_is_that_of_its_iterations_where_a_suite_tells_none():
    given = (AttackSpec("s", "sigma-zero", arguments) for arguments in ({}, {"max_iter": 100}))
    untold, told = map(effort_each, given)
    assert untold == pytest.approx(10 * told)


@pytest.mark.parametrize("name", ["sigma-zero", "sparse-rs", "fmn", "ddn"])
def test_iterations_that_the_table_tells_are_those_of_the_class(name):
    assert ATTACKS[name].defaults["max_iter"] == attack_class(name).max_iter


OBSTACLES = {
    "norm": ("deepfool", "linf", (8, 8, 1), "serves l2, not linf"),
    "tabular": ("square", "linf", (10,), "images only"),
    "not square": ("geoda", "l2", (8, 9, 1), "square images, not 8x9"),
    "channels": ("shadow", "unrestricted", (8, 8, 2), "1 or 3 channels, not 2"),
    "none": ("deepfool", "l2", (10,), ""),
}


@pytest.mark.parametrize(("name", "norm", "shape", "reason"), OBSTACLES.values(), ids=OBSTACLES)
def test_what_cannot_be_attacked_is_told(name, norm, shape, reason):
    found = ATTACKS[name].obstacle(norm, shape)
    assert (reason in found) if reason else not found

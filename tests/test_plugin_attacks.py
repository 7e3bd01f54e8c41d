"""Attacks of other distributions that are wrong: told in a line before anything runs."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from plugins import distribution, dry

from benchmark.attacks import creating
from benchmark.attacks.entry import AttackEntry
from benchmark.attacks.suites import suite_of
from benchmark.errors import SuiteError
from benchmark.stages.trust import _attacked
from defenses.errors import DefenseError

ENTRIES = {
    "norm": ({"norms": ("linf2",)}, "norms is"),
    "no norm": ({"norms": ()}, "norms is"),
    "kind": ({"kinds": ("greybox",)}, "kinds is"),
    "target": ({"target": "module.Class"}, "is not 'module:class'"),
    "framework": ({"frameworks": ("jax",)}, "frameworks is"),
    "rows": ({"rows": "some"}, "rows is 'some'; allowed: chunk, one, all"),
    "a norm without a comma": ({"norms": ("linf")}, "norms is 'linf'; give a tuple"),
    "arguments as a text": ({"arguments": "max_iter"}, "arguments is 'max_iter'; give a tuple"),
    "one channel": ({"channels": 3}, "channels is 3; give a tuple"),
    "options of a text": ({"options": {"way": "up"}}, "options of way are 'up'; give a tuple"),
    "options of numbers": (
        {"options": {"way": (1, 2)}},
        r"of way are \(1, 2\); give a tuple of te",
    ),
    "defaults in a list": ({"defaults": ["reach"]}, "defaults is .'reach'.; give a mapping"),
    "kinds in a list": ({"argument_kinds": ["reach"]}, "argument_kinds is .'reach'.; give a map"),
}


@pytest.mark.parametrize(("change", "told"), ENTRIES.values(), ids=ENTRIES)
def test_an_entry_of_an_attack_that_can_not_be_is_refused(change, told):
    given = {"target": "a:B", "description": "x", "norms": ("linf",), "arguments": ()}
    with pytest.raises(ValueError, match=told):
        AttackEntry(**{**given, **change})


def test_an_entry_of_an_attack_may_have_lists():
    entry = AttackEntry("a:B", "x", ["linf"], ["reach"], kinds=["gradient"])  # type: ignore[arg-type]
    assert (entry.norms, entry.arguments, entry.kinds) == (("linf",), ("reach",), ("gradient",))


ATTACK = """
from art.attacks import EvasionAttack
from benchmark.attacks.arguments import Kind
from benchmark.attacks.entry import AttackEntry

ENTRY = AttackEntry(**{{
    "target": "one:{target}", "description": "made up", "norms": ("linf",),
    "arguments": ("reach",), "argument_kinds": {{"reach": Kind("a share", 0, 1)}},
    "options": {{"way": ("up", "down")}}, "defaults": {{"reach": 0.5}}, **{changes},
}})

class Right(EvasionAttack):
    attack_params = [*EvasionAttack.attack_params, "eps", "reach"]
    def __init__(self, estimator, eps=0.1, reach=0.1):
        super().__init__(estimator=estimator)

class Deaf(Right):
    def __init__(self, estimator, eps=0.1):
        pass

class Greedy(Right):
    def __init__(self, estimator, steps, reach=0.1):
        pass

class Silent(Right):
    attack_params = ["reach"]
    def __init__(self, estimator, eps, reach=0.1):
        super().__init__(estimator=estimator)

class Spelt(Right):
    attack_params = "eps, reach"

class Chosen(Right):
    attack_params = {{"eps", "reach"}}

class Stranger:
    def __init__(self, estimator, reach=0.1):
        pass
"""
MADE = {
    "missing": ("Gone", "has no class one:Gone: AttributeError"),
    "without its argument": ("Deaf", "one:Deaf that doesn't take reach"),
    "with one that nothing gives": ("Greedy", "one:Greedy that needs steps, which nothing gives"),
    "that doesn't name its budget": ("Silent", "one:Silent whose attack_params lack eps"),
    "that spells its arguments": ("Spelt", "attack_params are 'eps, reach'; give a list of names"),
    "no attack of ART": ("Stranger", "without attack_params, so no attack of ART"),
}


def attacked_by(place: Path, tmp_path: Path, target: str, changes: str = "{}") -> Any:
    suite = tmp_path / "suite.yaml"
    suite.write_text("description: one\nattacks:\n  mine: {attack: mine}\n")
    module = ATTACK.format(target=target, changes=changes)
    distribution(place, "one", module=module, attacks={"mine": "one:ENTRY"})
    return dry(tmp_path, dataset="digits", defense="pgd-at", suite=str(suite))


@pytest.mark.parametrize(("target", "told"), MADE.values(), ids=MADE)
def test_an_attack_whose_class_can_not_be_made_is_told_before_a_run(place, tmp_path, target, told):
    with pytest.raises(DefenseError, match=told) as raised:
        attacked_by(place, tmp_path, target)
    assert "attack 'mine' of one 1.0" in str(raised.value)


def test_an_attack_whose_module_ends_the_process_is_told_before_a_run(place, tmp_path):
    (place / "leaves.py").write_text("raise SystemExit('bye')")
    with pytest.raises(DefenseError, match="has no class leaves:Attack: SystemExit: bye"):
        attacked_by(place, tmp_path, "Right", "{'target': 'leaves:Attack'}")


VALUES = {
    "a text": ("{'reach': 'many'}", "has defaults where reach is 'many'; allowed: a share"),
    "no number": ("{'reach': float('nan')}", "where reach is nan; allowed: a share"),
    "an object": ("{'reach': object()}", "where reach is <object object"),
    "an option": ("{'way': 'upp'}", "where way is 'upp'; did you mean 'up'?"),
    "an option that is none": ("{'way': ['up']}", "where way is ['up']"),
    "another's": ("{'rech': 0.5}", "has a default of 'rech', none of its arguments"),
}


@pytest.mark.parametrize(("defaults", "told"), VALUES.values(), ids=VALUES)
def test_a_default_that_no_suite_could_give_is_told_before_a_run(place, tmp_path, defaults, told):
    with pytest.raises(DefenseError, match=re.escape(told)) as raised:
        attacked_by(place, tmp_path, "Right", f"{{'defaults': {defaults}}}")
    assert str(raised.value).startswith("attack 'mine' of one 1.0")
    assert "\n" not in str(raised.value)


def test_a_kind_of_argument_that_is_none_is_told_before_a_run(place, tmp_path):
    with pytest.raises(DefenseError, match="has <class 'float'> as the kind of reach; give a Kind"):
        attacked_by(place, tmp_path, "Right", "{'argument_kinds': {'reach': float}}")


def test_a_default_of_an_attack_without_a_budget_is_no_share_of_one(place):
    changes = "{'norms': ['unrestricted'], 'defaults': {'max_iter': 5, 'eps_step': '0.1 eps'}, "
    changes += "'arguments': ['max_iter', 'eps_step']}"
    module = ATTACK.format(target="Right", changes=changes)
    distribution(place, "one", module=module, attacks={"mine": "one:ENTRY"})

    with pytest.raises(SuiteError, match=r"'mine': eps_step is '0\.1 eps', but it has no budget"):
        suite_of("own", "attacks: {mine: {attack: mine, threat: unrestricted}}", {})


@pytest.mark.parametrize("target", ["Right", "Chosen"])
def test_an_attack_whose_class_can_be_made_is_planned(place, tmp_path, target):
    plan = attacked_by(place, tmp_path, target)
    assert [spec.name for job in plan.jobs for spec in job.attacks] == ["mine"]


RETURNED = {
    "nothing": (lambda x: None, "generate returned None, not the adversarial examples"),
    "complex": (lambda x: x + 0j, "returned an array of complex64, not of floats"),
    "objects": (lambda x: x.astype(object), "returned an array of object, not of floats"),
    "texts": (lambda x: x.astype(str), "returned an array of <U32, not of floats"),
}


def made_by(monkeypatch, generate):
    """What comes of an attack whose class does this."""
    attack = SimpleNamespace(generate=generate)
    monkeypatch.setattr(creating, "create", lambda *made_of: attack)
    given = {"x": np.zeros((2, 4), np.float32), "y": np.zeros(2, np.int64), "weights": None}
    return creating.adversarial(None, None, **given, norm="linf", eps=0.1)


@pytest.mark.parametrize(("returned", "told"), RETURNED.values(), ids=RETURNED)
def test_an_attack_that_returns_no_floats_is_told_as_that(monkeypatch, returned, told):
    with pytest.raises(ValueError, match=told):
        made_by(monkeypatch, lambda x, y: returned(x))


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16", "int64", "bool"])
def test_an_attack_may_return_any_numbers(monkeypatch, dtype):
    kind = pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype
    found = made_by(monkeypatch, lambda x, y: (x + 1).astype(kind))
    np.testing.assert_array_equal(found.astype(np.float32), 1)


def test_trust_checks_are_made_beside_an_attack_whose_class_is_missing():
    spec = SimpleNamespace(name="gone", entry=AttackEntry("gone:X", "x", ("linf",), ()))
    stage = SimpleNamespace(spec=spec, path="attacks/gone", key="gone")
    context = SimpleNamespace(
        record=lambda path: {"name": "gone", "status": "failed"},
        store=None,
        cell=SimpleNamespace(cell_id="a"),
    )
    found = _attacked(context, stage)
    assert (found.name, found.bounded) == ("gone", False)

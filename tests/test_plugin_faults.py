"""Parts of other distributions that are wrong: told in a line, and whose, before anything runs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from plugins import distribution

import defenses
from benchmark import datasets
from benchmark.attacks import creating
from benchmark.attacks.entry import AttackEntry
from benchmark.attacks.suites import suite_of
from benchmark.cli.listing import descriptions
from benchmark.config import read
from benchmark.errors import ConfigError, DataError, ModelError, SuiteError
from benchmark.models.provided.building import make
from benchmark.models.provided.origin import origin_of
from benchmark.plans.run import make_plan
from benchmark.stages.trust import _attacked
from defenses.errors import DefenseError
from defenses.threat import Threat


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder where modules are looked for, in which no other test finds its own."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    sys.modules.pop("one", None)
    yield folder
    sys.modules.pop("one", None)


def dry(tmp_path: Path, **given: Any) -> Any:
    usual = {"framework": "torch", "baseline": False, "examples": 5}
    return make_plan(read({**usual, "out": str(tmp_path / "out"), **given}), dry_run=True)


LOADER = """
import numpy as np
from benchmark.datasets import DatasetDefaults, DatasetEntry, Source

EPS = {{"linf": 0.1, "l2": 0.5, "l1": 2.0}}
ENTRY = DatasetEntry("one:load", "made up", DatasetDefaults(EPS, 1))

def load(request):
    x = np.random.default_rng(0).random((100, 8, 8, 1), dtype=np.float32)
    y = np.arange(100) % 2
    {changes}
    return Source(x, y, ("a", "b"))
"""
DATA = {
    "raises": ("raise KeyError('colour')", "its loader one:load raises KeyError: 'colour'"),
    "gives nothing": ("return None", "its loader gives NoneType, not a Source"),
    "labels of text": ("y = np.array(['a', 'b'] * 50)", "y is <U1 of shape (100,)"),
    "labels one-hot": ("y = np.eye(2)[y]", "y is float64 of shape (100, 2)"),
    "a label lacks": ("y = y[:-1]", "x has 100 examples and y 99 labels"),
    "other labels": ("y = y + 1", "y reaches from 1 to 2; there are 2 class_names"),
    "no channel": ("x = x[..., 0]", "x is (100, 8, 8); inputs must be (n, H, W, C) or (n, d)"),
    "channels first": ("x = x.repeat(3, 3).transpose(0, 3, 1, 2)", "looks like channels first"),
    "a list": ("x = x.tolist()", "x is list; give an array"),
    "groups are too few": (
        "return Source(x, y, ('a', 'b'), groups=y[:9])",
        "groups must be an array, (n,), of what",
    ),
    "groups of mixed types": (
        "return Source(x, y, ('a', 'b'), groups=np.array([None, 'p'] * 50))",
        "groups can't be told apart (TypeError: '<' not supported",
    ),
    "leaves": ("raise SystemExit('bye')", "its loader one:load raises SystemExit: bye"),
    "no names": ("return Source(x, y, None)", "class_names are None; give a tuple of texts"),
    "names that are numbers": ("return Source(x, y, (0, 1))", "class_names are (0, 1); give a"),
    "one name twice": ("return Source(x, y, ('a', 'a'))", "each class needs another name"),
    "no inputs": ("return Source(None, None, ('a', 'b'))", "x and y are missing"),
    "no pixels": ("x = x[:, :0]", "x is (100, 0, 8, 1); inputs must be (n, H, W, C) or (n, d)"),
    "complex numbers": ("x = x + 0.5j", "x is complex64; inputs must be floats in [0, 1]"),
    "an empty part": (
        "return Source(x, y, ('a', 'b'), x_test=x[:0], y_test=y[:0])",
        "x_test has no examples; leave it and y_test out",
    ),
    "a share above 1": (
        "return Source(x, y, ('a', 'b'), validation=10)",
        "validation is 10; give a share between 0 and 1",
    ),
    "what no record keeps": (
        "return Source(x, y, ('a', 'b'), about={'mean': x.mean()})",
        "about can't be kept as JSON (TypeError: Object of type float32",
    ),
    "a file that is not there": (
        "return Source(x, y, ('a', 'b'), files=['gone.npz'])",
        "of its files there is no 'gone.npz'",
    ),
    "a scale that is none": (
        "return Source(x, y, ('a', 'b'), scale=2)",
        "scale is 2; give a function",
    ),
    "a scale that gives rows": (
        "return Source(x, y, ('a', 'b'), scale=lambda x: x / 2)",
        "its scale gives array(",
    ),
    "a scale that raises": (
        "return Source(x, y, ('a', 'b'), scale=lambda x: {}['low'])",
        "its scale raises KeyError: 'low'",
    ),
    "a scale of which no record can be kept": (
        "return Source(x, y, ('a', 'b'), scale=lambda x: (abs, {'low': x.min()}))",
        "what its scale tells can't be kept as JSON (TypeError: Object of type float32",
    ),
    "scaling that raises": (
        "return Source(x, y, ('a', 'b'), scale=lambda x: (lambda x: x['low'], {}))",
        "what its scale gives raises IndexError",
    ),
    "scaling to something else": (
        "return Source(x, y, ('a', 'b'), scale=lambda x: (len, {}))",
        "rows of shape (100, 8, 8, 1) are int when they are scaled",
    ),
    "scaling that loses an axis": (
        "return Source(x, y, ('a', 'b'), scale=lambda x: (lambda x: x[..., 0], {}))",
        "rows of shape (100, 8, 8, 1) are (100, 8, 8) when they are scaled",
    ),
    "0 to 255": ("x = 255 * x", "inputs must be in [0, 1], or bytes"),
    "no numbers": ("x[3] = np.nan", "holds values that are not finite"),
}


@pytest.mark.parametrize(("changes", "told"), DATA.values(), ids=DATA)
def test_a_data_set_that_can_not_be_is_one_line(place, tmp_path, changes, told):
    distribution(
        place, "one", module=LOADER.format(changes=changes), datasets={"made-up": "one:ENTRY"}
    )

    with pytest.raises(DataError) as raised:
        dry(tmp_path, dataset="made-up", defense="pgd-at")

    assert told in str(raised.value)
    assert "made-up" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_data_set_that_is_right_is_taken_as_it_is(place):
    module = LOADER.format(changes="x = (255 * x).astype(np.uint8)")
    distribution(place, "one", module=module, datasets={"made-up": "one:ENTRY"})
    found = datasets.load("made-up")
    assert found.input_shape == (8, 8, 1)
    assert len(found.y_train) + len(found.y_validation) + len(found.y_test) == 100


def test_a_share_that_nothing_takes_is_not_looked_at(place):
    changes = "return Source(x, y, ('a', 'b'), x_validation=x, y_validation=y, validation=0.0)"
    distribution(
        place, "one", module=LOADER.format(changes=changes), datasets={"made-up": "one:ENTRY"}
    )
    assert len(datasets.load("made-up").y_validation) == 100


DEFENSE = """
from dataclasses import dataclass
from defenses import AdversarialTraining, Defense
from defenses.parameters import parameter

{text}
"""
USABLE = "@dataclass(frozen=True, kw_only=True)\nclass Mine(AdversarialTraining):\n    {body}"
CLASSES = {
    "no decorator": (
        "class Mine(AdversarialTraining):\n    squeeze: float = parameter(1.0, low=0)",
        "has the parameter 'squeeze', but no @dataclass(frozen=True, kw_only=True)",
    ),
    "no default": (
        USABLE.format(body="squeeze: float"),
        "has no default for its parameter 'squeeze'",
    ),
    "a default out of range": (
        USABLE.format(body="squeeze: float = parameter(20.0, low=0, high=10)"),
        "squeeze must be from 0 to 10, got 20",
    ),
    "a cost that is a number": (
        USABLE.format(body="def step_cost(self): return 100"),
        "has a step_cost that gives int, not a Cost",
    ),
    "a cost of nothing": (
        USABLE.format(body="def step_cost(self): return super().step_cost() * 0"),
        "has updates that cost 0 gradient evaluations",
    ),
    "a cost that can't be told": (
        USABLE.format(body="def step_cost(self): return self.batches"),
        "can't be made (AttributeError: 'Mine' object has no attribute 'batches')",
    ),
    "a list of kernels": (
        USABLE.format(body="kernels = ['one:Kernel']"),
        "has kernels ['one:Kernel']; they map a framework to module:function",
    ),
    "presets in a list": (
        USABLE.format(body="presets = ['ours']"),
        "has presets ['ours']; they map a name to parameters",
    ),
    "a preset of a number": (
        USABLE.format(body="presets = {'ours': 7}"),
        "has the preset 'ours', which is no mapping of parameters",
    ),
    "a preset of what is no parameter": (
        USABLE.format(body="presets = {'ours': {'batch_sise': 64}}"),
        "has the preset 'ours' of the unknown parameter 'batch_sise'; did you mean 'batch_size'?",
    ),
    "a kernel itself": (
        USABLE.format(body="kernels = {'torch': 'one'}"),
        "has the kernel 'one'; give module:function as a text",
    ),
}


@pytest.mark.parametrize(("text", "told"), CLASSES.values(), ids=CLASSES)
def test_a_defense_that_can_not_be_is_told_and_hides_no_others(place, text, told):
    module = DEFENSE.format(text=text)
    distribution(place, "one", module=module, defenses={"mine": "one:Mine"})

    found = descriptions("defenses")

    assert told in found["mine"]
    assert "one 1.0" in found["mine"]
    assert "GE an example" in found["pgd-at"]
    with pytest.raises(DefenseError, match=re.escape(told)):
        defenses.create("mine", Threat("linf", 0.1))


def test_a_suite_that_can_not_be_read_hides_no_others(place):
    folder = place / "suites_of_one"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "odd.yaml").write_text("description: odd\nattacks:\n  a: {attack: fast-gradeint}\n")
    distribution(place, "one", suites={"odd": "suites_of_one"})

    found = descriptions("suites")

    assert "can't be used: attack 'a' names the unknown attack 'fast-gradeint'" in found["odd"]
    assert "one 1.0" in found["odd"]
    assert "quick" in found


def test_another_distribution_s_fault_does_not_keep_a_model_from_being_loaded(place):
    module = DEFENSE.format(text=USABLE.format(body="squeeze: float = 1.0") + "\nX = 1")
    distribution(place, "one", module=module, defenses={"broken": "one:X", "mine": "one:Mine"})
    assert defenses._name_of("one:Mine") == "mine"


KERNELS = {
    "of one framework": ("{'torch': 'one:Kernel'}", "has no kernel for tensorflow, only for torch"),
    "of none": ("{}", "has no kernel for torch, only for no framework"),
}


@pytest.mark.parametrize(("kernels", "told"), KERNELS.values(), ids=KERNELS)
def test_a_defense_of_one_framework_is_refused_in_the_other(place, tmp_path, kernels, told):
    body = f"kernels = {kernels}"
    module = DEFENSE.format(text=USABLE.format(body=body))
    distribution(place, "one", module=module, defenses={"mine": "one:Mine"})

    with pytest.raises(ConfigError, match=told):
        dry(tmp_path, defense="mine", framework="torch,tensorflow")


def test_a_kernel_that_is_not_there_is_told_as_that(place):
    from untrained import model

    module = DEFENSE.format(text=USABLE.format(body="kernels = {'torch': 'one:Missing'}"))
    distribution(place, "one", module=module, defenses={"mine": "one:Mine"})

    with pytest.raises(DefenseError, match=r"Mine: its kernel one:Missing can't be loaded"):
        defenses.create("mine", Threat("linf", 0.1)).resume(model("torch", (8, 8, 1)))


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


OTHERS = {
    "a loader without a function": (
        "datasets",
        "DatasetEntry('one', 'x', DatasetDefaults(EPS, 1))",
        "target 'one' is not 'module:function'",
    ),
    "defaults in a mapping": (
        "datasets",
        "DatasetEntry('one:f', 'x', {'eps': EPS, 'epochs': 1})",
        "give a DatasetDefaults",
    ),
    "a budget that is text": (
        "datasets",
        "DatasetEntry('one:f', 'x', DatasetDefaults({'linf': '8/255'}, 1))",
        "eps is {'linf': '8/255'}; give a mapping of norms to numbers",
    ),
    "builders in a list": (
        "models",
        "ModelEntry('x', ['torch'])",
        "builders are ['torch']; they map a framework to a target",
    ),
    "a builder itself": ("models", "ModelEntry('x', {'torch': len})", "is not 'module:function'"),
    "a builder's module": (
        "models",
        "ModelEntry('x', {'torch': 'one'})",
        "builder 'one' is not 'module:function'",
    ),
}


@pytest.mark.parametrize(("kind", "entry", "told"), OTHERS.values(), ids=OTHERS)
def test_an_entry_that_can_not_be_is_told_where_its_kind_is_listed(place, kind, entry, told):
    module = "from benchmark.datasets import DatasetDefaults, DatasetEntry\n"
    module += "from benchmark.models.entry import ModelEntry\n"
    module += f"EPS = {{'linf': 0.1}}\nENTRY = {entry}\n"
    distribution(place, "one", module=module, **{kind: {"mine": "one:ENTRY"}})

    found = descriptions(kind)

    assert f"{kind[:-1]} 'mine' of one 1.0 can't be loaded from one:ENTRY" in found["mine"]
    assert told in found["mine"]
    assert len(found) > 5


LEAVES = "raise SystemExit('bye')"


@pytest.mark.parametrize("kind", ["attacks", "datasets", "defenses", "models"])
def test_a_module_that_ends_the_process_is_told_as_that(place, kind):
    distribution(place, "one", module=LEAVES, **{kind: {"mine": "one:ENTRY"}})

    told = descriptions(kind)["mine"]

    assert f"{kind[:-1]} 'mine' of one 1.0 can't be loaded from one:ENTRY (SystemExit: bye)" in told


def test_a_defense_that_ends_the_process_is_told_as_that(place):
    from untrained import model

    (place / "leaves.py").write_text(LEAVES)
    body = "kernels = {'torch': 'leaves:Kernel'}"
    cost = f"class Dear(Mine):\n    def step_cost(self): {LEAVES}"
    module = DEFENSE.format(text=f"{USABLE.format(body=body)}\n{cost}")
    distribution(place, "one", module=module, defenses={"mine": "one:Mine", "dear": "one:Dear"})

    with pytest.raises(DefenseError, match=r"can't be made \(SystemExit: bye\)"):
        defenses.create("dear", Threat("linf", 0.1))
    with pytest.raises(DefenseError, match=r"kernel leaves:Kernel can't be loaded \(SystemExit"):
        defenses.create("mine", Threat("linf", 0.1)).resume(model("torch", (8, 8, 1)))


def test_a_model_that_ends_the_process_is_told_as_that(place):
    module = "from benchmark.models.entry import ModelEntry\n"
    module += "ENTRY = ModelEntry('x', {'torch': 'one:build'})\n"
    module += f"def build(input_shape, classes): {LEAVES}"
    distribution(place, "one", module=module, models={"mine": "one:ENTRY"})

    with pytest.raises(ModelError, match=r"'mine' can't be built .*: SystemExit: bye"):
        make(origin_of("mine", None), (8, 8, 1), 2, framework="torch", seed=0)


def test_a_default_budget_that_no_run_takes_is_refused_by_a_run(place, tmp_path):
    module = LOADER.format(changes="").replace('"linf": 0.1', '"linf": 8')
    distribution(place, "one", module=module, datasets={"made-up": "one:ENTRY"})

    with pytest.raises(ConfigError, match="default of made-up under linf: eps 8 is above 1"):
        dry(tmp_path, dataset="made-up", defense="pgd-at")
    assert dry(tmp_path, dataset="made-up", defense="pgd-at", eps=8 / 255).jobs


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
    (place / "leaves.py").write_text(LEAVES)
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


@pytest.mark.parametrize(("returned", "told"), RETURNED.values(), ids=RETURNED)
def test_an_attack_that_returns_no_floats_is_told_as_that(monkeypatch, returned, told):
    forgot = SimpleNamespace(generate=lambda x, y: returned(x))
    monkeypatch.setattr(creating, "create", lambda *made_of: forgot)
    given = {"x": np.zeros((2, 4), np.float32), "y": np.zeros(2, np.int64), "weights": None}
    with pytest.raises(ValueError, match=told):
        creating.adversarial(None, None, **given, norm="linf", eps=0.1)


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

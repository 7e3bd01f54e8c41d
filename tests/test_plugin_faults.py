"""Parts of other distributions that are wrong: told in a line, and whose, before anything runs."""

from __future__ import annotations

import re

import pytest
from plugins import distribution, dry

import defenses
from benchmark.cli.listing import descriptions
from benchmark.errors import ConfigError, ModelError
from benchmark.models.provided.building import make
from benchmark.models.provided.origin import origin_of
from defenses.errors import DefenseError
from defenses.threat import Threat

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
    "a preset called by a number": (
        USABLE.format(body="presets = {1: {'batch_size': 64}}"),
        "has the preset 1; give its name as a text",
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

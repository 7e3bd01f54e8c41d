"""The checks of `bench check-plugin`: sound parts pass, and each fault is found by its check."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from dataset_files import save
from plugins import TEMPLATE, distribution, install

from benchmark import datasets, frameworks

frameworks.import_torch_first()

from benchmark.conformance import attack, defense, parts, report  # noqa: E402
from benchmark.conformance.report import (  # noqa: E402
    FAILED,
    PASSED,
    Broken,
    NotApplicable,
    Row,
    rows,
)
from benchmark.errors import CheckError  # noqa: E402
from defenses.errors import DefenseError  # noqa: E402


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of `broken_parts`, contributed under short names."""
    names = ("Sound", "Unequal", "Untrue", "Wide", "Cheap", "Unseeded", "Forgets", "Halved")
    names += ("Misnamed", "Nameless", "Mute", "Endless", "Costless", "Preset", "Idle")
    names += ("Kernelless", "Untold", "Seedless", "Sizeless")
    attacks = ("SOUND_NOISE", "WIDE", "SILENT", "UNSEEDED", "CURIOUS", "NARROW", "ABSENT")
    attacks += ("COLOUR", "UNKNOWN", "UNGIVEN", "SPOILER", "APART", "RAISING")
    distribution(
        tmp_path / "place",
        "broken",
        defenses={name.lower(): f"broken_parts:{name}" for name in names},
        attacks={name.lower().replace("_", "-"): f"broken_parts:{name}" for name in attacks},
    )
    monkeypatch.syspath_prepend(str(tmp_path / "place"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the template of the documentation is installed."""
    return install(TEMPLATE, tmp_path_factory.mktemp("template"))


def states(found: Any) -> dict[str, str]:
    return {row.name: row.status for row in found}


@pytest.mark.parametrize("folder", ["mine", "site-packages"])
def test_an_exception_says_where_in_its_author_s_code_it_was_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """Not where in NumPy or another library, which that code called."""
    module = "import numpy, its_library\ndef checks(name):\n"
    module += " return dict(one=asks, two=calls, three=lambda: its_library.calls(), four=leaves)\n"
    module += "def asks():\n    return {}['starts']\n"
    module += "def calls():\n    return numpy.concatenate([numpy.ones(2), numpy.ones((2, 2))])\n"
    module += "def leaves():\n    raise SystemExit('bye')\n"
    for name, text in (
        (f"{folder}/someone_s.py", module),
        ("site-packages/its_library.py", "def calls():\n    raise TypeError('so')\n"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        monkeypatch.syspath_prepend(str((tmp_path / name).parent))
        monkeypatch.delitem(sys.modules, Path(name).stem, raising=False)
    monkeypatch.setitem(report._CHECKS, "attacks", "someone_s:checks")  # type: ignore[arg-type]

    one, two, three, four = rows("attacks", "any")

    assert one == Row("one", FAILED, "KeyError: 'starts' (someone_s.py, line 5)")
    assert two.text.startswith("ValueError")
    assert two.text.endswith(" (someone_s.py, line 7)")
    assert three.text == "TypeError: so (someone_s.py, line 3)"
    assert four == Row("four", FAILED, "SystemExit: bye (someone_s.py, line 9)")


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize(("kind", "name"), [("defenses", "sound"), ("attacks", "sound-noise")])
def test_a_sound_part_passes(kind: str, name: str) -> None:
    found = list(rows(kind, name))

    assert FAILED not in states(found).values(), found
    assert len(found) >= 7


FAULTY_DEFENSES = {
    "misnamed": ("declaration", "a kernel for 'pytorch'; frameworks are torch and tensorflow"),
    "preset": ("declaration", "its preset 'ours': batch_size must be at least 1, got 0"),
    "nameless": ("declaration", "its class has no docstring"),
    "kernelless": ("declaration", "it has no kernel"),
    "untold": ("declaration", "its docstring says nothing of share under Args"),
    "unequal": ("parity", "update 1: losses or weights are .* apart"),
    "untrue": ("gradient", "in torch the update has length"),
    "seedless": ("determinism", "with two seeds end in equal weights"),
    "endless": ("gradient", "the update in torch leaves weights that are not finite"),
    "wide": ("budget", "points that use 2 of the budget"),
    "unseeded": ("determinism", "with one seed end in other weights"),
    "cheap": ("cost", "1408 forwards and 1408 backwards ran, 704 and 704 declared"),
    "forgets": ("save and load", "gives other logits when it is loaded"),
}


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize(("name", "fault"), FAULTY_DEFENSES.items())
def test_a_faulty_defense_is_found(name: str, fault: tuple[str, str]) -> None:
    check, told = fault

    with pytest.raises(Broken, match=told):
        defense.checks(name)[check]()


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize("check", ["parity", "gradient"])
def test_a_defense_that_trains_nothing_is_found(check: str) -> None:
    with pytest.raises(Broken, match=r"moves? no weight"):
        defense.checks("idle")[check]()


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize("check", ["parity", "gradient", "determinism"])
def test_a_forgotten_loss_is_told_as_that(check: str) -> None:
    with pytest.raises(DefenseError, match="train_on of Own returned None, not the loss before"):
        defense.checks("mute")[check]()


FAULTY_ATTACKS = {
    "narrow": ("declaration", "attack_params of its class doesn't name max_iter"),
    "ungiven": ("declaration", "broken_parts:Ungiven whose attack_params lack eps"),
    "wide": ("budget", "points refused under linf in torch: 12 budget"),
    "unseeded": ("determinism", "two runs with one seed differ"),
    "raising": ("runs", "failed under linf in torch: ValueError: so"),
    "apart": ("parity", r"under linf \d\d% of examples end alike"),
    "spoiler": ("runs", "failed under linf in torch: .* changed the model's weights"),
    "silent": ("cost", "it asked the estimator for nothing"),
    "curious": ("cost", "it asked for 12 gradients; its kinds say it needs none"),
}


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize(("name", "fault"), FAULTY_ATTACKS.items())
def test_a_faulty_attack_is_found(name: str, fault: tuple[str, str]) -> None:
    check, told = fault

    with pytest.raises(Broken, match=told):
        attack.checks(name)[check]()


@pytest.mark.usefixtures("given")
def test_a_defense_of_one_framework_passes_what_can_be_checked() -> None:
    found = states(rows("defenses", "halved"))

    assert found.pop("parity") == "not applicable"
    assert set(found.values()) == {PASSED}


@pytest.mark.usefixtures("given")
def test_an_attack_on_colours_is_tried_on_colours() -> None:
    assert "left under linf in tensorflow" in attack.checks("colour")["runs"]()


@pytest.mark.usefixtures("given")
def test_a_part_that_can_not_be_used_is_told_once(bench: Any) -> None:
    ended = bench("check-plugin", "unknown")

    assert ended.code == 1
    assert ended.err.splitlines() == [
        "bench: error: attack 'unknown' of broken 1.0 says nothing of unheard_of in "
        "argument_kinds; mend or uninstall it"
    ]


@pytest.mark.usefixtures("given")
def test_a_defense_that_can_not_be_made_is_told_once() -> None:
    with pytest.raises(DefenseError, match=r"'costless' of broken 1\.0 has a step_cost that gives"):
        next(rows("defenses", "costless"))


@pytest.mark.usefixtures("given")
def test_a_defense_whose_own_code_raises_before_its_checks_is_told_once() -> None:
    told = r"'sizeless' can't be tried: KeyError: 'size' \(broken_parts\.py, line \d+\)"
    with pytest.raises(CheckError, match=told):
        next(rows("defenses", "sizeless"))


def test_who_asks_for_a_suite_is_told_what_reads_it(bench: Any) -> None:
    ended = bench("check-plugin", "quick")

    assert ended.code == 2
    assert "bench list quick reads it" in ended.err


DEFAULTS = {
    "eps of bytes": ({"linf": 8.0}, 1, "eps 8 is above 1 under linf.*did you mean 8/255"),
    "no eps at all": ({"l0": 0.0}, 1, "default under l0: eps 0 is not allowed"),
    "no epochs": ({}, 0, "0 default epochs"),
}


@pytest.mark.parametrize(("eps", "epochs", "told"), DEFAULTS.values(), ids=DEFAULTS)
def test_defaults_of_a_data_set_that_no_run_takes_are_found(
    monkeypatch: pytest.MonkeyPatch, eps: dict[str, float], epochs: int, told: str
) -> None:
    usual = {"linf": 0.1, "l2": 0.5, "l1": 3.0}
    defaults = datasets.DatasetDefaults(eps={**usual, **eps}, epochs=epochs)
    monkeypatch.setattr(datasets, "defaults", lambda name: defaults)

    with pytest.raises(Broken, match=told):
        parts.dataset_checks("digits")["declaration"]()


@pytest.mark.usefixtures("given")
def test_what_a_part_raises_is_a_failed_row() -> None:
    assert next(rows("attacks", "absent")) == Row(
        "declaration", FAILED, "AttributeError: module 'broken_parts' has no attribute 'Absent'"
    )


@pytest.mark.parametrize("name", ["free-at", "awp", "mng-ac"])
def test_updates_that_follow_something_else_have_no_gradient_to_check(name: str) -> None:
    with pytest.raises(NotApplicable):
        defense.checks(name)["gradient"]()


@pytest.mark.parametrize("name", ["trades", "meta-adv"])
def test_a_defense_of_this_project_goes_down_its_gradient(name: str) -> None:
    assert "of finite differences" in defense.checks(name)["gradient"]()


@pytest.mark.parametrize(
    ("checks", "name"), [(parts.dataset_checks, "stripes"), (parts.model_checks, "tiny")]
)
def test_data_and_model_of_the_template_pass(
    template: Path, monkeypatch: pytest.MonkeyPatch, checks: Any, name: str
) -> None:
    monkeypatch.syspath_prepend(str(template))

    assert all(do() for do in checks(name).values())


@pytest.mark.parametrize("name", ["half-clean", "corners"])
def test_the_command_passes_the_template(
    template: Path, monkeypatch: pytest.MonkeyPatch, bench: Any, name: str
) -> None:
    monkeypatch.syspath_prepend(str(template))

    ended = bench("check-plugin", name, "--json")

    found = states(Row(**row) for row in json.loads(ended.out))
    assert ended.code == 0, ended.err
    assert FAILED not in found.values()
    assert [found[one] for one in ("parity", "determinism", "cost")] == [PASSED] * 3


@pytest.mark.usefixtures("given")
def test_the_command_ends_with_1_where_a_check_fails(bench: Any) -> None:
    ended = bench("check-plugin", "silent")

    assert ended.code == 1
    assert "cost           failed" in ended.out
    assert "silent fails 1 of 8 checks: cost" in ended.err


def test_data_are_found_where_the_environment_says(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path)
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(report, "checked", rows)  # in this process

    ended = bench("check-plugin", "npz:data.npz")

    assert (ended.code, ended.err) == (0, "")
    assert "values         passed" in ended.out


def test_an_unknown_part_is_refused(bench: Any) -> None:
    ended = bench("check-plugin", "pgd-att")

    assert ended.code == 2
    assert "unknown part 'pgd-att'; did you mean 'pgd-at'?" in ended.err

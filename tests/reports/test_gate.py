"""The gate for continuous integration: what passes, what fails, and how it is used wrongly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from gated import LEFT, cell, states

import reports
from benchmark.journal import path_in
from benchmark.results import CHECKS_VERSION


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


def test_an_attack_that_is_gone_leaves_the_cell_unmeasured(bench: Any, synthetic: Any) -> None:
    cell_id = cell(synthetic, robust={"pgd": LEFT, "square": 0.7})
    (path,) = synthetic.store.cell_folder(cell_id).glob("attacks/square-*.json")
    path.unlink()

    result = bench("check", synthetic.store.path, "--json")

    assert (result.code, states(result.out)["measured"]) == (1, "failed")


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

"""`bench run --dry-run`: what a run would do, and what that costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.results import Store


@pytest.fixture(autouse=True)
def _alone(fake_workers: None) -> None:
    """Every command runs on fake workers, in a folder of its own."""


RUN = ("run", "--defense", "pgd-at", "--framework", "torch", "--epochs", "1")


def test_dry_run_prints_the_cells_and_writes_nothing(bench: Any, tmp_path: Path) -> None:
    result = bench(*RUN, "--seed", "0,1", "--dry-run")

    assert result.code == 0
    cells = [line for line in result.out.splitlines() if "digits-cnn-torch-" in line]
    assert len(cells) == 4
    assert all(" MB " in line and "to do" in line for line in cells)
    assert "4 of 4 cells to do, about " in result.out
    assert "16 attacks to do, with those that are not applicable, on up to 359 " in result.out
    assert "test examples each: fgsm, pgd, apgd, square\n" in result.out
    assert list(tmp_path.iterdir()) == []


def test_default_run_measures_no_adaptation(bench: Any) -> None:
    assert " and 0 of the adaptation protocol" in bench(*RUN, "--dry-run").out


@pytest.mark.parametrize(
    "options",
    [
        ("--protocol", "brief"),
        ("--protocol", "few-shot", "--split", "0", "--ways", "2"),
        ("--protocol", "sequence"),
        ("--adapt-to", "digits"),
    ],
    ids=["families", "new classes", "a sequence", "other data"],
)
def test_dry_run_counts_what_adaptation_takes(bench: Any, options: tuple[str, ...]) -> None:
    result = bench(*RUN, *options, "--dry-run", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["adaptation_gradient_evaluations"] > 0


def test_parameters_of_a_defense_that_is_not_in_the_run_are_told(bench: Any) -> None:
    told = "parameters of trades change nothing: no such defense in this run"
    result = bench(*RUN, "--set", "parameters.trades.beta=2", "--dry-run")
    assert (result.code, told in result.err) == (0, True)
    for name in ("pgd-at.attack_steps=2", "none.learning_rate=0.1"):
        assert told not in bench(*RUN, "--set", f"parameters.{name}", "--dry-run").err


def test_dry_run_knows_what_is_done(bench: Any) -> None:
    bench(*RUN)
    result = bench(*RUN, "--seed", "0,1", "--dry-run")

    assert "2 of 4 cells to do" in result.out


def planned(bench: Any, *options: str) -> list[dict[str, Any]]:
    """The cells of a dry run, as JSON."""
    found: list[dict[str, Any]] = json.loads(bench(*RUN, *options, "--dry-run", "--json").out)[
        "cells"
    ]
    return found


def test_dry_run_as_json_says_of_each_cell_what_it_costs(bench: Any) -> None:
    twin, defended = planned(bench)

    assert twin["cell_id"].startswith("digits-cnn-torch-none-s0-")
    assert defended["state"] == "to do"
    assert defended["training_gradient_evaluations"] > twin["training_gradient_evaluations"] > 0
    assert defended["update_memory_bytes"] > 0
    assert (defended["training_seconds"], defended["peak_memory_bytes"]) == (None, None)


@pytest.mark.parametrize(
    ("changes", "options", "known"),
    [
        ({}, (), True),
        ({}, ("--threads", "3"), False),
        ({"processor": "another one"}, (), False),
        ({"device": "cuda:0 (H100)"}, (), False),
        ({"config": {}}, (), False),
    ],
    ids=["like this one", "other threads", "other processor", "other device", "changed record"],
)
def test_time_and_memory_are_known_from_trainings_on_a_machine_like_this(
    bench: Any, changes: dict[str, Any], options: tuple[str, ...], known: bool
) -> None:
    bench(*RUN)
    store = Store.open("bench-results")
    for cell_id in store.cell_ids():
        record = store.read_cell(cell_id)
        assert record is not None
        store.write_cell(cell_id, {**record, **changes})
        cost = {"gradient_evaluations": 1000.0}
        record = {"seconds": 2.0, "threads": 1, "cost": cost, "peak_memory": 5e8}
        store.write_stage(cell_id, "training", record)

    (new,) = planned(bench, "--seed", "1", "--no-baseline", *options)

    expected = new["training_gradient_evaluations"] * 2 / 1000
    assert new["training_seconds"] == (pytest.approx(expected) if known else None)
    assert new["peak_memory_bytes"] == (5e8 if known else None)


def test_unknown_time_is_said_to_be_unknown(bench: Any) -> None:
    printed = bench(*RUN, "--dry-run").out

    assert printed.count("unknown") == 4
    assert "time and peak memory are known where bench-results holds" in printed


def test_other_defenses_tell_the_time_but_not_the_memory(bench: Any) -> None:
    bench(*RUN)
    store = Store.open("bench-results")
    for cell_id in store.cell_ids():
        cost = {"gradient_evaluations": 1000.0}
        record = {"seconds": 2.0, "cost": cost, "peak_memory": 5e8}
        store.write_stage(cell_id, "training", record)

    *_, new = planned(bench, "--defense", "trades")

    assert new["training_seconds"] > 0
    assert new["peak_memory_bytes"] is None


def test_json_is_of_a_dry_run(bench: Any) -> None:
    result = bench(*RUN, "--json")

    assert (result.code, "give it with --dry-run" in result.err) == (2, True)

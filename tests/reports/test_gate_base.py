"""The gate against another results folder: how far a model may drop, and what is compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gated import LEFT, cell, states

from benchmark.results import npz_writer


@pytest.fixture
def other(synthetic_in: Callable[[Path], Any], tmp_path: Path) -> Any:
    """Another results folder, beside that of `synthetic`."""
    return synthetic_in(tmp_path / "base")


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

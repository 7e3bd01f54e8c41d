"""Cells: their ids, their expansion and their record."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import progressing
import pytest
from progressing import spec

from benchmark import checkout
from benchmark.attacks.suites import AttackSpec
from benchmark.cells import Cell, cell_of, cell_record, expand
from benchmark.config import RunConfig, read
from benchmark.datasets import Dataset
from benchmark.job import Job
from benchmark.results import identity

CELL = dataclasses.replace(
    progressing.CELL, defense="pgd-at", parameters={"steps": 10}, epochs=30, examples=360
)


def dataset(test_examples: int = 30) -> Dataset:
    x, y = np.zeros((2, 8, 8, 1), np.float32), np.zeros(2, np.int64)
    x_test = np.zeros((test_examples, 8, 8, 1), np.float32)
    y_test = np.zeros(test_examples, np.int64)
    return Dataset("digits", x, y, x, y, x_test, y_test, ("0",))


def config(**flags: Any) -> RunConfig:
    return read({"defense": ["pgd-at"], "model": "cnn", "eps": 0.1, "epochs": 2, **flags})


def expanded(**flags: Any) -> list[Cell]:
    parameters = {name: {"steps": 1} for name in ("none", "pgd-at", "meta-adv")}
    return expand(config(**flags), dataset(), parameters=parameters)


def test_id_is_readable_and_stable() -> None:
    assert CELL.cell_id == "digits-cnn-torch-pgd-at-s0-9ca414a713"


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "mnist"},
        {"dataset_fingerprint": "fedcba9876543210"},
        {"image_size": 32},
        {"split_seed": 1},
        {"label_column": "class"},
        {"group_column": "sender"},
        {"model": "mlp"},
        {"framework": "tensorflow"},
        {"defense": "none"},
        {"parameters": {"steps": 11}},
        {"norm": "l2"},
        {"eps": 0.2},
        {"seed": 1},
        {"epochs": 31},
        {"epochs": None, "budget_ge": 10},
        {"examples": 10},
    ],
    ids="-".join,
)
def test_every_field_changes_the_id(change: dict[str, Any]) -> None:
    assert dataclasses.replace(CELL, **change).cell_id != CELL.cell_id


def test_schema_version_changes_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    before = CELL.cell_id
    monkeypatch.setattr(identity, "SCHEMA_VERSION", 99)

    assert dataclasses.replace(CELL).cell_id != before


def test_order_of_parameters_does_not_change_the_id() -> None:
    one = dataclasses.replace(CELL, parameters={"a": 1, "b": 2})
    other = dataclasses.replace(CELL, parameters={"b": 2, "a": 1})

    assert one.cell_id == other.cell_id


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("npz:/some/where/My Data (2).npz", "npz-my-data-2-cnn-"),
        ("folder:../../etc/", "folder-etc-cnn-"),
        ("folder:..", "folder-cnn-"),
        ("npz:Übung\n.npz", "npz-bung-cnn-"),
        ("npz:" + "x" * 300 + ".npz", "npz-" + "x" * 40 + "-cnn-"),
    ],
)
def test_id_is_safe_as_a_folder_name(name: str, beginning: str) -> None:
    cell_id = dataclasses.replace(CELL, dataset=name).cell_id

    assert cell_id.startswith(beginning)
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,150}", cell_id)


def test_id_of_a_wrapped_defense_is_safe_and_its_parts_are_known() -> None:
    wrapped = {"steps": 10, "jpeg": {"quality": 50}, "rounded": {"decimals": 3}}
    cell = dataclasses.replace(CELL, defense="pgd-at+jpeg+rounded", parameters=wrapped)

    assert cell.cell_id.startswith("digits-cnn-torch-pgd-at_jpeg_rounded-s0-")
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,150}", cell.cell_id)
    assert cell.trained_by == "pgd-at"
    assert cell.training_parameters == {"steps": 10}
    assert list(cell.wrapped_in) == ["jpeg", "rounded"]
    assert CELL.wrapped_in == {}


def test_expansion_puts_the_undefended_twins_first() -> None:
    found = [(c.defense, c.seed, c.framework) for c in expanded(seed=[0, 1])]

    assert found == [
        ("none", 0, "torch"),
        ("none", 0, "tensorflow"),
        ("none", 1, "torch"),
        ("none", 1, "tensorflow"),
        ("pgd-at", 0, "torch"),
        ("pgd-at", 0, "tensorflow"),
        ("pgd-at", 1, "torch"),
        ("pgd-at", 1, "tensorflow"),
    ]


@pytest.mark.parametrize(
    ("flags", "defenses"),
    [
        ({"baseline": False}, ["pgd-at"]),
        ({"defense": ["pgd-at", "none", "pgd-at"]}, ["none", "pgd-at"]),
        ({"defense": ["none"], "baseline": False}, ["none"]),
        ({"defense": ["meta-adv,pgd-at"]}, ["none", "meta-adv", "pgd-at"]),
    ],
    ids=["no baseline", "repeated", "only the twin", "several"],
)
def test_no_cell_is_expanded_twice(flags: dict[str, Any], defenses: list[str]) -> None:
    found = expanded(framework=["torch"], **flags)

    assert [cell.defense for cell in found] == defenses
    assert len({cell.cell_id for cell in found}) == len(found)


def test_cell_attacks_no_more_examples_than_there_are() -> None:
    assert {cell.examples for cell in expanded(examples=1000)} == {30}
    assert {cell.examples for cell in expanded(examples=20)} == {20}


def test_a_defense_that_adapts_to_clean_examples_is_another_cell_than_before() -> None:
    given = (config(baseline=False, framework=["torch"]), dataset())
    before, now = (
        expand(*given, parameters={"pgd-at": {}}, clean_supports=names)[0]
        for names in ((), ("pgd-at",))
    )
    assert before.cell_id != now.cell_id
    assert cell_of(now.config()) == now
    assert "support" not in before.config()["defense"]


def test_tuple_and_list_are_one_configuration() -> None:
    ids = [
        expand(
            config(baseline=False, framework=["torch"]),
            dataset(),
            parameters={"pgd-at": {"milestones": milestones}},
        )[0].cell_id
        for milestones in ([1, 2], (1, 2))
    ]

    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (spec(b=2, a=1), True),
        (spec(a=1, b=3), False),
        (spec(attack="apgd", a=1, b=2), False),
    ],
    ids=["order", "argument", "attack"],
)
def test_attack_key_follows_the_attack(other: AttackSpec, same: bool) -> None:
    one = Job(CELL, "quick", (spec(a=1, b=2),), "out", None).attack_keys()["pgd"]
    two = Job(CELL, "strong", (other,), "elsewhere", "data").attack_keys()["pgd"]

    assert re.fullmatch(r"pgd-[0-9a-f]{8}", one)
    assert (one == two) is same


def test_attack_key_follows_the_number_of_examples() -> None:
    fewer = dataclasses.replace(CELL, examples=10)
    keys = {
        Job(cell, "quick", (spec(),), "out", None).attack_keys()["pgd"] for cell in (CELL, fewer)
    }

    assert len(keys) == 2


def test_record_holds_what_the_schema_says() -> None:
    record = cell_record(
        CELL,
        status="failed",
        reason="killed; see /home/someone/out.log",
        suites={"quick": ("pgd-01234567",)},
        device="cpu",
        threads=2,
        seconds=1.5,
        started="2026-01-01T00:00:00+00:00",
    )

    assert record["config"] == {
        "dataset": {
            "name": "digits",
            "fingerprint": "0123456789abcdef",
            "image_size": None,
            "split_seed": 0,
        },
        "model": "cnn",
        "framework": "torch",
        "defense": {"name": "pgd-at", "parameters": {"steps": 10}},
        "threat": {"norm": "linf", "eps": 0.15},
        "seed": 0,
        "epochs": 30,
        "budget_ge": None,
        "examples": 360,
    }
    assert record["reason"] == "killed; see out.log"
    assert record["suites"] == {"quick": ["pgd-01234567"]}
    assert (record["gradient_evaluations"], record["seconds"]) == (0.0, 1.5)
    assert {"python", "numpy", "torch", "higher"} <= set(record["versions"])


def test_installed_package_knows_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed = tmp_path / "site-packages" / "benchmark" / "checkout.py"
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(checkout, "__file__", str(installed))
    checkout.git_state.cache_clear()

    assert checkout.git_state() is None

    checkout.git_state.cache_clear()

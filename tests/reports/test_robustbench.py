"""Entries as RobustBench-style JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reports
from benchmark.attacks import running, suites
from benchmark.attacks.specification import AttackSpec
from benchmark.errors import StoreError
from benchmark.results import npz_writer

# of RobustBench's model_info/cifar10/Linf/*.json
KEYS = {
    "link",
    "name",
    "authors",
    "additional_data",
    "number_forward_passes",
    "dataset",
    "venue",
    "architecture",
    "eps",
    "clean_acc",
    "reported",
    "autoattack_acc",
    "footnote",
    "unreliable",
}


def written(synthetic: Any, to: Path) -> dict[str, Any]:
    paths = reports.write_robustbench(synthetic.store.path, to)
    assert sorted(paths) == sorted(path for path in to.rglob("*") if path.is_file())
    return {str(path.relative_to(to)): json.loads(path.read_text()) for path in paths}


@pytest.mark.parametrize(("defenses", "told"), [("a", "1 entry in "), ("ab", "2 entries in ")])
def test_the_command_counts_entries(
    bench: Any, synthetic: Any, tmp_path: Path, defenses: str, told: str
) -> None:
    for name in defenses:
        synthetic.cell(name)

    ended = bench("report", synthetic.store.path, "--robustbench", tmp_path / "to")

    assert ended.out.startswith(told)


def test_an_entry_holds_what_is_stored(synthetic: Any, tmp_path: Path) -> None:
    cell = synthetic.cell("trades", clean=0.9, robust={"pgd": 0.6, "fgsm": 0.7}, eps=8 / 255)

    (path, entry), *others = written(synthetic, tmp_path / "to").items()

    assert not others
    assert path == f"digits/Linf/{cell}-quick.json"
    assert set(entry) == {*KEYS, "meta_adv_bench"}
    assert entry["name"] == "trades (torch, seed 0)"
    assert (entry["dataset"], entry["architecture"], entry["eps"]) == ("digits", "cnn", "8/255")
    # fgsm keeps examples 1 to 140, pgd 0 to 119: both keep 119 of 200
    assert entry["clean_acc"] == pytest.approx(90)
    assert entry["reported"] == pytest.approx(59.5)
    assert entry["autoattack_acc"] is None
    assert entry["unreliable"] is False
    ours = entry["meta_adv_bench"]
    assert ours["attacks"] == {"fgsm": pytest.approx(70), "pgd": pytest.approx(60)}
    assert (ours["cell_id"], ours["rank"], ours["seed"]) == (cell, 1, 0)
    low, high = ours["worst_case_interval"]
    assert low < 59.5 < high


def as_written(spec: AttackSpec) -> dict[str, Any]:
    """What a run records of an attack, before it says how it went."""
    record = running.describe(spec, 200, "linf", 0.15)
    return {name: record[name] for name in ("attack", "arguments", "norm", "eps", "source")}


def attacked_by(synthetic: Any, specs: Sequence[AttackSpec], shares: Sequence[float]) -> None:
    """A cell with these attacks, as a run would have recorded them."""
    names = [spec.name.replace("-", "") for spec in specs]
    cell_id = synthetic.cell("trades", robust=dict(zip(names, shares, strict=True)))
    for spec, name in zip(specs, names, strict=True):
        arrays = synthetic.arrays(cell_id, name)
        synthetic.rewrite(cell_id, name, npz_writer(arrays), **as_written(spec))


AUTOATTACK = suites.load_suite("autoattack").attacks
ON_LOSS = {
    loss: [replace(AUTOATTACK[0], arguments={"max_iter": 100, "loss": loss}), *AUTOATTACK[1:]]
    for loss in ("cross-entropy", "margin")
}
WEAKER = [replace(spec, arguments={**spec.arguments, "max_iter": 5}) for spec in AUTOATTACK]
CASES: dict[str, tuple[Sequence[AttackSpec], Sequence[float], float | None]] = {
    "one attack": ([AttackSpec("aa", "autoattack", {})], [0.5], 50),
    # the attack of number k keeps the examples from k on: 3 to 101 of 200 are left
    "its four attacks": (AUTOATTACK, [0.6, 0.55, 0.5, 0.6], 49.5),
    "its loss told": (ON_LOSS["cross-entropy"], [0.6, 0.55, 0.5, 0.6], 49.5),
    "another loss": (ON_LOSS["margin"], [0.6, 0.55, 0.5, 0.6], None),
    "three of the four": (AUTOATTACK[:3], [0.6, 0.55, 0.5], None),
    "other arguments": (WEAKER, [0.6, 0.55, 0.5, 0.6], None),
    "one attack, fewer steps": ([AttackSpec("aa", "autoattack", {"max_iter": 5})], [0.5], None),
    "made on another model": ([AttackSpec("aa", "autoattack", {}, source="none")], [0.5], None),
    "another suite": (suites.load_suite("quick").attacks, [0.6, 0.5, 0.5, 0.5], None),
}


@pytest.mark.parametrize(("specs", "shares", "expected"), CASES.values(), ids=CASES)
def test_autoattack_is_told_where_it_ran(
    synthetic: Any,
    tmp_path: Path,
    specs: Sequence[AttackSpec],
    shares: Sequence[float],
    expected: float | None,
) -> None:
    attacked_by(synthetic, specs, shares)

    (entry,) = written(synthetic, tmp_path / "to").values()

    assert entry["autoattack_acc"] == (None if expected is None else pytest.approx(expected))


def test_autoattack_on_some_examples_is_not_told(synthetic: Any, tmp_path: Path) -> None:
    attacked_by(synthetic, [AttackSpec("aa", "autoattack", {})], [0.5])
    (cell_id,) = synthetic.store.cell_ids()
    arrays = {**synthetic.arrays(cell_id, "aa"), "attacked": np.arange(200) < 20}
    synthetic.rewrite(cell_id, "aa", npz_writer(arrays))

    (entry,) = written(synthetic, tmp_path / "to").values()

    assert entry["autoattack_acc"] is None
    assert entry["unreliable"] is True


def test_incomplete_entries_are_unreliable_and_failed_cells_are_none(
    synthetic: Any, tmp_path: Path
) -> None:
    synthetic.cell("a", states={"pgd": ("failed", "no memory")})
    synthetic.cell("b", status="failed")

    (entry,) = written(synthetic, tmp_path / "to").values()

    assert entry["name"].startswith("a ")
    assert entry["unreliable"] is True
    assert "upper bound" in entry["footnote"]


def test_threats_beside_that_of_the_folder_stand_in_the_footnote(
    synthetic: Any, tmp_path: Path
) -> None:
    cell_id = synthetic.cell("a", norm="l2", eps=0.5, robust={"pgd": 0.6, "square": 0.4})
    (before,) = written(synthetic, tmp_path / "before").values()
    write = npz_writer(synthetic.arrays(cell_id, "square"))
    synthetic.rewrite(cell_id, "square", write, norm="l0", eps=20.0, own_threat=True)

    (entry,) = written(synthetic, tmp_path / "to").values()

    assert before["footnote"] == ""
    assert entry["footnote"] == "The robust accuracy is under L2 0.5 and L0 20."


@pytest.mark.parametrize(
    "name", ["../../escape", "/etc/x", "..", "a\x1b[31m", "", "\ud800", "x" * 999]
)
def test_hostile_names_stay_below_the_folder(synthetic: Any, tmp_path: Path, name: str) -> None:
    synthetic.cell("a", dataset=name, norm=name, cell_id="cell")

    ((path, entry),) = written(synthetic, tmp_path / "to").items()

    assert entry["dataset"] == name
    assert path.count("/") == 2
    assert path.replace("/", "").replace("-", "").replace("_", "").replace(".json", "").isalnum()


def test_names_that_look_the_same_in_a_path_are_kept_apart(synthetic: Any, tmp_path: Path) -> None:
    for number, dataset in enumerate(("npz:a", "npz/a")):
        synthetic.cell("a", dataset=dataset, cell_id=f"cell{number}")

    folders = {path.partition("/")[0] for path in written(synthetic, tmp_path / "to")}

    assert len(folders) == 2


def test_the_same_results_give_the_same_bytes(synthetic: Any, tmp_path: Path) -> None:
    synthetic.cell("a")
    first, second = (
        [path.read_bytes() for path in reports.write_robustbench(synthetic.store.path, to)]
        for to in (tmp_path / "1", tmp_path / "2")
    )

    assert first == second


def test_entries_are_never_written_among_the_results(synthetic: Any) -> None:
    synthetic.cell("a")

    with pytest.raises(StoreError, match="stored results are in there"):
        reports.write_robustbench(synthetic.store.path, synthetic.store.path / "cells" / "x")

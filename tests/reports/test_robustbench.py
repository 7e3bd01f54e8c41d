"""Entries as RobustBench-style JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import reports
from benchmark.errors import StoreError

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


def test_autoattack_is_told_where_it_ran(
    synthetic: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = synthetic.attack_record
    monkeypatch.setattr(
        type(synthetic),
        "attack_record",
        staticmethod(lambda *arguments: {**record(*arguments), "attack": "AutoAttack"}),
    )
    synthetic.cell("trades", robust={"autoattack": 0.5})

    (entry,) = written(synthetic, tmp_path / "to").values()

    assert entry["autoattack_acc"] == pytest.approx(50)


def test_incomplete_entries_are_unreliable_and_failed_cells_are_none(
    synthetic: Any, tmp_path: Path
) -> None:
    synthetic.cell("a", states={"pgd": ("failed", "no memory")})
    synthetic.cell("b", status="failed")

    (entry,) = written(synthetic, tmp_path / "to").values()

    assert entry["name"].startswith("a ")
    assert entry["unreliable"] is True
    assert "upper bound" in entry["footnote"]


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

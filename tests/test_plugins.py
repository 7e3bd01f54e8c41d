"""Parts that other distributions contribute: found, named, told, and used by worker processes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plugins import TEMPLATE, distribution, install

from benchmark.config import read
from benchmark.errors import BenchError
from benchmark.plans.run import make_plan
from benchmark.registry import check_installed
from benchmark.results import Store
from defenses.errors import DefenseError

MINE = """
from defenses import AdversarialTraining

class Mine(AdversarialTraining):
    "As it is."
"""
OWN = {"defenses": "half-clean", "attacks": "corners", "datasets": "stripes"}
OWN |= {"models": "tiny", "suites": "glance"}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the template of the documentation is installed."""
    return install(TEMPLATE, tmp_path_factory.mktemp("template"))


@pytest.fixture
def installed(template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The template, where modules are looked for."""
    monkeypatch.syspath_prepend(str(template))
    return template


def plan(tmp_path: Path, **given: Any) -> Any:
    defaults = {"defense": "pgd-at", "framework": "torch", "baseline": False, "examples": 5}
    return make_plan(read({**defaults, "out": str(tmp_path / "out"), **given}))


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("kind", "name"), OWN.items())
def test_a_contributed_part_is_listed_with_its_distribution(
    bench: Any, kind: str, name: str
) -> None:
    (row,) = [row for row in json.loads(bench("list", kind, "--json").out) if row["name"] == name]

    assert row["description"].endswith("[bench-template 1.0]")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("half-clean", "clean  "),
        ("corners", "argument max_iter"),
        ("tiny", "one hidden layer of 32"),
        ("glance", "corners  "),
    ],
)
def test_what_is_behind_a_contributed_name_is_told(bench: Any, name: str, expected: str) -> None:
    assert expected in bench("list", name).out


@pytest.mark.usefixtures("installed")
def test_contributed_parts_are_used_by_workers_in_both_frameworks(
    bench: Any, tmp_path: Path
) -> None:
    out = tmp_path / "results"
    ended = bench(
        *("run", "--defense", "half-clean", "--dataset", "stripes", "--model", "tiny"),
        *("--suite", "glance", "--epochs", 5, "--examples", 10, "--no-baseline", "--out", out),
    )

    assert ended.code == 0, ended.err
    store = Store.open(out)
    for cell_id in store.cell_ids():
        record = store.read_cell(cell_id)
        assert record is not None
        config = record["config"]
        assert config["defense"]["distribution"] == "bench-template 1.0"
        assert config["dataset"]["distribution"] == "bench-template 1.0"
        assert config["origin"] == {"distribution": "bench-template 1.0"}
        (run,) = [store.read_stage(cell_id, f"runs/{k}") for k in store.stage_keys(cell_id, "runs")]
        assert run is not None
        assert run["suite_from"] == "bench-template 1.0"
        keys = record["suites"]["glance"]
        attacks = [store.read_stage(cell_id, f"attacks/{key}") for key in keys]
        by_name = {attack["name"]: attack for attack in attacks if attack is not None}
        assert by_name["corners"]["identity"][-1] == {"distribution": "bench-template 1.0"}
        assert by_name["fgsm"]["identity"][-1] != {"distribution": "bench-template 1.0"}
    assert len(store.cell_ids()) == 2


def test_the_version_of_a_contribution_is_part_of_a_cells_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = []
    for version in ("1.0", "1.1"):
        folder = tmp_path / version
        distribution(folder, "one", version=version, module=MINE, defenses={"mine": "one:Mine"})
        with monkeypatch.context() as patch:
            patch.delitem(sys.modules, "one", raising=False)
            patch.syspath_prepend(str(folder))
            ids.append(plan(tmp_path, defense="mine").jobs[0].cell.cell_id)

    assert len(set(ids)) == 2


@pytest.mark.usefixtures("installed")
def test_ordinary_cells_know_nothing_of_what_is_installed(tmp_path: Path) -> None:
    config = plan(tmp_path).jobs[0].cell.config()

    assert "distribution" not in json.dumps(config)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"defense_from": "bench-template 0.9"}, "bench-template 0.9; here it is bench-template 1"),
        ({"defense_from": None}, "that of this project; here it is bench-template 1.0"),
        ({"dataset_from": "gone 2"}, "dataset 'digits' of this cell is that of gone 2; here it is"),
        ({"origin": {"distribution": "gone 2"}}, "model 'cnn' of this cell is that of gone 2"),
    ],
)
def test_a_cell_of_another_version_is_not_worked_on(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    cell = plan(tmp_path, defense="half-clean").jobs[0].cell
    check_installed(cell)

    with pytest.raises(BenchError, match=told):
        check_installed(replace(cell, **change))


CONFLICTS = {
    "built-in": ({"one": {"pgd-at": "one:X"}}, "one 1.0 contributes the defense 'pgd-at', which"),
    "wrapper": ({"one": {"jpeg": "one:X"}}, "one 1.0 contributes the defense 'jpeg', which"),
    "twice": (
        {"one": {"mine": "one:X"}, "two": {"mine": "two:X"}},
        "one 1.0 and two 1.0 both contribute the defense 'mine'; uninstall one",
    ),
    "name": ({"one": {"My Own": "one:X"}}, "defense 'My Own' of one 1.0 has a name that may hold"),
}


@pytest.mark.parametrize(("parts", "told"), CONFLICTS.values(), ids=CONFLICTS)
def test_a_conflict_of_names_is_one_line(
    place: Path, bench: Any, parts: dict[str, dict[str, str]], told: str
) -> None:
    for name, defenses in parts.items():
        distribution(place, name, defenses=defenses)

    for command in (("list", "defenses"), ("run", "--defense", "none", "--dry-run")):
        ended = bench(*command)
        assert ended.code == 2
        assert ended.err.startswith(f"bench: error: {told}")
        assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("kind", "name"),
    [("attacks", "pgd"), ("datasets", "npz"), ("models", "cnn"), ("suites", "quick")],
)
def test_names_of_this_project_can_not_be_contributed(
    place: Path, bench: Any, kind: str, name: str
) -> None:
    distribution(place, "one", **{kind: {name: "one:X"}})

    ended = bench("list", kind)

    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert (
        f"one 1.0 contributes the {kind[:-1]} {name!r}, which this project has itself" in ended.err
    )


BROKEN = {
    "absent": ("defenses", "nothing:X", "can't be loaded from nothing:X (ModuleNotFoundError"),
    "no such name": ("defenses", "one:Y", "can't be loaded from one:Y (AttributeError"),
    "no defense": ("defenses", "one:X", "is not a class derived from defenses.Defense"),
    "no attack": ("attacks", "one:X", "is not an instance of benchmark.attacks.entry"),
    "no dataset": ("datasets", "one:X", "is not an instance of benchmark.datasets.entry"),
    "no model": ("models", "one:X", "is not an instance of benchmark.models.entry"),
}


@pytest.mark.parametrize(("kind", "target", "told"), BROKEN.values(), ids=BROKEN)
def test_a_part_that_can_not_be_used_hides_no_others(
    place: Path, bench: Any, kind: str, target: str, told: str
) -> None:
    distribution(place, "one", module="X = 1", **{kind: {"mine": target}})

    rows = {
        row["name"]: row["description"] for row in json.loads(bench("list", kind, "--json").out)
    }

    assert f"{kind[:-1]} 'mine' of one 1.0 {told}" in rows["mine"]
    assert len(rows) > 5


def test_a_run_with_a_part_that_can_not_be_used_ends_before_it_begins(
    place: Path, tmp_path: Path
) -> None:
    distribution(place, "one", defenses={"mine": "nothing:X"})

    with pytest.raises((BenchError, DefenseError), match="mend or uninstall it"):
        plan(tmp_path, defense="mine")
    assert not (tmp_path / "out").exists()

"""Attacks made on another cell's model: which one is decided, or refused, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark.cells import Cell
from benchmark.cli.execution import execute
from benchmark.config import read
from benchmark.errors import BenchError
from benchmark.order import in_turns
from benchmark.plans.run import make_plan
from benchmark.results import Store
from benchmark.resume import pending, suites_of
from benchmark.sources import chosen, index_of, stored_configs


def cell(defense: str = "none", **changes: Any) -> Cell:
    return Cell(
        **{
            "dataset": "digits",
            "dataset_fingerprint": "f",
            "image_size": None,
            "split_seed": 0,
            "model": "cnn",
            "framework": "torch",
            "defense": defense,
            "parameters": {},
            "norm": "linf",
            "eps": 0.15,
            "seed": 0,
            "epochs": 30,
            "budget_ge": None,
            "examples": 100,
            **changes,
        }
    )


ATTACKED = cell("pgd-at")


def found(*, run: list[Cell], stored: list[Cell]) -> str:
    here, there = (
        index_of({other.cell_id: other.config() for other in cells}) for cells in (run, stored)
    )
    return chosen(ATTACKED, "none", here, lambda: there, attack="a")


OTHERS = {
    "eps": {"eps": 0.3},
    "norm": {"norm": "l2"},
    "epochs": {"epochs": 3},
    "budget": {"epochs": None, "budget_ge": 1000},
    "seed": {"seed": 1},
    "data": {"dataset_fingerprint": "g"},
    "framework": {"framework": "tensorflow"},
    "model": {"model": "mlp"},
    "someone else's": {"source": {"weights": "x"}},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_a_model_of_another_setting_is_not_taken(change: dict[str, Any]) -> None:
    twin, other = cell(), cell(**change)
    assert found(run=[], stored=[other, twin]) == twin.cell_id
    with pytest.raises(BenchError, match="neither this run nor its folder has that"):
        found(run=[ATTACKED], stored=[other])


def test_the_runs_own_goes_before_what_the_folder_holds() -> None:
    ours, theirs = cell(), cell(parameters={"learning_rate": 0.1})
    assert found(run=[ours], stored=[ours, theirs]) == ours.cell_id


def test_several_that_fit_are_named() -> None:
    several = [cell(parameters={"learning_rate": rate}) for rate in (0.1, 0.2)]
    with pytest.raises(BenchError, match="2 of them fit pgd-at torch seed 0") as caught:
        found(run=[], stored=several)
    assert all(one.cell_id in str(caught.value) for one in several)


def test_cells_that_differ_in_attacked_examples_hold_the_same_model() -> None:
    fewer, same = cell(examples=50), cell()
    assert found(run=[], stored=[fewer, same]) == same.cell_id
    assert found(run=[], stored=[fewer]) == fewer.cell_id


def planned(out: Path, suite: str, **flags: Any) -> Any:
    path = out.parent / "from.yaml"
    path.write_text(suite)
    flags = {"defense": "pgd-at", "framework": "torch", "suite": str(path), "out": out, **flags}
    return make_plan(read(flags), dry_run=True)


BAD = {
    "unknown": ("nope", "unknown defense 'nope'; "),
    "misspelt": ("pdg-at", "did you mean 'pgd-at'?"),
    "wrapped": ("pgd-at+jpeg", "write 'pgd-at'"),
    "no name": ("[none]", "unknown defense"),
    "not in the run": ("fgsm-at", "add --defense fgsm-at"),
    "no twin": ("none", "leave --no-baseline out"),
}


@pytest.mark.parametrize(("source", "line"), BAD.values(), ids=BAD)
def test_a_dry_run_refuses_a_model_that_will_not_be_there(
    tmp_path: Path, source: str, line: str
) -> None:
    suite = f"attacks: {{a: {{attack: pgd, from: {source}}}}}"
    with pytest.raises(BenchError) as caught:
        planned(tmp_path / "out", suite, baseline=False)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_needed_comes_first(tmp_path: Path) -> None:
    suite = "attacks: {a: {attack: pgd, from: fgsm-at}}"
    jobs = planned(tmp_path / "out", suite, defense=["pgd-at", "fgsm-at"]).jobs
    assert [job.cell.defense for job in jobs] == ["fgsm-at", "none", "pgd-at"]
    assert [job.sources.get("fgsm-at") for job in jobs] == [None, *[jobs[0].cell.cell_id] * 2]


FROM_PGD_AT = "attacks: {a: {attack: pgd, from: pgd-at}, b: {attack: bim}}"


def test_a_twin_that_comes_after_its_cell_is_looked_at_in_a_second_turn(tmp_path: Path) -> None:
    jobs = planned(tmp_path / "out", FROM_PGD_AT, defense=["pgd-at", "fgsm-at"]).jobs

    first, again = in_turns(jobs)

    checked = {
        job.cell.defense: "trust checks" in [stage.label for stage in job.stages] for job in first
    }
    assert checked == {"pgd-at": False, "none": True, "fgsm-at": True}
    assert again == [jobs[0]]
    assert in_turns(jobs[:1]) == ([jobs[0]], [])  # where the twin is done


def test_attacks_on_each_others_models_wait_for_a_second_turn(tmp_path: Path) -> None:
    suite = """
        attacks: {a: {attack: pgd, from: pgd-at}, b: {attack: pgd, from: fgsm-at}}
        security_curve: {attack: b, budgets: [1, 2]}
    """
    defenses = ["pgd-at", "fgsm-at"]
    jobs = planned(tmp_path / "out", suite, defense=defenses, baseline=False).jobs

    first, again = in_turns(jobs)

    stages = [[stage.label for stage in job.stages] for job in first]
    assert stages[0] == ["training", "attack a", "transfer between frameworks"]
    assert stages[1][:4] == ["training", "attack a", "attack b", "trust checks"]
    assert again == [jobs[0]]
    assert in_turns(jobs[:1]) == ([jobs[0]], [])  # where the other is trained


def test_a_cell_with_attacks_left_for_a_second_turn_lacks_them_if_the_run_is_stopped_between(
    tmp_path: Path,
) -> None:
    suite = "attacks: {a: {attack: pgd, from: pgd-at}, b: {attack: pgd, from: fgsm-at}}"
    defenses = ["pgd-at", "fgsm-at"]
    jobs = planned(tmp_path / "out", suite, defense=defenses, baseline=False).jobs
    store = Store.create(tmp_path / "out")

    first, _ = in_turns(jobs)
    record = {"status": "ok", "suites": suites_of(first[0], store)}
    store.write_cell(jobs[0].cell.cell_id, record)

    whole = sorted(jobs[0].attack_keys().values())
    assert len(first[0].attacks) == 1
    assert [sorted(keys) for keys in record["suites"].values()] == [whole]
    assert jobs[0] in pending(jobs, store)


@pytest.mark.parametrize("processes", [1, 2])
def test_the_twin_check_knows_a_twin_that_comes_later(tmp_path: Path, processes: int) -> None:
    flags = {"model": "cnn-small", "epochs": 1, "examples": 20, "jobs": processes}
    plan = planned(tmp_path / "out", FROM_PGD_AT, **flags)

    assert [one.status for one in execute(plan, "quiet")] == ["ok", "ok"]

    store = Store.open(tmp_path / "out")
    for job in plan.jobs:
        checks = store.read_stage(job.cell.cell_id, job.trust_stage)["checks"]
        (twin,) = (one for one in checks if one["name"] == "undefended twin")
        assert twin["status"] != "not-applicable", job.cell.label
    assert pending(plan.jobs, store) == []


def test_only_trained_cells_of_the_folder_count(tmp_path: Path) -> None:
    assert stored_configs(tmp_path / "nothing") == {}
    store = Store.create(tmp_path)
    for name in ("trained", "not"):
        store.write_cell(name, {"config": {"model": name}, "status": "ok", "suites": {}})
    store.write_stage("trained", "training", {"seconds": 1.0})
    assert stored_configs(tmp_path) == {"trained": {"model": "trained"}}

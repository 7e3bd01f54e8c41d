"""A plan in parts: the same everywhere, nothing left out, and each part able to stand alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.config import read
from benchmark.errors import ConfigError
from benchmark.plans.run import make_plan
from benchmark.results import Store
from benchmark.shards import part
from benchmark.stages.transfer import TransferBetweenFrameworks


def planned(out: Path, **more: Any) -> tuple[Any, ...]:
    flags = {"defense": ["pgd-at", "pgd-at+jpeg", "trades"], "seed": ["0", "1"], "epochs": 1}
    return make_plan(read({**flags, "out": out / "out", **more})).jobs


def ids(jobs: Any) -> list[str]:
    return [job.cell.cell_id for job in jobs]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 40])
def test_parts_hold_every_cell_and_what_it_needs(tmp_path: Path, count: int) -> None:
    jobs = planned(tmp_path)
    parts = [part(jobs, number, count) for number in range(1, count + 1)]
    assert sorted({name for one in parts for name in ids(one)}) == sorted(ids(jobs))
    for one in parts:
        here = set(ids(one))
        assert all(job.after <= here for job in one)
        assert ids(one) == [name for name in ids(jobs) if name in here]


def test_only_what_others_need_is_in_several_parts(tmp_path: Path) -> None:
    jobs = planned(tmp_path)
    parts = [ids(part(jobs, number, 5)) for number in range(1, 6)]
    needed = {name for job in jobs for name in job.after}
    for name in ids(jobs):
        assert sum(name in one for one in parts) == 1 or name in needed


def test_cells_of_one_training_stay_together(tmp_path: Path) -> None:
    jobs = planned(tmp_path, baseline=False)
    parts = [set(ids(part(jobs, number, 6))) for number in range(1, 7)]
    shared = [job for job in jobs if job.training_after]
    assert shared
    for job in shared:
        assert all((job.cell.cell_id in one) == (job.training_after <= one) for one in parts)


def test_equal_cells_are_shared_out_evenly(tmp_path: Path) -> None:
    jobs = planned(tmp_path, defense=["pgd-at"], framework="torch", baseline=False)
    assert [ids(part(jobs, number, 2)) for number in (1, 2)] == [[name] for name in ids(jobs)]


def test_the_same_command_plans_the_same_part_again(tmp_path: Path) -> None:
    once = ids(planned(tmp_path, shard="2/3"))
    assert once == ids(planned(tmp_path, shard="2/3"))
    assert once == ids(part(planned(tmp_path), 2, 3))


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3"])
def test_a_part_that_is_none_is_refused(tmp_path: Path, shard: str) -> None:
    with pytest.raises(ConfigError, match="give K/N with K from 1 to N, such as 3/10"):
        planned(tmp_path, shard=shard)


def test_a_part_of_more_than_there_is_does_nothing(
    bench: Callable[..., Any], fake_workers: None, tmp_path: Path
) -> None:
    run = ("run", "--defense", "none", "--framework", "torch", "--epochs", "1")
    results = [bench(*run, "--shard", f"{number}/3") for number in (1, 2, 3)]
    assert [result.code for result in results] == [0, 0, 0]
    assert sum("holds 0 cells" in result.err for result in results) == 2
    assert len(Store.open("bench-results").cell_ids()) == 1


def test_parts_merge_into_the_whole(
    bench: Callable[..., Any], fake_workers: None, tmp_path: Path
) -> None:
    run = ("run", "--defense", "pgd-at,trades", "--framework", "torch", "--epochs", "1")
    for number in (1, 2):
        assert bench(*run, "--shard", f"{number}/2", "--out", f"part-{number}").code == 0
    assert bench("merge", "part-1", "part-2", "--out", "whole").code == 0
    again = bench(*run, "--out", "whole")
    assert (again.code, "3 of 3 cells done already" in again.err) == (0, True)


DUE = {  # what there is of both cells, of the counterpart alone, and whether a transfer is missing
    "nothing": ([], [], False),
    "both trained, not ended": (["training"], [], False),
    "measured apart": (["training", "ended"], [], True),
    "the counterpart has it": (["training", "ended"], ["transfer"], False),
    "the counterpart lost its model": (["ended"], [], False),
}


@pytest.mark.parametrize(("both", "counterpart", "due"), DUE.values(), ids=DUE)
def test_cells_that_were_measured_apart_lack_their_transfer(
    tmp_path: Path, both: list[str], counterpart: list[str], due: bool
) -> None:
    flags = {"defense": ["none"], "framework": ["torch", "tensorflow"]}
    here, there = (job.cell for job in planned(tmp_path, baseline=False, seed=["0"], **flags))
    store = Store.create(tmp_path / "out")
    stages = {"training": "training", "transfer": f"transfers/{here.framework}"}
    for cell, what in ((here, both), (there, [*both, *counterpart])):
        for name in what:
            if name == "ended":
                store.write_cell(cell.cell_id, {"status": "ok", "suites": {}})
            else:
                store.write_stage(cell.cell_id, stages[name], {"status": "ok"})
    stage = TransferBetweenFrameworks(here, needs=())
    assert stage.is_due(store, here.cell_id) == due

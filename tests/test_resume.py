"""What is left of a run, by what its folder holds, whoever wrote that."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmark.cells import Cell
from benchmark.job import Job
from benchmark.results import Store
from benchmark.resume import pending, spent, suites_of


@dataclass
class Asked:
    """As much of a job as is asked here: two attacks of a suite, and stages that are left."""

    left: list[str] = field(default_factory=list)
    suite: str = "quick"
    cell: Any = field(default_factory=lambda: SimpleNamespace(cell_id="one", source=None))

    def attack_keys(self) -> dict[str, str]:
        return {"pgd": "pgd-1", "fgsm": "fgsm-2"}

    def pending(self, store: Store) -> list[str]:
        return self.left


def stored(tmp_path: Path, suites: object, **record: object) -> Store:
    store = Store.create(tmp_path / "out")
    store.write_cell("one", {"status": "ok", "suites": suites, **record})
    return store


def is_done(store: Store, **asked: Any) -> bool:
    return pending([cast(Job, Asked(**asked))], store) == []


WHOLE = {"quick": ["fgsm-2", "pgd-1"]}


def test_a_cell_is_done_that_ended_well_with_these_attacks_and_all_stages(tmp_path: Path) -> None:
    store = stored(tmp_path, WHOLE)
    assert is_done(store)
    assert not is_done(store, left=["curve"])
    assert not is_done(store, suite="other")
    assert not is_done(stored(tmp_path, WHOLE, status="failed"))
    assert not is_done(Store.create(tmp_path / "empty"))


@pytest.mark.parametrize(
    "suites",
    [
        {"quick": ["pgd-1"]},
        {"quick": ["pgd-1", "fgsm-2", "more-3"]},
        {"quick": ["pgd-1", "fgsm-3"]},
        {"quick": ["pgd-1", 2]},
        {"quick": "pgd-1"},
        {"quick": None},
        {},
        [],
        None,
    ],
    ids=str,
)
def test_a_cell_of_other_suites_is_not_done_and_gets_its_own(
    tmp_path: Path, suites: object
) -> None:
    store = stored(tmp_path, suites)
    assert not is_done(store)
    assert suites_of(cast(Job, Asked()), store) == {"quick": ["pgd-1", "fgsm-2"]}


def test_suites_that_were_done_before_are_kept(tmp_path: Path) -> None:
    store = stored(tmp_path, {"strong": ["pgd-9"], "odd": 3, "quick": ["pgd-0"]})
    assert suites_of(cast(Job, Asked()), store) == {
        "strong": ["pgd-9"],
        "quick": ["pgd-1", "fgsm-2"],
    }


def test_what_made_a_model_is_what_its_stages_spent(tmp_path: Path) -> None:
    store, cell = Store.create(tmp_path / "out"), cast(Cell, Asked().cell)
    assert spent(cell, store) == 0
    for stage, cost in (("training", 40), ("adaptation", 2.5), ("attacks/pgd-1", 7)):
        store.write_stage("one", stage, {"cost": {"gradient_evaluations": cost}})
    assert spent(cell, store) == 42.5
    assert spent(cast(Cell, SimpleNamespace(cell_id="one", source={"a": 1})), store) is None

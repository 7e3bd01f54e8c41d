"""A short form of tests/performance/fuzz.py: what was changed is taken, or refused in a line."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PLACE = Path(__file__).parent / "performance" / "fuzz.py"


@pytest.fixture(scope="module")
def fuzz() -> Iterator[Any]:
    found = importlib.util.spec_from_file_location("fuzz", PLACE)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["fuzz"] = module
    found.loader.exec_module(module)
    yield module
    del sys.modules["fuzz"]


def test_what_is_changed_is_taken_as_it_was(fuzz: Any, tmp_path: Path) -> None:
    readers = fuzz.Records(tmp_path / "results").readers()
    assert {fuzz.outcome(read) for read in readers.values()} == {("taken", "")}
    fuzz.Suites(tmp_path).load(fuzz.yaml.safe_dump(fuzz.BASE_SUITE))
    fuzz.Runs(tmp_path).plan(fuzz.yaml.safe_dump(fuzz.BASE_CONFIG | {"out": str(tmp_path / "o")}))


def test_every_way_to_fail_is_noticed(fuzz: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(line: str) -> None:
        raise fuzz.BenchError(line)

    def hang() -> None:
        while True:
            pass

    monkeypatch.setattr(fuzz, "SECONDS", 0.05)
    assert fuzz.outcome(lambda: refuse("a line")) == ("refused", "")
    assert fuzz.outcome(lambda: refuse("two\nlines"))[0] == "ill-told"
    assert fuzz.outcome(lambda: {}["key"])[0] == "traceback"
    assert fuzz.outcome(hang)[0] == "hang"


def test_the_same_seed_changes_the_same(fuzz: Any) -> None:
    one, two = (fuzz.mutated_yaml(fuzz.BASE_SUITE, random.Random(5)) for _ in range(2))
    assert one == two


def test_forty_changes_end_without_a_traceback_or_a_hang(fuzz: Any, tmp_path: Path) -> None:
    found = fuzz.fuzz(tmp_path, mutations=40, seed=1)
    assert found.failures == []
    assert {name.split()[0] for name, _ in found.counts} == {
        "load",
        "report",
        "show",
        "suite",
        "run",
    }

"""How a run ends: what it prints last, and what it says when its report can't be written."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

import reports
from benchmark import frameworks
from benchmark.cli import execution
from benchmark.cli.output import ReaderGoneError, told_if_slow
from benchmark.errors import StoreError
from benchmark.results import Store
from reports import records
from reports.left_out import LeftOut

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _alone(fake_workers: None) -> None:
    """Every command runs on fake workers, in a folder of its own."""


RUN = ("run", "--defense", "pgd-at", "--framework", "torch", "--epochs", "1")


@pytest.mark.parametrize(
    "error", [ValueError("no such backend"), StoreError("no space left")], ids=["own", "store"]
)
def test_report_that_fails_loses_nothing(
    bench: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(out: Path, to: Path | None = None) -> Path:
        raise error

    monkeypatch.setattr(reports, "publish", fail)
    result = bench(*RUN)

    assert result.code == 1
    assert "pgd-at" in result.out
    assert "report: " not in result.out
    last = result.err.splitlines()[-1]
    assert str(error) in last
    assert last.endswith("once more: bench report bench-results")
    assert len(Store.open("bench-results").cell_ids()) == 2


@pytest.mark.parametrize("shown", ["_print_table", "_print_finding"])
def test_a_reader_who_has_seen_enough_is_no_failed_report(
    bench: Any, monkeypatch: pytest.MonkeyPatch, shown: str
) -> None:
    def left(*_: object) -> None:
        raise ReaderGoneError

    monkeypatch.setattr(execution, shown, left)
    result = bench(*RUN, "--no-baseline")

    assert result.code == 1
    assert "error" not in result.err


def test_each_cell_is_read_once_for_all_that_is_shown(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, seen = records._read_cell, []

    def counted(store: Store, cell_id: str, left_out: LeftOut) -> records.Cell | None:
        seen.append(cell_id)
        return read(store, cell_id, left_out)

    monkeypatch.setattr(records, "_read_cell", counted)
    assert bench(*RUN).code == 0
    assert sorted(seen) == Store.open("bench-results").cell_ids()


def test_failed_cell_and_failed_report_are_both_told(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(out: Path, to: Path | None = None) -> Path:
        raise ValueError("no such backend")

    monkeypatch.setattr(reports, "publish", fail)
    result = bench(*RUN, "--no-baseline", "--seed", "9")

    assert result.code == 1
    assert "bench report bench-results" in result.err.splitlines()[-2]
    assert "1 of 1 cell failed" in result.err.splitlines()[-1]


def test_quiet_run_prints_what_it_found_alone(bench: Any) -> None:
    result = bench(*RUN, "--quiet", "--no-baseline")

    assert (result.code, result.out, result.err) == (0, "pgd-at keeps it.\\x1b\n", "")


def test_quiet_run_names_what_failed(bench: Any) -> None:
    result = bench(*RUN, "--quiet", "--no-baseline", "--seed", "9")

    assert result.code == 1
    assert len(result.err.splitlines()) == 1
    assert "1 of 1 cell failed" in result.err


def test_verbose_run_tells_how_long_loading_took(bench: Any) -> None:
    result = bench(*RUN, "--verbose", "--no-baseline")

    assert re.search(r"pgd-at torch seed 0: loading torch done in \d+ s", result.err)


@pytest.mark.parametrize(
    "command", [RUN, ("attack", "--weights", "x.keras")], ids=["run", "attack"]
)
def test_quiet_and_verbose_exclude_each_other(bench: Any, command: tuple[str, ...]) -> None:
    result = bench(*command, "--quiet", "--verbose")

    assert (result.code, "--quiet and --verbose" in result.err) == (2, True)


def test_backend_of_a_notebook_never_reaches_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def prepare_tensorflow(threads: int, device: str) -> bool:
        found.append(os.environ.get("MPLBACKEND"))
        return False

    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setattr(frameworks, "import_torch_first", lambda: None)
    monkeypatch.setattr(frameworks, "_prepare_tensorflow", prepare_tensorflow)

    assert frameworks.prepare("tensorflow") == "cpu"
    assert found == [None]


def test_what_takes_long_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with told_if_slow("loading birds", after=0.01):
        time.sleep(0.3)
    with told_if_slow("loading owls", after=60):
        pass
    with told_if_slow("loading crows", quiet=True, after=0.01):
        time.sleep(0.3)

    assert capsys.readouterr().err == "bench: loading birds\n"

"""The commands on stored results: what they print, and how they end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def out(synthetic: Any) -> Path:
    synthetic.cell("pgd-at")
    synthetic.cell("none")
    synthetic.cell("evil\x1b[2J", cell_id="evil")
    path: Path = synthetic.store.path
    return path


@pytest.mark.parametrize("form", ["table", "csv", "json", "markdown", "latex"])
def test_report_prints_every_format_and_writes_nothing(bench: Any, out: Path, form: str) -> None:
    before = content(out)

    code, printed, err = bench("report", out, "--format", form)

    assert (code, err) == (0, "")
    assert "pgd-at" in printed
    assert "\x1b" not in printed
    assert content(out) == before


@pytest.mark.parametrize("form", ["table", "csv", "json", "markdown", "latex"])
def test_compare_prints_every_format_and_writes_nothing(bench: Any, out: Path, form: str) -> None:
    before = content(out)

    code, printed, err = bench("compare", "digits-pgd", "evil", "--out", out, "--format", form)

    assert (code, err) == (0, "")
    assert "worst case" in printed
    assert "\x1b" not in printed
    assert content(out) == before
    if form == "json":
        assert json.loads(printed)["b"] == "evil"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["report", "OUT", "--format", "tabel"], "unknown format 'tabel'; did you mean 'table'?"),
        (
            ["report", "OUT", "--format", "csv", "--publish", "x"],
            "--format and --publish ask for different",
        ),
        (["compare", "evil", "evil", "--out", "OUT"], "both name the cell 'evil'"),
        (["compare", "evil", "digits", "--out", "OUT"], "cell 'digits' is not unique"),
        (["compare", "evil", "evli", "--out", "OUT"], "did you mean 'evil'?"),
        (["compare", "evil", "x", "--out", "OUT", "--format", "y"], "unknown format 'y'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_answered_in_one_line(
    bench: Any, out: Path, arguments: list[str], line: str
) -> None:
    code, printed, err = bench(*(str(out) if word == "OUT" else word for word in arguments))

    assert (code, printed) == (2, "")
    assert line in err
    assert err.count("\n") == 1


def test_merge_joins_folders_and_writes_the_report(bench: Any, out: Path, tmp_path: Path) -> None:
    (out / "cells/evil/cell.json").write_text("torn")

    code, printed, err = bench("merge", out, "--out", tmp_path / "all")

    assert (code, "1 of what was left out is damaged" in err) == (1, True)
    assert printed.splitlines() == [
        f"left out: {out}/cells/evil: its cell.json is damaged",
        "2 cells added, 0 extended, 0 there already",
        f"report: {tmp_path}/all/report/index.html",
    ]
    assert (tmp_path / "all/report/index.html").exists()


def test_merge_says_how_many_cells_several_folders_hold(
    bench: Any, out: Path, tmp_path: Path
) -> None:
    """Shards each measure the undefended twin that they need."""
    shutil.copytree(out, tmp_path / "other")
    shutil.rmtree(tmp_path / "other/cells/evil")

    lines = [
        bench("merge", *folders, "--out", tmp_path / "all")[1].splitlines()[0]
        for folders in ([out, tmp_path / "other"], [out, tmp_path / "other"], [out, out])
    ]

    assert lines == [
        "3 cells added, 0 extended, 0 there already; 2 in several of these folders, equal, "
        "and taken once",
        "0 cells added, 0 extended, 3 there already; 2 in several of these folders, equal, "
        "and taken once",
        "0 cells added, 0 extended, 3 there already",
    ]


def test_merge_says_where_results_contradict_each_other(
    bench: Any, out: Path, synthetic: Any, tmp_path: Path
) -> None:
    shutil.copytree(out, tmp_path / "other")
    record = synthetic.store.read_cell("evil")
    synthetic.store.write_cell("evil", {**record, "status": "failed"})

    code, printed, err = bench("merge", out, tmp_path / "other", "--out", tmp_path / "all")

    assert (code, printed) == (2, "")
    assert "cell evil has different results" in err
    assert f"{out}/cells/evil/cell.json and {tmp_path}/other/cells/evil/cell.json" in err
    assert not (tmp_path / "all").exists()

"""The site beside the results: what `bench run` leaves in the folder `report`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import reports


@pytest.fixture
def report(synthetic: Any) -> Path:
    """Where the site of a results folder goes unless another place is given."""
    synthetic.cell("pgd-at")
    folder: Path = synthetic.store.path / "report"
    return folder


def publish(report: Path) -> None:
    assert reports.publish(report.parent) == report / "index.html"


def files(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_it_is_the_site_that_is_published_elsewhere(report: Path, tmp_path: Path) -> None:
    publish(report)
    reports.publish(report.parent, tmp_path / "site")
    assert files(report) == files(tmp_path / "site")


def test_the_leaderboard_is_there_for_other_programs(report: Path) -> None:
    publish(report)
    assert (report / "leaderboard.json").read_text() == reports.formatted(report.parent, "json")
    with (report / "leaderboard.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    (found,) = json.loads((report / "leaderboard.json").read_text())["rows"]
    assert float(row["worst_case"]) == found["worst_case"]


def test_an_unchanged_file_is_not_written_again(report: Path) -> None:
    publish(report)
    before = {name: (report / name).stat().st_ino for name in files(report)}
    publish(report)
    assert {name: (report / name).stat().st_ino for name in files(report)} == before


OLDER = {
    "the single page of an earlier version": {"index.html": "<p>", "leaderboard.csv": "rank\n"},
    "a file of the user's": {"notes.txt": "mine"},
    "a damaged list of its files": {"site.json": "{"},
}


@pytest.mark.parametrize("older", OLDER.values(), ids=OLDER)
def test_what_is_there_already_does_not_stop_it(
    report: Path, tmp_path: Path, older: dict[str, str]
) -> None:
    report.mkdir()
    for name, content in older.items():
        (report / name).write_text(content)
    publish(report)
    reports.publish(report.parent, tmp_path / "site")
    kept = {name: b"mine" for name in older if name == "notes.txt"}
    assert files(report) == files(tmp_path / "site") | kept


def test_nothing_stored_is_changed(report: Path) -> None:
    before = files(report.parent)
    publish(report)
    after = files(report.parent)
    assert {name: content for name, content in after.items() if name in before} == before

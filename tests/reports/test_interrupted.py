"""Publications and reports that were killed: the same command completes them."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import reports
from benchmark.errors import StoreError


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


KILLS = Path(__file__).parents[1] / "performance" / "kills.py"


class Killed(BaseException):
    """What no code of ours catches."""


def publish_until(number: int, error: BaseException, out: Path, site: Path) -> None:
    """Publishes until the `number`th file is half-written."""
    written, replace = [], os.replace

    def replace_or_die(source: Path, target: Path) -> None:
        written.append(target)
        if len(written) == number:
            raise error
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", replace_or_die)
        if isinstance(error, Killed):  # a killed process removes nothing
            patch.setattr(Path, "unlink", lambda path, missing_ok=False: None)
        with pytest.raises((Killed, StoreError)):
            reports.publish(out, site)


ENDINGS = {"killed": Killed(), "disk full": OSError(errno.ENOSPC, "No space left on device")}


@pytest.mark.parametrize("error", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("number", [1, 2, 5, 13])
def test_a_first_publication_that_was_interrupted_is_completed(
    synthetic: Any, tmp_path: Path, number: int, error: BaseException
) -> None:
    synthetic.cell("pgd-at")
    reports.publish(synthetic.store.path, tmp_path / "whole")
    publish_until(number, error, synthetic.store.path, tmp_path / "site")

    reports.publish(synthetic.store.path, tmp_path / "site")
    assert content(tmp_path / "site") == content(tmp_path / "whole")


def test_pages_of_an_interrupted_publication_go_with_their_cell(
    synthetic: Any, tmp_path: Path
) -> None:
    gone = synthetic.cell("trades")
    synthetic.cell("pgd-at")
    publish_until(9, Killed(), synthetic.store.path, tmp_path / "site")
    assert list((tmp_path / "site" / "models").iterdir())

    (synthetic.store.cell_folder(gone) / "cell.json").unlink()
    reports.publish(synthetic.store.path, tmp_path / "site")
    reports.publish(synthetic.store.path, tmp_path / "whole")
    assert content(tmp_path / "site") == content(tmp_path / "whole")


def test_leftovers_are_removed_and_folders_of_their_name_are_not(
    synthetic: Any, tmp_path: Path
) -> None:
    cell_id = synthetic.cell("pgd-at")
    site = tmp_path / "site"
    (site / ".tmp-x").mkdir(parents=True)
    (site / ".tmp-12").write_text("half")
    (site / "models" / cell_id).mkdir(parents=True)
    (site / "models").rename(tmp_path / "models")
    reports.publish(synthetic.store.path, site)
    (site / "models" / cell_id / ".tmp-12-0a1b2c3d-index.html").write_text("half")
    reports.publish(synthetic.store.path, site)
    assert [path.name for path in site.rglob(".tmp-*")] == [".tmp-x"]


@pytest.mark.parametrize("write", [reports.publish, reports.write_robustbench])
def test_leftovers_of_a_report_are_removed(synthetic: Any, tmp_path: Path, write: Any) -> None:
    synthetic.cell("pgd-at")
    write(synthetic.store.path, tmp_path / "to")
    before = content(tmp_path / "to")
    folder = (tmp_path / "to" / next(iter(before))).parent
    (folder / ".tmp-12-index.html").write_text("half")
    (folder / ".tmp-x").mkdir()
    write(synthetic.store.path, tmp_path / "to")
    assert content(tmp_path / "to") == before


@pytest.mark.parametrize("name", ["a\0b", "x\ud800", "a\nb", "", "models//x"])
def test_impossible_names_in_a_marker_are_refused(
    synthetic: Any, tmp_path: Path, name: str
) -> None:
    synthetic.cell("pgd-at")
    site = tmp_path / "site"
    reports.publish(synthetic.store.path, site)
    marker = site / "site.json"
    marker.write_text('{"version": 1, "files": {' + json.dumps(name) + ': "0"}}')
    with pytest.raises(StoreError, match="leads out of the site"):
        reports.publish(synthetic.store.path, site)


def test_kills_at_random_points_lose_nothing_and_leave_nothing_half(
    synthetic: Any, tmp_path: Path
) -> None:
    synthetic.cell("pgd-at")
    synthetic.cell("trades")
    options = ["--count", "9", "--kinds", "report", "publish", "merge"]
    done = subprocess.run(
        [sys.executable, KILLS, *options, "--results", synthetic.store.path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("3 kills") == 3, done.stdout

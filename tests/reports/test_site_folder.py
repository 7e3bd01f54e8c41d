"""The folder of a published site: what is written again, kept, removed and refused."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from site_pages import document, files

import reports
from benchmark.errors import StoreError


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


def test_the_same_results_give_the_same_bytes(synthetic: Any, tmp_path: Path) -> None:
    synthetic.cell("pgd-at")
    synthetic.cell("pgd-at", "tensorflow")
    reports.publish(synthetic.store.path, tmp_path / "one")
    reports.publish(synthetic.store.path, tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_one_new_cell_rewrites_only_what_changed(
    synthetic: Any, site: Path, tmp_path: Path
) -> None:
    kept = [
        synthetic.cell(name, seed=s, examples=50) for name in ("none", "trades") for s in (0, 1)
    ]
    reports.publish(synthetic.store.path, site)
    before = {name: (site / name).stat().st_ino for name in files(site)}

    new = synthetic.cell("mart")
    reports.publish(synthetic.store.path, site)

    after = {name: (site / name).stat().st_ino for name in files(site)}
    written = {name for name, node in after.items() if before.get(name) != node}
    assert not [name for name in written if any(cell in name for cell in kept)]
    assert f"models/{new}/index.html" in written
    assert "index.html" in written
    assert not written & {"about.html", "assets/site.css", "assets/leaderboard.js"}

    reports.publish(synthetic.store.path, site)
    assert {name: (site / name).stat().st_ino for name in files(site)} == after
    reports.publish(synthetic.store.path, tmp_path / "anew")
    assert files(tmp_path / "anew") == files(site)


def test_a_page_that_was_damaged_is_written_again(synthetic: Any, site: Path) -> None:
    cell_id = synthetic.cell("pgd-at")
    reports.publish(synthetic.store.path, site)
    before = files(site)
    (site / f"models/{cell_id}/index.html").write_text("cut sho")
    (site / f"models/{cell_id}/data.json").unlink()
    reports.publish(synthetic.store.path, site)
    assert files(site) == before


def test_pages_of_cells_that_are_gone_are_removed_and_others_files_stay(
    synthetic: Any, site: Path
) -> None:
    gone = synthetic.cell("pgd-at")
    synthetic.cell("trades")
    reports.publish(synthetic.store.path, site)
    (site / "CNAME").write_text("bench.example.org")
    (synthetic.store.cell_folder(gone) / "cell.json").unlink()
    reports.publish(synthetic.store.path, site)
    assert not (site / "models" / gone).exists()
    assert (site / "CNAME").exists()
    assert gone not in (site / "compare.html").read_text()


def test_a_page_that_can_not_be_removed_is_told(synthetic: Any, site: Path) -> None:
    gone = synthetic.cell("pgd-at")
    synthetic.cell("trades")
    reports.publish(synthetic.store.path, site)
    (synthetic.store.cell_folder(gone) / "cell.json").unlink()
    stale = site / "models" / gone / "index.html"
    stale.unlink()
    stale.mkdir()

    with pytest.raises(StoreError, match=r"can't write to .*index.html"):
        reports.publish(synthetic.store.path, site)


def test_a_folder_that_holds_something_else_is_refused(synthetic: Any, tmp_path: Path) -> None:
    synthetic.cell("pgd-at")
    out = synthetic.store.path
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    for path in (tmp_path / "photos", out, out / "cells", out / "cells" / "site"):
        with pytest.raises(StoreError, match=r"other files|stored results"):
            reports.publish(out, path)
    assert os.listdir(tmp_path / "photos") == ["cat.jpg"]
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="give another folder"):
        reports.publish(out, tmp_path / "file")


@pytest.mark.parametrize("name", ["../kept.txt", "/kept.txt", "models/../../kept.txt", "way/kept"])
def test_a_forged_marker_removes_nothing_outside(
    synthetic: Any, site: Path, tmp_path: Path, name: str
) -> None:
    synthetic.cell("pgd-at")
    reports.publish(synthetic.store.path, site)
    (tmp_path / "kept.txt").write_text("kept")
    (tmp_path / "kept").write_text("kept")
    (site / "way").symlink_to(tmp_path)
    marker = document(site, "site.json")
    marker["files"][name] = "0" * 64
    (site / "site.json").write_text(json.dumps(marker))
    with pytest.raises(StoreError, match="leads out of the site"):
        reports.publish(synthetic.store.path, site)
    assert (tmp_path / "kept.txt").exists()
    assert (tmp_path / "kept").exists()


@pytest.mark.parametrize("content", ["", "[]", '{"version": 99}', '{"version": 1, "files": [1]}'])
def test_a_broken_marker_is_an_error_or_harmless(synthetic: Any, site: Path, content: str) -> None:
    synthetic.cell("pgd-at")
    reports.publish(synthetic.store.path, site)
    before = files(site)
    (site / "site.json").write_text(content)
    if '"version": 1,' in content:
        reports.publish(synthetic.store.path, site)
        assert files(site) == before
    else:
        with pytest.raises(StoreError, match="give another folder"):
            reports.publish(synthetic.store.path, site)


def test_the_marker_tells_what_was_written(synthetic: Any, site: Path) -> None:
    synthetic.cell("pgd-at")
    reports.publish(synthetic.store.path, site)
    marker = document(site, "site.json")
    found = {n: hashlib.sha256(c).hexdigest() for n, c in files(site).items() if n != "site.json"}
    assert marker["files"] == found

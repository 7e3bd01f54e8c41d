"""The page that `bench run` writes: its numbers, what it leaves out, and what it never does."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from pathlib import Path

import pytest

import reports
from benchmark.errors import StoreError

HOSTILE = '<script>alert(1)</script>"&\x1b[31m'


def page(synthetic) -> str:
    return reports.write(synthetic.store.path).read_text(encoding="utf-8")


def snapshot(folder: Path) -> dict[str, str]:
    """Every stored file outside of the report, by its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "report" not in path.relative_to(folder).parts
    }


def worst_case(synthetic, cell_id: str) -> float:
    """Recomputed from the stored outcomes, example by example."""
    store = synthetic.store
    arrays = [
        store.read_arrays(cell_id, f"attacks/{key}", f"{key}.npz")
        for key in store.stage_keys(cell_id, "attacks")
    ]
    survived = arrays[0]["clean_correct"].copy()
    for values in arrays:
        survived &= ~values["success"]
    return float(survived.mean())


def test_the_numbers_are_those_of_the_stored_outcomes(synthetic):
    cell_id = synthetic.cell("pgd-at", seed=1)
    synthetic.cell("none", seed=1)
    html = page(synthetic)
    folder = synthetic.store.path / "report"
    rows = json.loads((folder / "leaderboard.json").read_text())
    rows = rows if isinstance(rows, list) else rows["rows"]
    found = next(row for row in rows if row["defense"] == "pgd-at")

    expected = worst_case(synthetic, cell_id)
    assert found["worst_case"] == pytest.approx(expected)
    assert found["worst_case_low"] < expected < found["worst_case_high"]
    assert f"{100 * expected:.1f}" in html
    with (folder / "leaderboard.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    row = next(row for row in table if row["defense"] == "pgd-at")
    assert float(row["worst_case"]) == pytest.approx(expected)


def test_the_page_needs_nothing_but_itself(synthetic):
    synthetic.cell("pgd-at")
    html = page(synthetic)
    references = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", html)
    assert references
    beside = {"leaderboard.csv", "leaderboard.json"}
    away = [name for name in references if not name.startswith(("data:", "#"))]
    assert set(away) <= beside
    assert "@import" not in html
    assert not re.findall(r"url\((?!['\"]?data:|#)", html)
    assert re.search(r"<html[^>]* lang=", html)
    assert "<main" in html


def test_the_same_results_give_the_same_bytes(synthetic, tmp_path):
    synthetic.cell("pgd-at")
    synthetic.cell("none", "tensorflow")
    first = reports.write(synthetic.store.path, tmp_path / "a").parent
    second = reports.write(synthetic.store.path, tmp_path / "b").parent
    names = sorted(path.name for path in first.iterdir())
    assert {"index.html", "leaderboard.csv", "leaderboard.json"} <= set(names)
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_what_is_stored_stays_text(synthetic):
    synthetic.cell(HOSTILE, dataset=HOSTILE, cell_id="hostile", status="failed", reason=HOSTILE)
    synthetic.cell("=1+1", states={"pgd": ("failed", HOSTILE)}, cell_id="formula")
    html = page(synthetic)
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html
    assert "\x1b" not in html
    text = (synthetic.store.path / "report" / "leaderboard.csv").read_text()
    cells = [cell for row in csv.reader(text.splitlines()) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_a_cell_that_failed_is_shown_with_its_reason(synthetic, status):
    synthetic.cell("pgd-at")
    synthetic.cell("meta-adv", status=status, reason="killed by SIGKILL while training", robust={})
    html = page(synthetic)
    assert status in html
    assert "killed by SIGKILL while training" in html


def test_a_failed_attack_leaves_the_worst_case_incomplete(synthetic):
    synthetic.cell("pgd-at", states={"square": ("failed", "ValueError: no")})
    html = page(synthetic)
    assert "≤" in html
    assert "ValueError: no" in html


def test_an_attack_that_does_not_apply_is_named_and_counts_for_nothing(synthetic):
    synthetic.cell("pgd-at", states={"square": ("not-applicable", "works on images only")})
    html = page(synthetic)
    assert "works on images only" in html
    (row,) = json.loads((synthetic.store.path / "report" / "leaderboard.json").read_text())["rows"]
    assert row["rank"] == 1
    assert row["worst_case"] is not None


BREAKAGES = {
    "half a record": lambda folder: cut(folder / "cell.json"),
    "half an attack": lambda folder: cut(next(folder.glob("attacks/*.json"))),
    "changed outcomes": lambda folder: next(folder.glob("attacks/*.npz")).write_bytes(b"PK"),
    "not JSON": lambda folder: (folder / "cell.json").write_text("[]"),
}


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("breakage", BREAKAGES.values(), ids=BREAKAGES)
def test_damaged_files_are_named_and_nothing_stored_is_changed(synthetic, breakage):
    synthetic.cell("pgd-at")
    damaged = synthetic.cell("meta-adv")
    (synthetic.store.path / "cells" / "notes.txt").write_text("mine")
    breakage(synthetic.store.cell_folder(damaged))
    before = snapshot(synthetic.store.path)

    html = page(synthetic)

    assert damaged in html
    assert "pgd-at" in html
    assert snapshot(synthetic.store.path) == before


@pytest.mark.parametrize(
    ("shape", "pictures"), [((8, 8, 1), True), ((6, 6, 3), True), ((12,), False)]
)
def test_pictures_are_drawn_of_images_only(synthetic, shape, pictures):
    synthetic.cell("pgd-at", shape=shape)
    assert ("data:image/png" in page(synthetic)) is pictures


def test_many_ties_are_counted_not_listed(synthetic):
    for seed in range(6):
        synthetic.cell("pgd-at", seed=seed, robust={"pgd": 0.75})
        synthetic.cell("meta-adv", seed=seed, robust={"pgd": 0.85})
    sentence = re.sub(r"\s+", " ", page(synthetic))
    assert "Best worst case: 6 rows with 85.0 %" in sentence


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(StoreError, match="no results folder"):
        reports.write(tmp_path / "nothing")


def test_an_output_folder_without_cells_gives_a_page(synthetic):
    assert "<main" in page(synthetic)

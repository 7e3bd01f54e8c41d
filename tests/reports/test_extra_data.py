"""Extra training data are a column wherever a cell has some."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import reports
from reports.terminal import terminal_table

EXTRA = {"name": "npz:1m.npz", "fingerprint": "ab" * 8, "examples": 9, "left_out": 1, "share": 0.7}
TOLD = "npz:1m.npz, 0.7 of each batch"


@pytest.fixture
def trained(synthetic: Any) -> str:
    """A cell with extra data beside one without."""
    synthetic.cell("none")
    cell_id: str = synthetic.cell("pgd-at")
    record = synthetic.store.read_cell(cell_id)
    record["config"]["extra_data"] = EXTRA
    synthetic.store.write_cell(cell_id, record)
    return cell_id


def test_the_frames_have_it(synthetic: Any, trained: str) -> None:
    rows = reports.leaderboard(synthetic.store.path).set_index("defense")
    assert rows.loc["pgd-at", "extra_data"] == TOLD
    assert rows["extra_data"].isna().loc["none"]


def test_the_terminal_has_its_column_where_there_are_some(synthetic: Any, trained: str) -> None:
    table = terminal_table(synthetic.store.path)
    place = table.columns.index("extra data")
    assert [row[place] for row in table.rows] == [TOLD, "–"]
    assert "extra data" not in terminal_table(synthetic.store.path, ["none"]).columns


def test_the_site_has_its_column(synthetic: Any, trained: str, tmp_path: Path) -> None:
    reports.publish(synthetic.store.path, tmp_path / "site")
    document = json.loads((tmp_path / "site/data/index.json").read_text())
    assert document["groups"][0]["rows"][0]["extra_data"] == TOLD
    page = (tmp_path / "site/index.html").read_text()
    assert TOLD in page
    command = (tmp_path / f"site/models/{trained}/index.html").read_text()
    assert "--extra-data=npz:1m.npz" in command


def test_entries_in_the_style_of_robustbench_say_so(
    synthetic: Any, trained: str, tmp_path: Path
) -> None:
    entries = [
        json.loads(one.read_text())
        for one in reports.write_robustbench(synthetic.store.path, tmp_path / "to")
    ]
    assert {one["name"]: one["additional_data"] for one in entries} == {
        "pgd-at (torch, seed 0)": True,
        "none (torch, seed 0)": False,
    }
    assert TOLD in [one["meta_adv_bench"]["extra_data"] for one in entries]

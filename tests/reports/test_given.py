"""Reports of models that someone else trained: what nobody knows is shown as unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import reports
from benchmark.results import Store

SOURCE = {
    "architecture": None,
    "builder": "net's.py:build",
    "weights": "w.pt",
    "channels": "last",
    "mean": [0.5, 0.25],
    "std": [],
    "outputs": "logits",
    "input_range": [0.0, 255.0],
}


@pytest.fixture
def out(synthetic: Any) -> Path:
    """Results with a trained and a given cell."""
    synthetic.cell("pgd-at")
    cell_id = synthetic.cell("theirs")
    store = synthetic.store
    (store.cell_folder(cell_id) / "training.json").unlink()
    (store.cell_folder(cell_id) / "weights.safetensors").unlink()
    record = store.read_cell(cell_id)
    assert record is not None
    config = {**record["config"], "source": SOURCE, "epochs": None}
    store.write_cell(cell_id, {**record, "config": config, "gradient_evaluations": None})
    stage = {"seconds": 0.0, "source": SOURCE}
    store.write_stage(cell_id, "given", stage, {"weights.pt": lambda path: path.write_bytes(b"w")})
    return store.path


def test_it_is_ranked_like_any_other_without_a_cost(out: Path) -> None:
    board = reports.leaderboard(out).set_index("defense")
    assert board.attrs["left_out"] == []
    assert board.loc["theirs", "rank"] == board.loc["pgd-at", "rank"] == 1
    for name in ("training_gradient_evaluations", "training_seconds"):
        assert pd.isna(board.loc["theirs", name])
        assert board.loc["pgd-at", name] > 0


def test_the_page_the_site_and_the_terminal_show_it(out: Path, tmp_path: Path) -> None:
    assert "theirs" in reports.publish(out).read_text()
    reports.publish(out, tmp_path / "site")
    cell_id = next(name for name in Store.open(out).cell_ids() if "theirs" in name)
    page = (tmp_path / "site" / "models" / cell_id / "index.html").read_text()
    assert "bench attack" in page
    assert "--mean=0.5,0.25" in page
    assert "--input-range=0.0..255.0" in page
    row = next(r for r in reports.terminal_table(out).rows if r[1] == "theirs")
    assert row[-2:] == ["–", "–"]


def test_it_can_be_compared_with_a_trained_one(out: Path) -> None:
    first, second = Store.open(out).cell_ids()
    compared = reports.compare(out, first, second)
    assert "theirs" in reports.formatted_comparison(compared, "markdown")

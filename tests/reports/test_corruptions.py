"""Accuracy on corrupted images, in the frame, in the terminal, and on the site."""

from __future__ import annotations

import json

import pytest

import reports
from benchmark.results.identity import PROTOCOL_VERSION
from reports.terminal import terminal_table

RECORD = {
    "status": "ok",
    "corruptions": ["gaussian_noise", "fog"],
    "protocol_version": PROTOCOL_VERSION,
    "constants": "CIFAR-10-C",
    "accuracy": [[0.9, 0.8, 0.7, 0.6, 0.5], [0.4, 0.4, 0.4, 0.4, 0.4]],
    "mean": 0.55,
    "low": 0.5,
    "high": 0.6,
    "clean_accuracy": 0.95,
    "examples": 200,
}


@pytest.fixture
def measured(synthetic):
    def write(**changes):
        cell_id = synthetic.cell("pgd-at")
        synthetic.store.write_stage(cell_id, "corruptions/common", {**RECORD, **changes})
        return cell_id

    return write


def test_the_frame_has_the_mean_with_its_interval(synthetic, measured):
    measured()
    synthetic.cell("none")
    names = ["corruption_accuracy", "corruption_low", "corruption_high"]
    rows = reports.leaderboard(synthetic.store.path).set_index("defense")
    assert rows.loc["pgd-at", names].tolist() == [0.55, 0.5, 0.6]
    assert rows.loc["none", names].isna().all()


def test_it_is_no_part_of_the_worst_case(synthetic, measured):
    cell_id = synthetic.cell("pgd-at")
    before = reports.load(synthetic.store.path)
    assert measured() == cell_id
    after = reports.load(synthetic.store.path)
    names = ["worst_case_correct", "worst_case_outcomes", "attack", "attacked"]
    assert before[names].equals(after[names])


def test_the_terminal_has_its_column_where_it_was_measured(synthetic, measured):
    synthetic.cell("none")
    assert "corrupted %" not in terminal_table(synthetic.store.path).columns
    measured()
    table = terminal_table(synthetic.store.path)
    place = table.columns.index("corrupted %")
    assert [row[place] for row in table.rows] == ["55.0 (50.0–60.0)", "–"]
    assert table.notes[-1].startswith("corrupted %: mean over 15 common corruptions")


def test_the_site_has_a_column_and_a_table(synthetic, measured, tmp_path):
    cell_id = measured()
    reports.publish(synthetic.store.path, tmp_path / "site")
    board = json.loads((tmp_path / "site/data/index.json").read_text())
    assert board["groups"][0]["rows"][0]["corruption_accuracy"] == 0.55
    assert "corrupted" in (tmp_path / "site/index.html").read_text()
    page = (tmp_path / f"site/models/{cell_id}/index.html").read_text()
    assert "Common corruptions</h2>" in page
    assert 'gaussian noise</th><td class="number">90.0</td>' in page
    assert '<td class="number">70.0</td></tr>' in page  # the mean of the row


@pytest.mark.parametrize(
    "changes",
    [
        {"accuracy": [[0.9] * 5]},
        {"accuracy": [[0.9] * 4] * 2},
        {"accuracy": [[0.9] * 4 + [1.5]] * 2},
        {"mean": None},
        {"corruptions": [], "accuracy": []},
        {"status": "failed", "reason": "no memory"},
    ],
    ids=["too few rows", "too few severities", "no share", "no mean", "none", "failed"],
)
def test_what_can_not_be_read_is_named_and_left_out(synthetic, measured, changes):
    cell_id = measured(**changes)
    frame = reports.load(synthetic.store.path)
    assert frame["corruption_accuracy"].isna().all()
    (entry,) = frame.attrs["left_out"]
    assert entry["path"].startswith(f"cells/{cell_id}/corruptions")

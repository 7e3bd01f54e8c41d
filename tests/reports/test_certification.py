"""Certificates, in the frame, in the terminal, and on the site."""

from __future__ import annotations

import json

import pytest

import reports
from benchmark.results.identity import PROTOCOL_VERSION
from reports.terminal import terminal_table

RECORD = {
    "status": "ok",
    "sigma": 0.25,
    "n0": 100,
    "n": 1000,
    "alpha": 0.001,
    "examples": 100,
    "radii": [0.0, 0.25, 0.5],
    "certified_accuracy": [0.8, 0.6, 0.1],
    "abstained": 5,
    "mean_radius": 0.31,
    "radius_needed": 0.3,
    "certified": 0.5,
    "broken": 0,
}
CURVE = {"attack": "pgd", "norm": "l2", "eps": [0.0, 0.5], "robust_accuracy": [0.9, 0.2]}


@pytest.fixture
def certified(synthetic):
    def write(key="smoothing-1", **changes):
        cell_id = synthetic.cell("pgd-at")
        synthetic.store.write_stage(cell_id, f"certification/{key}", {**RECORD, **changes})
        return cell_id

    return write


def test_the_frame_has_the_share_that_covers_the_threat_with_its_interval(synthetic, certified):
    certified()
    synthetic.cell("none")
    rows = reports.leaderboard(synthetic.store.path).set_index("defense")
    names = ["certified_accuracy", "certified_radius", "certified_sigma"]
    assert rows.loc["pgd-at", names].tolist() == [0.5, 0.3, 0.25]
    ends = rows.loc["pgd-at", ["certified_low", "certified_high"]].tolist()
    assert ends == pytest.approx([0.4038, 0.5962], abs=1e-4)
    assert rows.loc["none", names].isna().all()


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"sigma": 0.5, "certified": 0.7}, 0.25),
        ({"sigma": 0.5, "certified": 0.7, "examples": 20}, 0.25),
        ({"sigma": 0.5, "certified": 0.3, "examples": 500}, 0.5),
        ({"sigma": 0.5, "certified": 0.3, "n": 100_000}, 0.5),
    ],
    ids=["more certified", "fewer examples", "more examples", "more draws"],
)
def test_what_was_measured_most_counts_not_what_certifies_most(
    synthetic, certified, changes, counts
):
    certified()
    certified("smoothing-2", **changes)
    frame = reports.leaderboard(synthetic.store.path)
    assert frame["certified_sigma"].tolist() == [counts]


def test_it_is_no_part_of_the_worst_case(synthetic, certified):
    cell_id = synthetic.cell("pgd-at")
    before = reports.load(synthetic.store.path)
    assert certified() == cell_id
    after = reports.load(synthetic.store.path)
    names = ["worst_case_correct", "worst_case_outcomes", "attack", "attacked"]
    assert before[names].equals(after[names])


def test_the_terminal_has_its_column_where_there_are_certificates(synthetic, certified):
    synthetic.cell("none")
    assert "certified %" not in terminal_table(synthetic.store.path).columns
    certified()
    table = terminal_table(synthetic.store.path)
    place = table.columns.index("certified %")
    assert [row[place] for row in table.rows] == ["50.0 (40.4–59.6)", "–"]
    assert table.notes[-1].startswith("certified %: right with an L2 certificate")


def test_the_page_draws_them_under_the_security_curve_in_l2(synthetic, certified, tmp_path):
    cell_id = certified()
    synthetic.store.write_stage(
        cell_id, "curves/pgd", {**CURVE, "from": "bounded", "protocol_version": PROTOCOL_VERSION}
    )
    reports.publish(synthetic.store.path, tmp_path / "site")
    board = json.loads((tmp_path / "site/data/index.json").read_text())
    assert board["groups"][0]["rows"][0]["certified_accuracy"] == 0.5
    page = (tmp_path / f"site/models/{cell_id}/index.html").read_text()
    assert page.count("Budgets in L2") == 1
    assert "pgd from 90.0 to 20.0; certified, noise of σ = 0.25 from 80.0 to 10.0" in page
    assert "80.0 % right with a certificate, 50.0 % with one of L2 radius 0.3" in page


def test_a_broken_certificate_is_shown_as_an_error_of_the_tool(synthetic, certified, tmp_path):
    reason = "an attack within the certified radius changed 1 of 9 certified predictions"
    cell_id = certified(status="failed", reason=reason, broken=1)
    frame = reports.leaderboard(synthetic.store.path)
    assert frame["certified_accuracy"].isna().all()
    (entry,) = frame.attrs["left_out"]
    assert reason in entry["reason"]
    reports.publish(synthetic.store.path, tmp_path / "site")
    page = (tmp_path / f"site/models/{cell_id}/index.html").read_text()
    assert f'<span class="tag bad">failed</span> certification: {reason}' in page


@pytest.mark.parametrize(
    "changes",
    [
        {"radii": [0.0, 0.5, 0.25]},
        {"certified_accuracy": [0.8, 0.6]},
        {"certified_accuracy": [0.1, 0.6, 0.8]},
        {"certified": None},
        {"examples": 0},
        {"broken": 1},
    ],
    ids=["radii fall", "too few", "it rises", "nothing told", "no examples", "broken, and ok"],
)
def test_what_can_not_be_read_is_named_and_left_out(synthetic, certified, changes):
    cell_id = certified(**changes)
    frame = reports.load(synthetic.store.path)
    assert frame["certified_accuracy"].isna().all()
    (entry,) = frame.attrs["left_out"]
    assert entry["path"].startswith(f"cells/{cell_id}/certification")

"""Trust checks in reports: the frame, the page, the terminal and the site tell of flags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import reports
from benchmark.results import CHECKS_VERSION

FLAGGED = {
    "name": "usable gradients",
    "status": "flagged",
    "sentence": "The gradient is exactly zero at 98.4 % <b>of</b> the examples.",
    "evidence": {"share_exactly_zero": 0.98437, "examples": 64},
}
PASSED = {"name": "finite outputs", "status": "passed", "sentence": "All are.", "evidence": {}}
ASIDE = {"name": "hard-label", "status": "not-applicable", "sentence": "None.", "evidence": {}}


@pytest.fixture
def out(synthetic: Any) -> Path:
    """A flagged cell, a clean one, and one without checks."""
    for defense, found in (("trades", [FLAGGED, PASSED, ASIDE]), ("mart", [PASSED])):
        cell_id = synthetic.cell(defense)
        record = {
            "suite": "quick",
            "checks_version": CHECKS_VERSION,
            "checks": found,
            "attacks": {},
        }
        synthetic.store.write_stage(cell_id, "trust/quick", record)
    synthetic.cell("pgd-at")
    path: Path = synthetic.store.path
    return path


def test_the_leaderboard_names_flags(out: Path) -> None:
    board = reports.leaderboard(out).set_index("defense")
    assert board.attrs["left_out"] == []
    assert board.loc["trades", "trust_flags"] == "usable gradients"
    assert board.loc["mart", "trust_flags"] == ""
    assert pd.isna(board.loc["pgd-at", "trust_flags"])


def test_the_page_shows_checks_with_their_evidence(out: Path) -> None:
    index = reports.publish(out)
    (flagged,) = index.parent.glob("models/*trades*/index.html")
    for page in (index.read_text(), flagged.read_text()):
        assert "usable gradients" in page
        assert "98.4 % &lt;b&gt;of&lt;/b&gt; the examples." in page
    assert "examples: 64, share exactly zero: 0.9844" in page


def test_the_terminal_tells_of_flags_below_the_table(out: Path) -> None:
    notes = reports.terminal_table(out).notes
    flagged = [note for note in notes if "flagged" in note]
    assert len(flagged) == 1
    assert "trades" in flagged[0]
    assert flagged[0].endswith("usable gradients")


def test_an_exported_entry_says_that_it_is_unreliable(out: Path, tmp_path: Path) -> None:
    paths = reports.write_robustbench(out, tmp_path / "entries")
    entries = {path.name: json.loads(path.read_text()) for path in paths}
    unreliable = {name: entry["footnote"] for name, entry in entries.items() if entry["unreliable"]}
    assert list(unreliable.values()) == ["Trust checks are flagged: usable gradients."]
    assert "trades" in next(iter(unreliable))


def test_the_site_counts_what_applies(out: Path, tmp_path: Path) -> None:
    reports.publish(out, tmp_path / "site")
    pages = (tmp_path / "site" / "models").glob("*trades*/index.html")
    (page,) = (path.read_text() for path in pages)
    assert "! look here" in page
    assert "98.4 % &lt;b&gt;of&lt;/b&gt; the examples. (examples: 64, share exactly zero" in page
    assert "! 4 of 5" in (tmp_path / "site" / "index.html").read_text()


@pytest.mark.parametrize(
    "record",
    [
        {"suite": "quick"},
        {"suite": "quick", "checks": [PASSED]},  # of an earlier version
        {
            "suite": "quick",
            "checks_version": CHECKS_VERSION,
            "checks": [{**PASSED, "status": "fine"}],
        },
        {
            "suite": "quick",
            "checks_version": CHECKS_VERSION,
            "checks": [{**PASSED, "evidence": {"x": [1]}}],
        },
    ],
)
def test_what_is_no_trust_check_is_left_out(synthetic: Any, record: dict[str, Any]) -> None:
    cell_id = synthetic.cell()
    synthetic.store.write_stage(cell_id, "trust/quick", record)
    board = reports.leaderboard(synthetic.store.path)
    assert pd.isna(board["trust_flags"][0])
    assert [one["path"] for one in board.attrs["left_out"]] == [f"cells/{cell_id}/trust/quick.json"]

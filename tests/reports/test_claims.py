"""Claims of others in the reports: they lower the worst case, and carry their author's name."""

from __future__ import annotations

import numpy as np
import pytest

import reports
from benchmark.results import npz_writer
from benchmark.results.identity import PROTOCOL_VERSION

N = 200


@pytest.fixture
def claim(synthetic):
    """Stores claims that break the first examples of a cell."""

    def write(cell_id, key="claims-1", *, broken=N, author="Jane <b>Doe</b>", **changes):
        arrays = synthetic.arrays(cell_id, "pgd")
        arrays["success"] = arrays["clean_correct"] & (np.arange(N) < broken)
        arrays["attacked"] = np.ones(N, bool)
        arrays |= changes.pop("arrays", {})
        record = {
            "key": key,
            "name": f"claims by {author}",
            "author": author,
            "text": "by <i>hand</i>",
            "claimed": 12,
            "protocol_version": PROTOCOL_VERSION,
            "status": "ok",
            "norm": "linf",
            "eps": 0.15,
            "examples": N,
            **changes,
        }
        files = {f"{key}.npz": npz_writer(arrays)}
        synthetic.store.write_stage(cell_id, f"claims/{key}", record, files)

    return write


def board(synthetic):
    return reports.leaderboard(synthetic.store.path).set_index("defense")


def test_they_lower_the_worst_case_of_their_cell_alone(synthetic, claim):
    synthetic.cell("none")
    cell_id = synthetic.cell("pgd-at")
    before = board(synthetic)
    claim(cell_id)
    after = board(synthetic)
    assert before.loc["pgd-at", "worst_case"] > 0 == after.loc["pgd-at", "worst_case"]
    assert before.loc["none", "worst_case"] == after.loc["none", "worst_case"]


def test_they_do_not_stand_for_an_attack_of_the_suite(synthetic, claim):
    states = {"apgd": ("failed", "no memory")}
    cell_id = synthetic.cell("pgd-at", robust={"pgd": 0.5, "apgd": 0.4}, states=states)
    claim(cell_id, broken=0, name="apgd")
    assert board(synthetic).loc["pgd-at", "attack_status.apgd"] == "failed"
    (left_out,) = reports.load(synthetic.store.path).attrs["left_out"]
    assert left_out["reason"] == "its name is not one of claims"


def test_they_keep_no_cell_from_being_compared(synthetic, claim):
    first, second = synthetic.cell("pgd-at"), synthetic.cell("trades")
    claim(first, broken=5)
    rows = reports.compare(synthetic.store.path, first, second)
    assert rows.set_index("attack").loc["worst case", "p_corrected"] <= 1


def test_no_row_becomes_a_bound_or_fails_a_check_by_them(synthetic, claim):
    synthetic.cell("none")
    claim(synthetic.cell("pgd-at"), violations={"budget": 3})
    rows = board(synthetic)
    assert rows["worst_case_complete"].all()
    assert rows["rank"].notna().all()
    assert (rows["trust_passed"] == rows["trust_checks"]).all()


def test_site_and_terminal_show_the_author_and_what_is_said(synthetic, claim, tmp_path):
    cell_id = synthetic.cell("pgd-at")
    claim(cell_id)
    reports.publish(synthetic.store.path, tmp_path / "site")
    for file in ("index.html", f"models/{cell_id}/index.html"):
        page = (tmp_path / "site" / file).read_text()
        assert "claims by Jane &lt;b&gt;Doe&lt;/b&gt;" in page
        assert "<b>Doe" not in page
    assert "12 claimed: by &lt;i&gt;hand&lt;/i&gt;" in page
    assert "claims by Jane <b>Doe</b>" in reports.terminal_table(synthetic.store.path).columns


def test_two_claims_of_one_author_both_count(synthetic, claim):
    cell_id = synthetic.cell("pgd-at", robust={"pgd": 0.9})
    claim(cell_id, "claims-1", broken=50, author="Jane")
    claim(cell_id, "claims-2", broken=100, author="Jane")
    row = board(synthetic).loc["pgd-at"]
    names = ["robust_accuracy.claims by Jane", "robust_accuracy.claims by Jane (2)"]
    assert row[names[0]] > row[names[1]] >= row["worst_case"]


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "failed", "reason": "no memory"},
        {"arrays": {"test_index": np.arange(N) + 1}},
        {"arrays": {"success": np.ones(3, bool)}},
        {"claimed": -1},
    ],
    ids=["failed", "other examples", "no outcomes", "schema"],
)
def test_claims_without_outcomes_are_named_and_lower_nothing(synthetic, claim, changes):
    cell_id = synthetic.cell("pgd-at")
    before = board(synthetic).loc["pgd-at", "worst_case"]
    claim(cell_id, **changes)
    after = board(synthetic)
    assert after.loc["pgd-at", "worst_case"] == before
    assert after.loc["pgd-at", "worst_case_complete"]
    (entry,) = after.attrs["left_out"]
    assert entry["path"] == f"cells/{cell_id}/claims/claims-1.json"

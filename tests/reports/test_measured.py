"""Security curves, queries, adaptation and attacks on some examples, as the site has them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reports
from benchmark.results import npz_writer
from benchmark.results.identity import PROTOCOL_VERSION
from reports.text import percent

KEY = "pgd-1a2b3c4d"
N = 200


def curve(synthetic: Any, cell_id: str, key: str = KEY, **changes: Any) -> np.ndarray:
    """Stores a security curve from who is right at each budget; returns that, (eps, n)."""
    held = np.arange(N) < np.array([[190], [150], [80]])
    record = {
        "attack": "pgd",
        "norm": "linf",
        "eps": [0.0, 0.075, 0.15],
        "robust_accuracy": held.mean(axis=1).tolist(),
        "examples": N,
        "from": "bounded",
        "status": "ok",
        "reason": "",
        "protocol_version": PROTOCOL_VERSION,
        **changes,
    }
    arrays = {"success": ~held, "test_index": np.arange(N), "attacked": np.ones(N, dtype=bool)}
    synthetic.store.write_stage(
        cell_id, f"curves/{key}", record, {f"{key}.npz": npz_writer(arrays)}
    )
    return held


def adapt(synthetic: Any, cell_id: str, family: str, role: str, **changes: Any) -> np.ndarray:
    """Stores a family of the adaptation protocol; returns what was right, (episodes, 2, 3)."""
    correct = np.array([0.4, 0.5])[:, None, None] + np.array([[0.0, 0.0, 0.0], [0.0, 0.1, 0.3]])
    table = correct.mean(axis=0).tolist()
    record = {
        "family": family,
        "protocol_version": PROTOCOL_VERSION,
        "role": role,
        "rate": 0.03,
        "tuned_steps": 5,
        "shots": [0, 10],
        "steps": [0, 1, 5],
        "episodes": 2,
        "queries": 20,
        "labels_used": 10,
        "status": "ok",
        "accuracy": table,
        "low": (np.array(table) - 0.1).tolist(),
        "high": (np.array(table) + 0.1).tolist(),
        "clean_accuracy": [[0.9] * 3] * 2,
        "seen_accuracy": [0.5, 0.5, 0.5],
        **changes,
    }
    arrays = {"correct": correct, "seen": np.full((2, 3), 0.5)}
    files = {f"{family}-1.npz": npz_writer(arrays)} if record["status"] == "ok" else {}
    synthetic.store.write_stage(cell_id, f"adaptations/{family}-1", record, files)
    return correct


def published(synthetic: Any, cell_id: str, site: Path) -> tuple[str, dict[str, Any]]:
    """The model's page and its document."""
    reports.publish(synthetic.store.path, site)
    folder = site / "models" / cell_id
    document: dict[str, Any] = json.loads((folder / "data.json").read_text())
    return (folder / "index.html").read_text(), document


def test_a_stored_security_curve_is_drawn_and_can_be_downloaded(
    synthetic: Any, tmp_path: Path
) -> None:
    cell_id = synthetic.cell()
    held = curve(synthetic, cell_id)
    curve(synthetic, cell_id, "cw-1", attack="cw", norm="l2", status="failed", reason="no memory")

    page, document = published(synthetic, cell_id, tmp_path / "site")

    drawn = [one for one in document["security_curves"] if one["status"] == "ok"]
    assert [one["robust_accuracy"] for one in drawn] == [held.mean(axis=1).tolist()]
    assert drawn[0]["eps"] == [0.0, 0.075, 0.15]
    assert "Security curves</h2>" in page
    assert f"pgd from {percent(held[0].mean())} to {percent(held[-1].mean())}" in page
    assert "failed: no memory" in page


@pytest.mark.parametrize(
    "changes",
    [
        {"eps": [0.0, 0.2, 0.1]},
        {"eps": [0.0, 0.1]},
        {"robust_accuracy": [0.5, 0.6, 0.4]},
        {"robust_accuracy": [2.0, 1.0, 0.5]},
        {"from": "thin air"},
    ],
    ids=["budgets fall", "too few", "rises", "no share", "origin"],
)
def test_a_curve_of_another_schema_is_left_out(
    synthetic: Any, tmp_path: Path, changes: dict[str, Any]
) -> None:
    cell_id = synthetic.cell()
    curve(synthetic, cell_id, **changes)
    page, document = published(synthetic, cell_id, tmp_path / "site")
    assert document["security_curves"] == []
    assert "Security curves</h2>" not in page
    (entry,) = reports.load(synthetic.store.path).attrs["left_out"]
    assert entry["path"] == f"cells/{cell_id}/curves/{KEY}.json"


def test_accuracy_against_queries_is_that_of_the_first_queries(
    synthetic: Any, tmp_path: Path
) -> None:
    cell_id = synthetic.cell(robust={"pgd": 0.5})
    arrays = synthetic.arrays(cell_id, "pgd")
    first = np.where(arrays["success"], 1 + np.arange(N) % 100, -1)
    synthetic.rewrite(cell_id, "pgd", npz_writer({**arrays, "first_query": first}))

    page, document = published(synthetic, cell_id, tmp_path / "site")

    told = document["suites"][0]["queries"]
    for queries, accuracy in zip(told["queries"], told["attacks"][KEY], strict=True):
        broken = arrays["success"] & (first <= queries)
        assert accuracy == pytest.approx((arrays["clean_correct"] & ~broken).mean())
    assert "Accuracy against queries" in page


def test_adaptation_is_on_the_models_page_and_the_leaderboard(
    synthetic: Any, tmp_path: Path
) -> None:
    cell_id = synthetic.cell()
    adapt(synthetic, cell_id, "linf", "seen")
    correct = adapt(synthetic, cell_id, "patch", "held-out")
    adapt(synthetic, cell_id, "spatial", "held-out", status="not-applicable", reason="no images")

    page, document = published(synthetic, cell_id, tmp_path / "site")

    curve = correct[:, 1].mean(axis=0)
    area = ((curve[0] + curve[1]) / 2 + 4 * (curve[1] + curve[2]) / 2) / 5
    held_out = document["metatest"]["held_out"]
    assert (held_out["before"], held_out["after"]) == pytest.approx((curve[0], curve[2]))
    assert held_out["area"] == pytest.approx(area)
    families = {one["family"]: one for one in document["metatest"]["families"]}
    assert families["patch"]["accuracy"] == pytest.approx(correct.mean(axis=0))
    assert f"10 labels from {percent(curve[0])} to {percent(curve[2])}" in page
    assert "no images" in page

    board = json.loads((tmp_path / "site" / "data" / "index.json").read_text())
    assert board["groups"][0]["rows"][0]["held_out_area"] == pytest.approx(area)
    index = (tmp_path / "site" / "index.html").read_text()
    assert re.search(rf'<td class="n c\d+">{percent(area)}</td>', index)


def test_new_curves_make_the_page_anew(synthetic: Any, tmp_path: Path) -> None:
    cell_id = synthetic.cell()
    for change in (curve, lambda *given: adapt(*given, "patch", "held-out")):
        before, _ = published(synthetic, cell_id, tmp_path / "site")
        change(synthetic, cell_id)
        assert published(synthetic, cell_id, tmp_path / "site")[0] != before


def test_an_attack_on_some_examples_tells_of_those_alone(synthetic: Any, tmp_path: Path) -> None:
    cells = [
        synthetic.cell("pgd-at", robust={"pgd": 0.5}),
        synthetic.cell("trades", robust={"pgd": 0.4}),
    ]
    ran = np.arange(N) % 4 == 0
    held = []
    for cell_id in cells:
        arrays = synthetic.arrays(cell_id, "pgd")
        arrays |= {"success": arrays["success"] & ran, "attacked": ran}
        synthetic.rewrite(cell_id, "pgd", npz_writer(arrays), norm="l2", eps=1.0)
        held.append((arrays["clean_correct"] & ~arrays["success"])[ran])

    page, document = published(synthetic, cells[0], tmp_path / "site")

    (attack,) = document["suites"][0]["attacks"]
    assert (attack["examples"], attack["robust"]["correct"]) == (ran.sum(), held[0].sum())
    assert "run on 50 examples" in page
    assert "L2 ε = 1" in page
    compared = reports.compare(synthetic.store.path, *cells).set_index("attack").loc["pgd"]
    assert compared["accuracy_a"] == pytest.approx(held[0].mean())
    assert compared["difference"] == pytest.approx(held[0].mean() - held[1].mean())
    script = (tmp_path / "site" / "models" / cells[0] / "outcomes.js").read_text()
    assert "".join("01"[one] for one in ran.astype(int)) in script

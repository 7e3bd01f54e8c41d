"""The numbers of a published site are those of the stored outcomes, and can be downloaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from site_pages import Page, document

import reports
from benchmark.results import Store, npz_writer
from benchmark.results.identity import CHECKS_VERSION, PROTOCOL_VERSION
from reports import text
from reports.site import tradeoffs
from reports.site.charts import Axis


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


def recomputed(synthetic: Any, cell_id: str) -> dict[str, Any]:
    """Counts from the stored outcomes, in no other way than by their definition."""
    store = synthetic.store
    found: dict[str, Any] = {"attacks": {}}
    held = None
    for key in store.read_cell(cell_id)["suites"]["quick"]:
        arrays = store.read_arrays(cell_id, f"attacks/{key}", f"{key}.npz")
        robust = arrays["clean_correct"] & ~arrays["success"]
        held = robust if held is None else held & robust
        found["attacks"][key.rpartition("-")[0]] = int(robust.sum())
        found |= {"clean": int(arrays["clean_correct"].sum()), "label": arrays["label"]}
    assert held is not None
    return found | {"held": held, "worst_case": int(held.sum()), "attacked": len(held)}


def test_the_pages_numbers_are_those_of_the_stored_outcomes(synthetic: Any, site: Path) -> None:
    cell_id = synthetic.cell("pgd-at")
    synthetic.cell("none")
    reports.publish(synthetic.store.path, site)
    expected = recomputed(synthetic, cell_id)
    n = expected["attacked"]

    row = next(
        row for row in Page((site / "index.html").read_text()).rows if row[1:2] == ["pgd-at"]
    )
    shares = [expected["clean"], expected["worst_case"], *expected["attacks"].values()]
    assert [*row[4:6], *row[-4:]] == [text.percent(count / n) for count in shares]

    suite = document(site, f"models/{cell_id}/data.json")["suites"][0]
    assert suite["worst_case"]["correct"] == expected["worst_case"]
    assert {a["name"]: a["robust"]["correct"] for a in suite["attacks"]} == expected["attacks"]
    for one in suite["classes"]:
        mine = expected["label"] == one["label"]
        assert one["examples"] == mine.sum()
        assert one["worst_case"]["correct"] == (expected["held"] & mine).sum()
    strongest = suite["confusion"]["attack"]
    right = sum(p["count"] for p in suite["confusion"]["pairs"] if p["label"] == p["prediction"])
    assert right == expected["attacks"][strongest] == min(expected["attacks"].values())


def test_the_numbers_between_models_are_those_of_the_stored_outcomes(
    synthetic: Any, site: Path
) -> None:
    first = synthetic.cell("pgd-at", "torch", clean=0.95)
    second = synthetic.cell("pgd-at", "tensorflow", clean=0.85)
    synthetic.cell("none", clean=0.99)
    reports.publish(synthetic.store.path, site)
    a, b = recomputed(synthetic, first), recomputed(synthetic, second)
    only = [int((a["held"] & ~b["held"]).sum()), int((b["held"] & ~a["held"]).sum())]
    difference = (only[0] - only[1]) / len(a["held"])

    (pair,) = document(site, "data/frameworks.json")["groups"][0]["pairs"]
    assert pair["only"] == only
    assert pair["difference"] == pytest.approx(difference)
    assert pair["agreement"] == pytest.approx(1 - sum(only) / len(a["held"]))
    row = Page((site / "frameworks.html").read_text()).rows[2]
    shown = [text.percent(one[kind] / 200) for kind in ("clean", "worst_case") for one in (a, b)]
    assert row[2:7] == [*shown, text.points(difference)]

    points = document(site, "data/tradeoffs.json")["groups"][0]["points"]
    found = {p["cell_id"]: (p["clean_accuracy"], p["worst_case"]) for p in points}
    assert found[first] == pytest.approx((a["clean"] / 200, a["worst_case"] / 200))
    assert [p["cell_id"] for p in points if p["front_clean"]] == [
        first,
        "digits-none-torch-s0-linf",
    ]


@pytest.mark.parametrize("stored_by", ["torch", "tensorflow"])
def test_transfer_is_shown_from_either_framework(
    synthetic: Any, site: Path, stored_by: str
) -> None:
    cells = {name: synthetic.cell("pgd-at", name) for name in ("torch", "tensorflow")}
    other = "tensorflow" if stored_by == "torch" else "torch"
    from_torch = [[0.5, 0.25], [0.125, 0.75]]  # made on, tried on; torch first
    success = from_torch if stored_by == "torch" else [[0.75, 0.125], [0.25, 0.5]]
    record = {"twin": cells[other], "attack": "PGD", "examples": 8, "success": success}
    synthetic.store.write_stage(cells[stored_by], f"transfers/{other}", record)

    reports.publish(synthetic.store.path, site)

    (pair,) = document(site, "data/frameworks.json")["groups"][0]["pairs"]
    assert pair["transfer"] == {"attack": "PGD", "examples": 8, "success": from_torch}
    row = Page((site / "frameworks.html").read_text()).rows[-1]
    assert row == ["pgd-at", "0", "PGD", "8", "50.0", "25.0", "12.5", "75.0"]


def store_measured(store: Store, cell_id: str) -> None:
    """Trust checks, a security curve and a family of the adaptation protocol."""
    evidence = {"share": 0.98437, "examples": 64}
    check = {"name": "one", "status": "flagged", "sentence": "98.4 % vanish", "evidence": evidence}
    store.write_stage(
        cell_id,
        "trust/quick",
        {"suite": "quick", "checks_version": CHECKS_VERSION, "checks": [check]},
    )
    curve = {"attack": "pgd", "norm": "l2", "eps": [0.0, 0.123], "robust_accuracy": [0.91, 0.457]}
    curve |= {"from": "bounded", "examples": 77, "protocol_version": PROTOCOL_VERSION}
    store.write_stage(cell_id, "curves/pgd-1", curve)
    correct = np.array([0.417, 0.523])[:, None, None] + np.array([[0.0, 0.0], [0.0, 0.211]])
    table = correct.mean(axis=0).tolist()
    family = {
        **{"family": "patch", "role": "held-out", "status": "ok", "rate": 0.03, "tuned_steps": 5},
        **{"shots": [0, 13], "steps": [0, 5], "episodes": 2, "queries": 20, "labels_used": 13},
        **{"accuracy": table, "low": table, "high": table, "clean_accuracy": table},
        "seen_accuracy": [0.5, 0.431],
        "protocol_version": PROTOCOL_VERSION,
    }
    arrays = {"correct": correct, "seen": np.array([[0.5, 0.431]] * 2)}
    files = {"patch-1.npz": npz_writer(arrays)}
    store.write_stage(cell_id, "adaptations/patch-1", family, files)


def numbers(shown: str) -> set[str]:
    return set(re.findall(r"\d+(?:\.\d+)?", shown))


def told(value: Any) -> list[str]:
    """Every text and every number of a document, in each form that a page gives to numbers."""
    if isinstance(value, dict):
        return [one for pair in value.items() for part in pair for one in told(part)]
    if isinstance(value, list):
        return [one for part in value for one in told(part)]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return [str(value)]
    forms = [text.percent, text.amount, text.duration, text.budget, text.p_value]
    plain = [str(value), f"{value:.3g}", text.points(value)]
    return [*plain, *(form(value) for form in forms if value >= 0)]


def test_every_number_of_a_page_is_in_its_data(synthetic: Any, site: Path) -> None:
    for seed in (0, 1, 2):
        for framework in ("torch", "tensorflow"):
            cell_id = synthetic.cell(
                "trades",
                framework,
                seed=seed,
                clean=0.9 + 0.01 * seed - 0.02 * (framework == "torch"),
            )
    synthetic.cell("none")
    synthetic.cell("mart", states={"square": ("failed", "12 out of memory")})
    store_measured(synthetic.store, cell_id)
    reports.publish(synthetic.store.path, site)
    folder = f"models/{cell_id}"
    pages = {
        "index.html": "data/index.json",
        "frameworks.html": "data/frameworks.json",
        "tradeoffs.html": "data/tradeoffs.json",
        f"{folder}/index.html": f"{folder}/data.json",
    }
    for name, data in pages.items():
        shown = numbers(" ".join(Page((site / name).read_text()).seen))
        assert len(shown) > 5
        missing = shown - numbers(" ".join(told(document(site, data))))
        assert missing <= {"95", "0", "1"}, name  # of "95 % interval" and "[0, 1]"


@pytest.mark.parametrize(
    ("values", "front"),
    [
        ([(0.9, 0.4), (0.8, 0.5), (0.7, 0.45)], [True, True, False]),
        ([(0.9, 0.4), (0.9, 0.4), (0.8, 0.4)], [True, True, False]),
        ([(0.9, 0.4), (0.9, 0.3)], [True, False]),
    ],
    ids=["one behind", "two alike", "equal in one"],
)
def test_the_front_is_what_no_other_model_beats(values, front):
    points = [{"clean_accuracy": clean, "worst_case": worst} for clean, worst in values]
    tradeoffs._mark_front(points, "front", "clean_accuracy", -1)
    assert [point["front"] for point in points] == front


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (4e5 / 1.5, 4e5 * 1.5, ["300k", "400k", "500k", "600k"]),
        (4, 9, ["4", "5", "6", "7", "8", "9"]),
        (25e3, 7e5, ["50k", "100k", "200k", "500k"]),
        (1e3, 1e6, ["1k", "10k", "100k", "1M"]),
    ],
    ids=["one power in it", "small", "few powers", "many powers"],
)
def test_a_logarithmic_axis_has_ticks_that_tell_its_scale(
    low: float, high: float, labels: list[str]
) -> None:
    axis = Axis("cost", low, high, log=True)
    assert [label for _, label in axis.ticks()] == labels
    assert all(low <= value <= high for value, _ in axis.ticks())

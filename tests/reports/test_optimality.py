"""The share of the best known result that each attack has, worked out by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import reports
from benchmark.results import npz_writer
from benchmark.results.records import AttackRecord
from reports import nearness
from reports.details import Detail
from reports.records import Attack, Outcomes

FAR = 9.0
WHOLE = np.ones(4, dtype=bool)


def attack(
    name: str,
    success: list[int],
    *,
    first: list[int] | None = None,
    far: list[float] | None = None,
    minimal: bool = True,
    threat: tuple[str, float] = ("linf", 0.5),
    attacked: np.ndarray = WHOLE,
) -> Detail:
    """An attack on four examples that are right; a distance of `FAR` is of no adversarial point."""
    broken = np.array(success, dtype=bool)
    reached = np.array(far or [FAR] * 4)
    families = ["minimal-norm"] if minimal else ["gradient"]
    record = AttackRecord(name=name, status="ok", norm=threat[0], eps=threat[1], families=families)
    outcomes = Outcomes(np.arange(4), WHOLE, ~broken, attacked)
    return Detail(
        Attack(name, name, "ok", "", record, outcomes),
        {threat[0]: reached, "adversarial": reached < FAR},
        outcomes.test_index,
        WHOLE,
        ~broken,
        label=None,
        clean_prediction=None,
        adversarial_prediction=None,
        first_query=None if first is None else np.array(first),
        distance=reached,
    )


def shares(*attacks: Detail) -> dict[str, dict[str, Any]]:
    return nearness.shares(attacks, "linf", 0.5)


def test_an_attack_has_its_share_of_what_any_breaks_within_equal_queries() -> None:
    fast = attack("fast", [1, 0, 0, 0], first=[5, -1, -1, -1])
    slow = attack("slow", [1, 1, 0, 0], first=[90, 400, -1, -1])

    found = shares(fast, slow)

    assert (found["fast"]["within"], found["fast"]["broken"]) == ([0.5, 0.5, 0.5], 0.5)
    assert (found["slow"]["within"], found["slow"]["broken"]) == ([0.0, 0.5, 1.0], 1.0)


def test_only_examples_count_that_the_attack_was_run_on() -> None:
    partly = attack("partly", [1, 0, 0, 0], attacked=np.arange(4) < 2)
    found = shares(partly, attack("whole", [0, 1, 1, 1]))

    assert (found["partly"]["broken"], found["whole"]["broken"]) == (0.5, 0.75)


def test_what_has_no_number_of_queries_has_no_share_of_any() -> None:
    found = shares(attack("a", [1, 0, 0, 0], first=[-1] * 4), attack("b", [1, 0, 0, 0]))
    assert [found[name]["within"] for name in "ab"] == [[None] * 3] * 2


def test_nearness_is_the_area_that_the_distances_cut_off_the_accuracy_over_budgets() -> None:
    near = attack("near", [1, 1, 1, 0], far=[0.1, 0.2, 0.4, FAR])
    far = attack("far", [1, 1, 0, 0], far=[0.3, 0.1, FAR, 2.0], threat=("linf", 0.4))
    bounded = attack("bounded", [1, 0, 0, 0], far=[0.5, FAR, FAR, FAR], minimal=False)

    found = shares(near, far, bounded)

    # The best: 0.1, 0.1, 0.4 and 2, up to where the areas go.
    best = 1.9 + 1.9 + 1.6
    assert found["near"]["distance"] == pytest.approx((1.9 + 1.8 + 1.6) / best)
    assert found["far"]["distance"] == pytest.approx((1.7 + 1.9) / best)
    assert found["bounded"]["distance"] is None


def test_attacks_of_other_threats_are_no_measure() -> None:
    other = attack("l2", [0, 0, 0, 0], threat=("l2", 1.0))
    found = shares(attack("a", [1, 0, 0, 0]), attack("b", [0, 1, 0, 0]), other)
    assert set(found) == {"a", "b"}
    assert found["a"]["broken"] == 0.5


def test_nothing_is_told_where_nothing_is_broken() -> None:
    found = shares(attack("a", [0] * 4), attack("b", [0] * 4))
    assert found["a"] == {"within": [None] * 3, "broken": None, "distance": None}


def test_the_page_of_a_model_and_a_frame_show_them(synthetic: Any) -> None:
    cell_id = synthetic.cell(clean=1.0, robust={"pgd": 0.5, "fab": 0.4}, examples=100)
    for name in ("pgd", "fab"):
        arrays = synthetic.arrays(cell_id, name)
        first = np.where(arrays["success"], 50, -1)
        synthetic.rewrite(
            cell_id, name, npz_writer({**arrays, "first_query": first}), families=["gradient"]
        )
    out = synthetic.store.path
    reports.publish(out, out.parent / "site")

    folder = out.parent / "site" / "models" / cell_id
    (suite,) = json.loads((folder / "data.json").read_text())["suites"]
    told = {one["name"]: (one["within"], one["broken"]) for one in suite["optimality"]["attacks"]}
    page = (folder / "index.html").read_text()

    # pgd keeps 0 to 49, fab 1 to 40: any of them breaks 0 and 41 to 99
    assert told["pgd"] == ([0.0, 50 / 60, 50 / 60], 50 / 60)
    assert told["fab"] == ([0.0, 1.0, 1.0], 1.0)
    assert "Share of the best known" in page
    assert '<td class="number">83.3</td>' in page

    reports.optimality(out)  # which imports a module, that must not take its place
    frame = reports.optimality(out).set_index("attack")

    assert dict(frame["within_100"]) == {"pgd": 50 / 60, "fab": 1.0}
    assert dict(frame["within_10"]) == {"pgd": 0.0, "fab": 0.0}
    assert frame["nearness"].isna().all()
    assert set(frame.attrs["columns"]) == {"attack", *frame.columns}

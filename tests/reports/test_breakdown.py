"""What a model's page says beyond one number, worked out by hand."""

from __future__ import annotations

import numpy as np

from benchmark.results.records import AttackRecord
from reports.details import Detail
from reports.records import Attack, Outcomes
from reports.site import breakdown


def test_breakdowns_of_outcomes_worked_by_hand() -> None:
    correct = np.array([True, True, True, False])
    success = np.array([True, True, False, False])
    record = AttackRecord(name="cw", status="ok")
    outcomes = Outcomes(np.arange(4), correct, correct & ~success, np.ones(4, dtype=bool))
    one = Detail(
        Attack("cw-1", "cw", "ok", "", record, outcomes),
        {},
        outcomes.test_index,
        correct,
        outcomes.robust,
        label=np.array([0, 0, 1, 1]),
        clean_prediction=np.array([0, 0, 1, 0]),
        adversarial_prediction=np.array([1, 1, 1, 1]),
        first_query=np.array([10, 100, -1, -1]),
        distance=np.array([0.05, 0.2, 0.0, 0.0]),
    )
    assert breakdown.confusion(one) == [
        {"label": 0, "prediction": 1, "count": 2},
        {"label": 1, "prediction": 0, "count": 1},
        {"label": 1, "prediction": 1, "count": 1},
    ]
    curve = breakdown.security_curve([one], "linf", 0.2)
    assert curve is not None
    held = dict(zip(np.round(curve["budgets"], 3), curve["worst_case"], strict=True))
    assert [held[x] for x in (0.0, 0.04, 0.05, 0.19, 0.2)] == [0.75, 0.75, 0.5, 0.5, 0.25]
    asked = breakdown.queries([one])
    assert asked is not None
    left = dict(zip(asked["queries"], asked["attacks"]["cw-1"], strict=True))
    assert (left[1], left[100]) == (0.75, 0.25)
    assert all(share == 0.5 for asked, share in left.items() if 10 <= asked < 100)
    assert breakdown.by_class([one], bound=False)[0]["worst_case"]["correct"] == 0
    assert breakdown.by_class([one], bound=False)[1]["worst_case"]["correct"] == 1


def test_breakdowns_count_only_what_an_attack_was_run_on() -> None:
    attacked = np.array([True, False, True, False])
    correct, robust = np.ones(4, dtype=bool), np.array([False, True, True, True])
    outcomes = Outcomes(np.arange(4), correct, robust, attacked)
    one = Detail(
        Attack("cw-1", "cw", "ok", "", None, outcomes),
        {},
        outcomes.test_index,
        correct,
        robust,
        label=np.array([0, 0, 1, 2]),
        clean_prediction=np.array([0, 0, 1, 2]),
        adversarial_prediction=np.array([1, 0, 1, 2]),
        first_query=None,
        distance=np.array([0.05, 0.0, 0.0, 0.0]),
    )

    classes = breakdown.by_class([one], bound=True)
    curve = breakdown.security_curve([one], "linf", 0.2)

    assert [row["attacks"]["cw-1"] for row in classes] == [0.0, 1.0, None]
    assert [row["worst_case"]["accuracy"] for row in classes] == [0.5, 1.0, 1.0]
    assert {row["worst_case"]["low"] for row in classes} == {0.0}
    assert breakdown.confusion(one) == [
        {"label": 0, "prediction": 1, "count": 1},
        {"label": 1, "prediction": 1, "count": 1},
    ]
    assert curve is not None
    assert (curve["worst_case"][0], curve["worst_case"][-1]) == (1.0, 0.5)
    common = breakdown.common_share([one])
    assert common is not None
    assert (common["examples"], common["accuracy"]) == (2, 0.5)

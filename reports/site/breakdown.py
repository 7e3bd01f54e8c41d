"""What per-example outcomes say beyond one number: by class, by confusion, distance and queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reports.details import Detail
from reports.statistics import wilson

_STEPS = 21  # points of a security curve
_INFORMATIVE = 0.05  # share of successes clearly inside the budget that makes a curve worth showing
_CLEARLY_INSIDE = 0.9
_QUERY_POINTS = 24


def share(correct: int, attacked: int) -> dict[str, Any]:
    """A count, its share and the 95 % Wilson interval."""
    low, high = wilson(correct, attacked)
    return {"correct": correct, "accuracy": correct / attacked, "low": low, "high": high}


def worst_case(details: Sequence[Detail]) -> np.ndarray:
    """Which examples stay right under every attack."""
    return np.all([one.robust for one in details], axis=0)


def worst_share(
    details: Sequence[Detail], which: np.ndarray | None = None, *, bound: bool
) -> dict[str, Any]:
    """The worst case of all examples, or of `which`; the interval of an upper bound starts at 0."""
    worst = worst_case(details)
    worst = worst if which is None else worst[which]
    found = share(int(worst.sum()), len(worst))
    return found | {"low": 0.0} if bound else found


def common_share(details: Sequence[Detail]) -> dict[str, Any] | None:
    """The worst case of the examples that every attack was run on; None if these are none."""
    common = np.all([one.attacked for one in details], axis=0)
    worst = worst_case(details)[common]
    return share(int(worst.sum()), len(worst)) | {"examples": len(worst)} if len(worst) else None


def by_class(details: Sequence[Detail], *, bound: bool) -> list[dict[str, Any]]:
    """For each class how many examples are right: clean, under each attack, in the worst case.

    Under an attack it is the share of those that it was run on, None where these are none. `bound`:
    the worst case is only an upper bound.
    """
    labels = details[0].label
    if labels is None:
        return []
    found = []
    for label in np.unique(labels):
        mine = labels == label
        attacks = {one.attack.key: one.robust[mine & one.attacked] for one in details}
        found.append(
            {
                "label": int(label),
                "examples": int(mine.sum()),
                "clean": share(int(details[0].clean_correct[mine].sum()), int(mine.sum())),
                "attacks": {
                    key: float(held.mean()) if len(held) else None for key, held in attacks.items()
                },
                "worst_case": worst_share(details, mine, bound=bound),
            }
        )
    return found


def confusion(one: Detail) -> list[dict[str, int]]:
    """How often each class is taken for each under this attack, most often first.

    An example that the attack could not break counts with its clean prediction, one that it was
    not run on with none.
    """
    if one.label is None or one.clean_prediction is None or one.adversarial_prediction is None:
        return []
    taken = np.where(one.success, one.adversarial_prediction, one.clean_prediction)
    seen = np.stack([one.label, taken], axis=1)[one.attacked]
    pairs, counts = np.unique(seen, axis=0, return_counts=True)
    found = [
        {"label": int(label), "prediction": int(prediction), "count": int(count)}
        for (label, prediction), count in zip(pairs, counts, strict=True)
    ]
    return sorted(found, key=lambda entry: (-entry["count"], entry["label"], entry["prediction"]))


def security_curve(suite: Sequence[Detail], norm: str, eps: float) -> dict[str, Any] | None:
    """Accuracy when only adversarial examples up to a distance count, for distances up to eps.

    Of the attacks within this threat. The worst case is that of the examples that all of them were
    run on, and is left out where there are none. None where they went for the whole budget anyway:
    the curve would be a step at eps.
    """
    details = [one for one in suite if one.within(norm, eps)]
    if eps <= 0 or not details or any(one.distance is None for one in details):
        return None
    reached = {one.attack.key: _clipped(one.distance, eps) for one in details}
    inside = [reached[d.attack.key][d.success] < _CLEARLY_INSIDE * eps for d in details]
    successes = np.concatenate(inside)
    if not len(successes) or successes.mean() < _INFORMATIVE:
        return None
    budgets = [eps * step / (_STEPS - 1) for step in range(_STEPS)]
    curves = {
        one.attack.key: [_held(one, reached, budget) for budget in budgets] for one in details
    }
    common = np.all([one.attacked for one in details], axis=0)
    found: dict[str, Any] = {
        "budgets": budgets,
        "attacks": {
            one.attack.key: [float(held[one.attacked].mean()) for held in curves[one.attack.key]]
            for one in details
        },
    }
    if common.any():
        together = [
            np.all([curve[step] for curve in curves.values()], axis=0) for step in range(_STEPS)
        ]
        found["worst_case"] = [float(held[common].mean()) for held in together]
    return found


def queries(details: Sequence[Detail]) -> dict[str, Any] | None:
    """Accuracy left after so many queries, for the attacks that tell when they first succeeded."""
    counted = [d for d in details if d.first_query is not None and (d.first_query >= 0).any()]
    if not counted:
        return None
    most = max(int(d.first_query.max()) for d in counted if d.first_query is not None)
    points = np.unique(np.geomspace(1, max(most, 2), _QUERY_POINTS).astype(np.int64))
    return {
        "queries": [int(point) for point in points],
        "attacks": {d.attack.key: _after(d, points) for d in counted},
    }


def _clipped(distance: np.ndarray | None, eps: float) -> np.ndarray:
    assert distance is not None
    return np.minimum(np.nan_to_num(distance, nan=eps, posinf=eps), eps)


def _held(one: Detail, reached: Mapping[str, np.ndarray], budget: float) -> np.ndarray:
    return one.clean_correct & ~(one.success & (reached[one.attack.key] <= budget))


def _after(one: Detail, points: np.ndarray) -> list[float]:
    first = one.first_query
    assert first is not None
    known = one.success & (first >= 0)
    unknown = one.success & (first < 0)  # broken at a time that was not stored: from the start
    held = [one.clean_correct & ~unknown & ~(known & (first <= point)) for point in points]
    return [float(mask[one.attacked].mean()) for mask in held]

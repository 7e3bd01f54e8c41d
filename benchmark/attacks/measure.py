"""What an attack achieved, measured outside it: nobody knows what an attack returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Relative room for float32 rounding at the edge of the budget.
BUDGET_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Measurement:
    """Per example, n rows.

    Args:
        success: changed the prediction of a correctly classified example, within budget and box.
        prediction: the label given to the returned point.
        distances: "linf", "l2", "l1" and "l0" from the clean example.
        violations: how many returned points left the "budget" or the "box", or are "non_finite".
    """

    success: np.ndarray
    prediction: np.ndarray
    distances: dict[str, np.ndarray]
    violations: dict[str, int]


def measure(
    x: np.ndarray,
    x_adv: np.ndarray,
    logits: np.ndarray,
    *,
    clean_prediction: np.ndarray,
    label: np.ndarray,
    norm: str,
    eps: float,
) -> Measurement:
    """Re-measure an attack's result.

    Args:
        x: clean examples in [0, 1], (n, ...).
        x_adv: what the attack returned, same shape.
        logits: of `x_adv`, (n, classes).
        clean_prediction: labels given to `x`.
        label: true labels.
        norm: of the budget, a key of `distances`.
        eps: the budget.
    """
    distances = _distances(x, x_adv)
    in_budget = distances[norm] <= eps * (1 + BUDGET_TOLERANCE)
    flat = x_adv.reshape(len(x_adv), -1)
    finite = np.isfinite(flat).all(axis=1) & np.isfinite(logits).all(axis=1)
    in_box = (flat.min(axis=1) >= 0) & (flat.max(axis=1) <= 1)
    prediction = logits.argmax(axis=1)
    valid = in_budget & in_box & finite
    return Measurement(
        success=valid & (clean_prediction == label) & (prediction != label),
        prediction=prediction,
        distances=distances,
        violations={
            "budget": int((finite & ~in_budget).sum()),
            "box": int((finite & ~in_box).sum()),
            "non_finite": int((~finite).sum()),
        },
    )


def _distances(x: np.ndarray, x_adv: np.ndarray) -> dict[str, np.ndarray]:
    difference = np.abs(x_adv.astype(np.float64) - x).reshape(len(x), -1)  # (n, d)
    return {
        "linf": difference.max(axis=1),
        "l2": np.sqrt((difference**2).sum(axis=1)),
        "l1": difference.sum(axis=1),
        "l0": (difference > 0).sum(axis=1).astype(np.float64),
    }

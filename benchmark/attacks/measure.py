"""What an attack achieved, measured outside it: nobody knows what an attack returns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmark.attacks.entry import UNRESTRICTED
from benchmark.attacks.geometry import ORDERS, distances, in_box, limit
from defenses.labels import NO_LABEL, labels_of


@dataclass(frozen=True)
class Measurement:
    """Per example, n rows.

    Args:
        success: a correctly classified example is wrong within budget and box; where the model
            gives no finite answer it is wrong too.
        prediction: the label given to the returned point; `NO_LABEL` where there is none.
        distances: "linf", "l2", "l1" and "l0" from the clean example.
        violations: how many returned points left the "budget" or the "box", or are "non_finite".
        abstained: how many finite points the model answered with what is not finite.
    """

    success: np.ndarray
    prediction: np.ndarray
    distances: dict[str, np.ndarray]
    violations: dict[str, int]
    # Finite, in the box, and not given the true label, whatever the budget.
    adversarial: np.ndarray
    abstained: int

    def beats(self, other: Measurement, norm: str) -> np.ndarray:
        """Where these points are the better ones of the same examples, (n,) bool.

        A success goes before a point that is none; then an adversarial point before one that is
        not; of two adversarial ones the nearer under `norm` is better.
        """
        nearer = self.distances[norm] < other.distances[norm]
        as_good = (self.success == other.success) & self.adversarial
        better: np.ndarray = (self.success & ~other.success) | (
            as_good & (~other.adversarial | nearer)
        )
        return better

    def overlaid(self, other: Measurement, where: np.ndarray) -> Measurement:
        """This one with the other's points in some places; violations remain its own."""
        apart = self.distances.items()
        return replace(
            self,
            success=np.where(where, other.success, self.success),
            prediction=np.where(where, other.prediction, self.prediction),
            distances={norm: np.where(where, other.distances[norm], ours) for norm, ours in apart},
            adversarial=np.where(where, other.adversarial, self.adversarial),
        )


def measure(
    x: np.ndarray,
    x_adv: np.ndarray,
    logits: np.ndarray,
    *,
    clean_prediction: np.ndarray,
    label: np.ndarray,
    norm: str,
    eps: float,
    beyond_chance: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> Measurement:
    """Re-measure an attack's result.

    Args:
        x: clean examples in [0, 1], (n, ...).
        x_adv: what the attack returned, same shape.
        logits: of `x_adv`, (n, classes); of a random model, their mean over its draws.
        clean_prediction: labels given to `x`.
        label: true labels.
        norm: of the budget, a key of `distances`, or "unrestricted".
        eps: the budget.
        beyond_chance: for a check that accuses a random model, where `x_adv` is wrong more often
            than `x` by more than chance explains, (n,) bool; only there it counts as wrong.
        weights: of features whose budgets differ, (d,); distances are in their scale.
    """
    clean, flat = x.reshape(len(x), -1), x_adv.reshape(len(x_adv), -1)
    apart = {name: distances(flat, clean, name, weights) for name in ORDERS}
    in_budget = (
        np.ones(len(x), dtype=bool)
        if norm == UNRESTRICTED
        else apart[norm] <= limit(norm, eps, flat.shape[1])
    )
    finite, boxed = np.isfinite(flat).all(axis=1), in_box(flat)
    prediction = labels_of(logits)
    wrong = boxed & finite & (prediction != label)
    if beyond_chance is not None:
        wrong &= beyond_chance
    return Measurement(
        success=wrong & in_budget & (clean_prediction == label),
        prediction=prediction,
        distances=apart,
        adversarial=wrong,
        violations={
            "budget": int((finite & ~in_budget).sum()),
            "box": int((finite & ~boxed).sum()),
            "non_finite": int((~finite).sum()),
        },
        abstained=int((finite & (prediction == NO_LABEL)).sum()),
    )

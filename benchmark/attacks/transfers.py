"""Transfer between two models: adversarial examples of each, tried on both."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark import frameworks
from benchmark.attacks.creating import adversarial
from benchmark.attacks.measure import measure
from benchmark.attacks.running import seed_of
from benchmark.attacks.suites import AttackSpec
from benchmark.estimators.estimator import Estimator
from defenses.labels import labels_of

# Keeps the seed of its attack apart from that of others.
_STREAM = "transfersjudged"
ATTACK = AttackSpec("pgd", "pgd", {"max_iter": 20, "eps_step": "0.125 eps", "num_random_init": 1})


def transfer(
    estimators: tuple[Estimator, Estimator],
    x: np.ndarray,
    y: np.ndarray,
    *,
    norm: str,
    eps: float,
    seed: int,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Which adversarial examples of each model fool each, (2, 2, n): made on, tried on.

    Those that leave the budget or the box fool nobody.

    Args:
        estimators: of two models.
        x: clean examples; those count that both models classify correctly, n of them.
        y: their labels.
        norm: of the threat.
        eps: the budget.
        seed: of the attack's starts, which are the same on both models.
        weights: of features whose budgets differ, (d,).
    """
    right = np.all([_predict(one, x) == y for one in estimators], axis=0)
    x, y = x[right], y[right]
    fools = np.zeros((2, 2, len(x)), dtype=bool)
    threat: dict[str, Any] = {"norm": norm, "eps": eps, "weights": weights}
    if not len(x):
        return fools
    for made, source in enumerate(estimators):
        frameworks.seed_everything(seed_of(seed, _STREAM))
        x_adv = adversarial(ATTACK, source, x, y, **threat)
        for tried, victim in enumerate(estimators):
            answers = victim.predict(x_adv)
            found = measure(x, x_adv, answers, clean_prediction=y, label=y, **threat)
            fools[made, tried] = found.success
    return fools


def _predict(estimator: Estimator, x: np.ndarray) -> np.ndarray:
    return labels_of(estimator.predict(x))

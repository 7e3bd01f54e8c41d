"""Transfer between two models: adversarial examples of each, tried on both."""

from __future__ import annotations

import numpy as np

from benchmark import frameworks
from benchmark.attacks.creating import create
from benchmark.attacks.measure import measure
from benchmark.attacks.running import judging_seed
from benchmark.attacks.suites import AttackSpec
from benchmark.estimators.estimator import Classifier
from defenses.labels import labels_of

# Keeps the seed of its attack apart from that of others.
_STREAM = "transfers"
ATTACK = AttackSpec("pgd", "pgd", {"max_iter": 20, "eps_step": "0.125 eps", "num_random_init": 1})


def transfer(
    estimators: tuple[Classifier, Classifier],
    x: np.ndarray,
    y: np.ndarray,
    *,
    norm: str,
    eps: float,
    seed: int,
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
    """
    right = np.all([_predict(one, x) == y for one in estimators], axis=0)
    x, y = x[right], y[right]
    fools = np.zeros((2, 2, len(x)), dtype=bool)
    if not len(x):
        return fools
    for made, source in enumerate(estimators):
        frameworks.seed_everything(judging_seed(seed, _STREAM))
        x_adv = create(ATTACK, source, norm, eps).generate(x=x.copy(), y=y)
        for tried, victim in enumerate(estimators):
            found = measure(
                x, x_adv, victim.predict(x_adv), clean_prediction=y, label=y, norm=norm, eps=eps
            )
            fools[made, tried] = found.success
    return fools


def _predict(estimator: Classifier, x: np.ndarray) -> np.ndarray:
    return labels_of(estimator.predict(x))

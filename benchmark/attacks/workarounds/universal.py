"""Universal perturbations, whose ART code has attacks inside with budgets of their own.

The targeted one steps away from its targets unless it is told not to.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from art.attacks.attack import EvasionAttack
from art.attacks.evasion import TargetedUniversalPerturbation as ArtTargetedUniversalPerturbation
from art.attacks.evasion import UniversalPerturbation as ArtUniversalPerturbation

from benchmark.estimators.estimator import Classifier


class UniversalPerturbation(ArtUniversalPerturbation):
    """ART's universal perturbation, with an attack inside that has its budget and is quiet."""

    def _get_attack(self, a_name: str, params: Mapping[str, object] | None = None) -> EvasionAttack:
        attack = super()._get_attack(a_name)
        wanted = {"norm": self.norm, "eps": self.eps, "verbose": False}
        known = {name: value for name, value in wanted.items() if name in attack.attack_params}
        attack.set_params(**known)
        return attack


class TargetedUniversalPerturbation(ArtTargetedUniversalPerturbation):
    """ART's targeted universal perturbation, all examples towards one class."""

    attack_params = (*ArtTargetedUniversalPerturbation.attack_params, "target")

    def __init__(
        self, classifier: Classifier, *, norm: float, eps: float, target: int = 0, **kwargs: object
    ) -> None:
        inner = {"targeted": True, "norm": norm, "eps": eps}
        super().__init__(classifier, attacker_params=inner, norm=norm, eps=eps, **kwargs)
        self.target = target

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: object) -> np.ndarray:
        """`x`, (n, ...), with the perturbation added."""
        targets = np.zeros((len(x), self.estimator.nb_classes), dtype=np.float32)
        targets[:, self.target] = 1
        return np.asarray(super().generate(x, targets, **kwargs))

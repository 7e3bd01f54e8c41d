"""What defenses against several norms at once share: a budget for each norm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from defenses.attacked import ManyStepTraining
from defenses.budgets import NormBudgets
from defenses.errors import DefenseError
from defenses.kernel import Arrays
from defenses.threat import NORMS, Threat


@dataclass(frozen=True, kw_only=True)
class MultiNormDefense(NormBudgets, ManyStepTraining):
    """Adversarial training within the balls of several norms.

    Raises:
        DefenseError: fewer than two norms, or another budget for the threat's own norm.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        own, given = self.threat, getattr(self, f"eps_{self.threat.norm}")
        if given is not None and given != own.eps:
            raise DefenseError(
                f"eps_{own.norm} is {given:g}, but the threat's {own.norm} budget is {own.eps:g}; "
                f"leave eps_{own.norm} out"
            )
        if len(self.budgets) < 2:
            others = " or ".join(f"eps_{norm}" for norm in NORMS if norm != own.norm)
            raise DefenseError(
                f"trains against several norms, and only {own.norm} has a budget; give {others}"
            )

    @property
    def threats(self) -> tuple[Threat, ...]:
        """One a norm."""
        weights = self.threat.weights
        return tuple(Threat(norm, eps, weights) for norm, eps in self.budgets.items())

    @property
    def shares(self) -> Mapping[str, float]:
        """Norm to its budget, as a multiple of the threat's eps."""
        return {norm: eps / self.threat.eps for norm, eps in self.budgets.items()}

    def random_starts(self, generator: np.random.Generator, x: np.ndarray) -> Arrays:
        """Norm to points of its unit ball, "start_linf" and so on."""
        return {
            f"start_{threat.norm}": threat.random_starts(generator, x.shape)
            for threat in self.threats
        }

    def drawn_within(self, norm: str, draws: Arrays) -> Arrays:
        """Of the draws, those that an attack within one norm takes, its start as "start"."""
        kept = {name: draws[name] for name in ("x", "y", "noise") if name in draws}
        return {**kept, "start": draws[f"start_{norm}"]}

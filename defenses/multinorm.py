"""What defenses against several norms at once share: a budget for each norm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from defenses.defense import Defense
from defenses.errors import DefenseError
from defenses.kernel import Arrays
from defenses.parameters import parameter
from defenses.perturbation.spec import Ascent, default_relative_step
from defenses.threat import NORMS, Threat


@dataclass(frozen=True, kw_only=True)
class MultiNormDefense(Defense):
    """Adversarial training within the balls of several norms.

    The threat's norm has the threat's eps; the other norms have a parameter each. When eps ramps
    up, every budget does, in proportion.

    Args:
        eps_linf: budget under linf; None or 0 leaves the norm out.
        eps_l2: likewise under l2.
        eps_l1: likewise under l1.
        attack_steps: of the inner maximisation.
        relative_step: its step size as a share of the norm's eps; by default 2.5 / attack_steps.

    Raises:
        DefenseError: fewer than two norms, or another budget for the threat's own norm.
    """

    eps_linf: float | None = parameter(None, low=0, high=1)
    eps_l2: float | None = parameter(None, low=0)
    eps_l1: float | None = parameter(None, low=0)
    attack_steps: int = parameter(10, low=1)
    relative_step: float | None = parameter(None, low=0)

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
    def budgets(self) -> Mapping[str, float]:
        """Norm to eps, of the norms that take part, in the order of `NORMS`."""
        given = {norm: getattr(self, f"eps_{norm}") for norm in NORMS}
        given[self.threat.norm] = self.threat.eps
        return {norm: float(eps) for norm, eps in given.items() if eps}

    @property
    def threats(self) -> tuple[Threat, ...]:
        """One a norm."""
        return tuple(Threat(norm, eps) for norm, eps in self.budgets.items())

    @property
    def shares(self) -> Mapping[str, float]:
        """Norm to its budget, as a multiple of the threat's eps."""
        return {norm: eps / self.threat.eps for norm, eps in self.budgets.items()}

    def ascent(self, norm: str) -> Ascent:
        """The inner maximisation within one norm."""
        step = self.relative_step or default_relative_step(self.attack_steps)
        return Ascent(norm, self.attack_steps, step)

    def random_starts(self, generator: np.random.Generator, x: np.ndarray) -> Arrays:
        """Norm to points of its unit ball, "start_linf" and so on."""
        return {
            f"start_{threat.norm}": threat.random_starts(generator, x.shape)
            for threat in self.threats
        }

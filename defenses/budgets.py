"""A budget for each of several norms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from defenses.defense import Defense
from defenses.parameters import parameter
from defenses.threat import NORMS


@dataclass(frozen=True, kw_only=True)
class NormBudgets(Defense):
    """The threat's norm has the threat's eps; the other norms have a parameter each.

    When eps ramps up, every budget does, in proportion.

    Args:
        eps_linf: budget under linf; None or 0 leaves the norm out.
        eps_l2: likewise under l2.
        eps_l1: likewise under l1.
    """

    eps_linf: float | None = parameter(None, low=0, high=1)
    eps_l2: float | None = parameter(None, low=0)
    eps_l1: float | None = parameter(None, low=0)

    @property
    def budgets(self) -> Mapping[str, float]:
        """Norm to eps, of the norms that have one, in the order of `NORMS`."""
        given = {norm: getattr(self, f"eps_{norm}") for norm in NORMS}
        given[self.threat.norm] = self.threat.eps
        return {norm: float(eps) for norm, eps in given.items() if eps}

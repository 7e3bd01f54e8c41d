"""Adversarial training by multi steepest descent, against the union of several norms' balls.

Maini et al. 2020, "Adversarial robustness against the union of multiple perturbation models",
algorithm 1. A_p is one step of projected gradient ascent within norm p (steps 3 and 4 of
`perturbation.spec`), and every p has its own budget:

    x_0     = x                                                           (step 1)
    g_k     = grad_x l(f(x_k), y)                                         (step 2)
    x_p     = A_p(x_k, g_k), for every norm p                             (step 3)
    x_{k+1} = the x_p of the highest loss l(f(x_p), y), per example       (step 4)
    theta  <- optimiser(theta, grad l(f(x_K; theta), y))                  (step 5)

So each x_k lies in the ball of the norm that took the last step. Where two losses are equal, the
norm that comes first in `threat.NORMS` is taken. For MNIST the authors take 100 steps, a thirtieth
of eps under linf, a twentieth under l2 and 0.08 eps under l1; here each norm's step is the same
share of its eps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from defenses.cost import Cost, gradients
from defenses.kernel import Arrays
from defenses.multinorm import MultiNormDefense
from defenses.recipe import kernels_of


@dataclass(frozen=True, kw_only=True)
class MultiSteepestDescent(MultiNormDefense):
    """Multi steepest descent: each step that of the norm with the highest loss (Maini et al. 2020).

    It trains against the union of the norms that have a budget.
    """

    kernels: ClassVar[Mapping[str, str]] = kernels_of("msd", "MultiSteepestKernel")

    def step_cost(self) -> Cost:
        """A gradient and a forward pass for each norm a step, and one pass forward and back."""
        compared = Cost(forwards=self.batch_size * len(self.budgets))
        attack = (gradients(self.batch_size) + compared) * self.attack_steps
        return attack + gradients(self.batch_size)

    def draw(self, generator: np.random.Generator, x: np.ndarray, y: np.ndarray) -> Arrays:
        """The batch; nothing random."""
        return {"x": x, "y": y}

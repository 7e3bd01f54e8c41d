"""MART: adversarial training that looks hardest at what is misclassified without an attack.

Wang et al. 2020, "Improving adversarial robustness requires revisiting misclassified examples",
eqs. (8) to (11) and algorithm 1; p(x) is the softmax of f(x).

    x_adv = A(f_theta, x, y), projected gradient ascent on the cross-entropy (step 1)
    BCE   = -log p_y(x_adv) - log(1 - max_{k != y} p_k(x_adv))               (step 2)
    L     = mean [BCE + weight KL(p(x) || p(x_adv)) (1 - p_y(x))]            (step 3)
    theta <- optimiser(theta, grad L), through all of it                     (step 4)

Defaults of the paper: weight (its lambda) 5, and ten steps of eps / 4 from a random start (the
authors' code starts at x with the noise of TRADES, and takes steps of 0.23 eps).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from defenses import published
from defenses.attacked import ManyStepTraining
from defenses.cost import Cost, gradients
from defenses.parameters import parameter
from defenses.published import Presets
from defenses.recipe import kernels_of


@dataclass(frozen=True, kw_only=True)
class Mart(ManyStepTraining):
    """MART: boosted cross-entropy, and KL weighted by misclassification (Wang et al. 2020).

    Args:
        weight: lambda, of the divergence.
    """

    weight: float = parameter(5.0, low=0)

    presets: ClassVar[Presets] = published.MART
    kernels: ClassVar[Mapping[str, str]] = kernels_of("mart", "MartKernel")

    def step_cost(self) -> Cost:
        """The attack, and the clean and the adversarial prediction forward and back."""
        return self.ascent.cost(self.batch_size) + gradients(2 * self.batch_size)

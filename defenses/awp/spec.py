"""Adversarial weight perturbation: train where the loss is worst around the weights, too.

Wu et al. 2020, "Adversarial weight perturbation helps robust generalization", eqs. (7) to (10) and
algorithm 1, with one attack and one weight perturbation an update (its A = K2 = 1).

    x_adv  = the adversarial examples of the base defense                        (step 1)
    L(w)   = the base's loss on x, x_adv, y under the weights w
    v_l    = gamma |theta_l| grad_l L(theta) / |grad_l L(theta)|                 (step 2)
    g      = grad L at theta + v                                                 (step 3)
    theta <- optimiser(theta, g), from theta, not from theta + v                 (step 4)

|.| is the L2 norm over all weights of layer l; biases and other vectors are left alone, as in the
authors' experiments. The bases are pgd-at (Madry et al. 2018) and trades (Zhang et al. 2019).
Defaults of the authors' code: gamma 0.01 for pgd-at, 0.005 for trades. Over trades it leaves the
weights alone for the first 10 of 200 epochs, to save time; here they are perturbed throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from defenses import published
from defenses.attacked import ManyStepTraining
from defenses.cost import Cost, gradients
from defenses.kernel import Arrays
from defenses.parameters import parameter
from defenses.published import Presets
from defenses.recipe import kernels_of
from defenses.trades.spec import small_noise

# Each base with its gamma.
GAMMA = {"pgd-at": 0.01, "trades": 0.005}


@dataclass(frozen=True, kw_only=True)
class WeightPerturbation(ManyStepTraining):
    """Adversarial weight perturbation over pgd-at or trades (Wu et al. 2020).

    Args:
        base: "pgd-at" or "trades".
        gamma: size of the weights' perturbation as a share of each layer's norm; by default 0.01
            over pgd-at and 0.005 over trades.
        beta: of trades; pgd-at does not use it.
    """

    base: str = parameter("pgd-at", choices=tuple(GAMMA))
    gamma: float | None = parameter(None, low=0)
    beta: float = parameter(6.0, low=0)

    presets: ClassVar[Presets] = published.AWP
    follows_its_loss: ClassVar[bool] = False
    kernels: ClassVar[Mapping[str, str]] = kernels_of("awp", "WeightPerturbationKernel")

    @property
    def size(self) -> float:
        """gamma, by the base where none was given."""
        return GAMMA[self.base] if self.gamma is None else self.gamma

    def step_cost(self) -> Cost:
        """The base's attack, and its loss forward and back twice."""
        size = self.batch_size
        if self.base == "trades":
            return Cost(forwards=size) + self.ascent.cost(size) + gradients(2 * size) * 2
        return self.ascent.cost(size) + gradients(size) * 2

    def draw(self, generator: np.random.Generator, x: np.ndarray, y: np.ndarray) -> Arrays:
        """The batch, and where the base's attacks start."""
        if self.base == "trades":
            return {"x": x, "y": y, "noise": small_noise(generator, x.shape, self.threat.weights)}
        return super().draw(generator, x, y)

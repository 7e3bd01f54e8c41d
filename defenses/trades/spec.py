"""TRADES: clean cross-entropy, and how far an adversary moves the prediction.

Zhang et al. 2019, "Theoretically principled trade-off between robustness and accuracy", eq. (5)
and algorithm 1; p(x) is the softmax of f(x).

    x_0   = clip(x + noise, 0, 1), noise ~ 0.001 N(0, I)                    (step 1)
    x_adv = argmax over the ball of KL(p(x) || p(x_adv)), by gradient
            ascent from x_0, p(x) held constant                             (step 2)
    L     = l(f(x), y) + beta mean KL(p(x) || p(x_adv))                     (step 3)
    theta <- optimiser(theta, grad L), through both p(x) and p(x_adv)       (step 4)

At x itself the divergence has no gradient, hence the noise. Defaults: beta (the paper's 1 / lambda)
6 and ten steps, as the paper has them for CIFAR-10 (of 0.23 eps, here 0.25 eps); the authors' MNIST
model has beta 1 and 40 steps of eps / 30.
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

# Of the start, in pixel scale.
NOISE = 0.001


@dataclass(frozen=True, kw_only=True)
class Trades(ManyStepTraining):
    """TRADES: clean loss plus KL divergence to adversarial predictions (Zhang et al. 2019).

    Args:
        beta: weight of the divergence.
    """

    beta: float = parameter(6.0, low=0)

    presets: ClassVar[Presets] = published.TRADES
    kernels: ClassVar[Mapping[str, str]] = kernels_of("trades", "TradesKernel")

    def step_cost(self) -> Cost:
        """The attack and its target p(x), and both predictions forward and back."""
        size = self.batch_size
        return Cost(forwards=size) + self.ascent.cost(size) + gradients(2 * size)

    def draw(self, generator: np.random.Generator, x: np.ndarray, y: np.ndarray) -> Arrays:
        """The batch and the noise on it."""
        return {"x": x, "y": y, "noise": small_noise(generator, x.shape, self.threat.weights)}


def small_noise(
    generator: np.random.Generator,
    shape: tuple[int, ...],
    weights: tuple[float, ...] | None = None,
) -> np.ndarray:
    """The Gaussian noise of step 1, float32; in the scale of the features' weights."""
    noise = (NOISE * generator.standard_normal(shape)).astype(np.float32)
    return noise if weights is None else noise * np.asarray(weights, np.float32)

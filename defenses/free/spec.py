"""Free adversarial training: one backward pass serves the weights and the perturbation.

Shafahi et al. 2019, "Adversarial training for free!", algorithm 1. delta starts at zero, and is
carried over from each minibatch to the next.

For each minibatch, m times:

    x_adv     = clip(x + delta, 0, 1)                                  (step 1)
    g, g_x    = grad_theta, grad_x l(f(x_adv), y), from one pass       (step 2)
    theta    <- optimiser(theta, g)                                    (step 3)
    delta    <- project(delta + eps sign(g_x), ball(0, eps))           (step 4)
                (g_x / |g_x|_2 instead of the sign for l2)

One epoch here replays the whole data set m times: the paper's N_ep is m times `epochs`. Default of
the paper: m = 8 for CIFAR-10; it takes 4 for ImageNet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from defenses import published
from defenses.cost import Cost, gradients
from defenses.defense import Defense
from defenses.kernel import Arrays
from defenses.parameters import parameter
from defenses.published import Presets
from defenses.recipe import kernels_of


@dataclass(frozen=True, kw_only=True)
class FreeTraining(Defense):
    """Free adversarial training: minibatches replayed, gradients shared (Shafahi et al. 2019).

    Args:
        replays: m, of each minibatch.
    """

    replays: int = parameter(8, low=1)

    presets: ClassVar[Presets] = published.FREE_AT
    follows_its_loss: ClassVar[bool] = False
    kernels: ClassVar[Mapping[str, str]] = kernels_of("free", "FreeKernel")

    @property
    def single_step(self) -> bool:
        """Always: the perturbation moves by one step an update."""
        return True

    def step_cost(self) -> Cost:
        """One pass forward and back a replay."""
        return gradients(self.batch_size) * self.replays

    def draw(self, generator: np.random.Generator, x: np.ndarray, y: np.ndarray) -> Arrays:
        """The batch; nothing random."""
        return {"x": x, "y": y}

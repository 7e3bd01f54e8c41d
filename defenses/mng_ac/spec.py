"""MNG-AC: one random norm a batch, learned noise, and consistency.

Madaan, Shin & Hwang 2021, "Learning to generate noise for multi-attack robustness", algorithm 1.
g_phi is a small generator, z Gaussian noise, B_p the ball of norm p.

    p         uniform over the norms                                              (step 1)
    x_adv   = A_p(f_theta, x, y), projected gradient ascent within p              (step 2)
    x_aug   = clip(project(x + g_phi(x, z), B_p(x)), 0, 1)                        (step 3)
    theta'  = theta - a grad_theta l(f(x_aug; theta), y)                          (step 4)
    phi    <- Adam(phi, grad_phi l(f(x_adv; theta'(phi)), y))                     (step 5)
    x_aug   as in step 3 with the new phi, a constant                             (step 6)
    theta  <- optimiser(theta, grad [ l(f(x_adv; theta), y)
                              + w JSD(f(x), f(x_adv), f(x_aug)) ])                (step 7)

The noise is learned by one step of look-ahead: phi is moved so that a model which learns from the
noisy examples withstands the attacked ones. This takes second derivatives through step 4; steps 4
and 5 see the model in evaluation mode, so that it has no batch statistics to differentiate.
JSD is the mean Kullback-Leibler divergence of the three distributions from their mean. The draws of
steps 1 and 3 come from outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from defenses.cost import Cost, gradients
from defenses.kernel import Arrays
from defenses.multinorm import MultiNormDefense
from defenses.parameters import parameter
from defenses.recipe import kernels_of


@dataclass(frozen=True, kw_only=True)
class MetaNoise(MultiNormDefense):
    """One random norm a batch, meta-learned noise and consistency (MNG-AC).

    Args:
        consistency: w, weight of the Jensen-Shannon divergence.
        lookahead_rate: a, of the look-ahead step.
        noise_rate: of the generator's Adam.
        width: channels of the generator's hidden layers.
    """

    consistency: float = parameter(12.0, low=0)
    lookahead_rate: float = parameter(0.05, low=0)
    noise_rate: float = parameter(1e-3, low=0)
    width: int = parameter(8, low=1)

    follows_its_loss: ClassVar[bool] = False
    kernels: ClassVar[Mapping[str, str]] = kernels_of("mng_ac", "MetaNoiseKernel")

    def norm_of(self, number: float) -> str:
        """The norm that a number in [0, 1) falls on."""
        norms = tuple(self.budgets)
        return norms[min(int(number * len(norms)), len(norms) - 1)]

    def step_cost(self) -> Cost:
        """Attack, look-ahead with its second derivatives, and three passes of the outer loss.

        The generator is asked twice and differentiated once.
        """
        size = self.batch_size
        attack = gradients(size) * self.attack_steps
        lookahead = gradients(2 * size) + Cost(second_order=size)
        generator = Cost(forwards=2 * size, backwards=size)
        return attack + lookahead + generator + gradients(3 * size)

    def draw(self, generator: np.random.Generator, x: np.ndarray, y: np.ndarray) -> Arrays:
        """The batch, the number that picks the norm, a start in every norm, and the noise."""
        pick = np.array(generator.random())
        starts = self.random_starts(generator, x)
        noise = generator.standard_normal(x.shape, dtype=np.float32)
        return {"x": x, "y": y, "pick": pick, "noise": noise, **starts}

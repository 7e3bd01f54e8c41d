"""Adversarial training by projected gradient ascent.

Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks", eq. (2.1).

    x_adv = A(f_theta, x, y), projected gradient ascent from a random start   (step 1)
    theta <- optimiser(theta, grad l(f(x_adv; theta), y))                     (step 2)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from defenses.cost import Cost, gradients
from defenses.defense import Defense
from defenses.parameters import parameter
from defenses.perturbation.spec import Ascent, default_relative_step
from defenses.training import Arrays


@dataclass(frozen=True, kw_only=True)
class AdversarialTraining(Defense):
    """PGD adversarial training (Madry et al. 2018).

    Args:
        attack_steps: of the inner maximisation.
        relative_step: its step size as a share of eps; by default 2.5 / attack_steps.
    """

    attack_steps: int = parameter(10, low=1)
    relative_step: float | None = parameter(None, low=0)

    kernels: ClassVar[Mapping[str, str]] = {
        "torch": "defenses.adversarial.pytorch:AdversarialKernel",
        "tensorflow": "defenses.adversarial.tensorflow:AdversarialKernel",
    }

    @property
    def ascent(self) -> Ascent:
        """The inner maximisation."""
        step = self.relative_step or default_relative_step(self.attack_steps)
        return Ascent(self.threat.norm, self.attack_steps, step)

    def step_cost(self) -> Cost:
        """The attack and one pass forward and back."""
        return self.ascent.cost(self.batch_size) + gradients(self.batch_size)

    def draw(self, generator: np.random.Generator, x: np.ndarray, y: np.ndarray) -> Arrays:
        """The batch and where its attacks start."""
        return {"x": x, "y": y, "start": self.threat.random_starts(generator, x.shape)}

"""Standard training: the undefended twin that every defense is compared with.

theta <- optimiser(theta, grad l(f(x; theta), y))                  (step 1)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from defenses.cost import Cost, gradients
from defenses.defense import Defense
from defenses.kernel import Arrays
from defenses.recipe import kernels_of


@dataclass(frozen=True, kw_only=True)
class StandardTraining(Defense):
    """No defense: cross-entropy on clean examples (the undefended twin).

    The threat plays no part in the training.
    """

    kernels: ClassVar[Mapping[str, str]] = kernels_of("standard", "StandardKernel")

    makes_adversarial_examples: ClassVar[bool] = False

    def step_cost(self) -> Cost:
        """One pass forward and back."""
        return gradients(self.batch_size)

    def draw(self, generator: np.random.Generator, x: np.ndarray, y: np.ndarray) -> Arrays:
        """The batch; nothing random."""
        return {"x": x, "y": y}

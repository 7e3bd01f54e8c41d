"""The well-known TensorFlow listing of "deep meta-adversarial training", taken as printed.

It moves the variables inside the tape of its outer loss. So that loss's gradient does not go
through the inner step: it is a plain gradient, at weights that have just been moved. What is left
is FGSM training on one small task after the other, with an extra step on each. `meta-adv` is what
the text around the listing describes; this is the baseline.

For each task, which is a batch:

    x_adv  = clip(x + eps sign(grad_x l(f_theta(x), y)), 0, 1)                   (step 1)
    theta <- theta - a grad [l(f_theta(x), y) + l(f_theta(x_adv), y)]            (step 2)
    theta <- optimiser(theta, grad l(f_theta(x_adv), y)), at the moved theta     (step 3)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from defenses.attacked import SingleStepTraining
from defenses.cost import Cost, gradients
from defenses.parameters import parameter
from defenses.recipe import kernels_of
from defenses.schedules import SCHEDULES


@dataclass(frozen=True, kw_only=True)
class SeedListing(SingleStepTraining):
    """Sequential FGSM training with an extra step a task: the seed article's listing as printed.

    Args:
        batch_size: examples of a task.
        inner_rate: a, of the first of a task's two steps.
    """

    batch_size: int = parameter(10, low=1)
    learning_rate: float = parameter(1e-3, low=0)
    schedule: str = parameter("constant", choices=tuple(SCHEDULES))
    eps_warmup: float = parameter(0.0, low=0, high=1)
    inner_rate: float = parameter(0.01, low=0)

    kernels: ClassVar[Mapping[str, str]] = kernels_of("seed_listing", "SeedKernel")

    def step_cost(self) -> Cost:
        """The attack, both losses of the first step, and the extra step."""
        return self.ascent.cost(self.batch_size) + gradients(3 * self.batch_size)

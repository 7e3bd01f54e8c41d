"""Adversarial training within one norm a batch, drawn by how much it still hurts.

E-AT's sampling: Croce & Hein 2022, "Adversarial robustness against multiple and single lp-threat
models via quick fine-tuning of robust classifiers", section 4.2. r_p is the running robust
accuracy under norm p on the training batches, 0 at first; n_p counts those batches from 0.

    p      ~ (1 - r_p) / sum_q (1 - r_q)                                  (step 1)
    x_adv  = A_p(f_theta, x, y), projected gradient ascent within p       (step 2)
    theta <- optimiser(theta, grad l(f(x_adv; theta), y))                 (step 3)
    r_p   <- m r_p + (1 - m) mean[f(x_adv) says y], before the update,    (step 4)
             where m = min(momentum, n_p / (n_p + 1))

The draw of step 1 comes from outside as a number in [0, 1). With a momentum of 1, r_p is the mean
over all of the norm's batches, as the authors' code has it. E-AT itself fine-tunes a robust model
with linf and l1 alone, and attacks with APGD; here the training starts anywhere, attacks with PGD,
and takes every norm that has a budget.
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
class RandomNorm(MultiNormDefense):
    """Adversarial training within one norm a batch, drawn by its robust error (E-AT's sampling).

    Args:
        momentum: how slowly the running robust accuracies forget; 1 is never.
    """

    momentum: float = parameter(1.0, low=0, high=1)

    kernels: ClassVar[Mapping[str, str]] = kernels_of("random_norm", "RandomNormKernel")

    def step_cost(self) -> Cost:
        """One norm's attack and one pass forward and back, whichever norm it is."""
        return gradients(self.batch_size) * (self.attack_steps + 1)

    def draw(self, generator: np.random.Generator, x: np.ndarray, y: np.ndarray) -> Arrays:
        """The batch, a start in every norm, and the number that picks the norm."""
        pick = np.array(generator.random())
        return {"x": x, "y": y, "pick": pick, **self.random_starts(generator, x)}


class RunningAccuracy:
    """The running robust accuracy under each norm: the state of steps 1 and 4, in NumPy."""

    def __init__(self, defense: RandomNorm) -> None:
        self.norms = tuple(defense.budgets)
        self.values = np.zeros(len(self.norms))
        self.batches = np.zeros(len(self.norms))
        self._momentum = defense.momentum

    def pick(self, number: float) -> str:
        """The norm that a number in [0, 1) falls on (step 1)."""
        errors = 1 - self.values
        total = errors.sum()
        weights = errors / total if total > 0 else np.full(len(errors), 1 / len(errors))
        index = int(np.searchsorted(np.cumsum(weights), number, side="right"))
        return self.norms[min(index, len(self.norms) - 1)]

    def update(self, norm: str, accuracy: float) -> None:
        """Take up the robust accuracy of a batch (step 4)."""
        index = self.norms.index(norm)
        seen = self.batches[index]
        kept = min(self._momentum, seen / (seen + 1))
        self.values[index] = kept * self.values[index] + (1 - kept) * accuracy
        self.batches[index] = seen + 1

    def state(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps, by name."""
        return {"values": self.values.copy(), "batches": self.batches.copy()}

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        self.values = state["values"].copy()
        self.batches = state["batches"].copy()

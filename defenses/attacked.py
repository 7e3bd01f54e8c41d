"""What trainings on attacked examples share: an inner maximisation, and where it starts."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from defenses.cost import Cost, gradients
from defenses.defense import Defense
from defenses.kernel import Arrays
from defenses.parameters import parameter
from defenses.perturbation.spec import Ascent, fgsm, pgd


@dataclass(frozen=True, kw_only=True)
class AttackedTraining(Defense):
    """Trains on what projected gradient ascent finds."""

    @property
    @abstractmethod
    def ascent(self) -> Ascent:
        """The inner maximisation."""

    def step_cost(self) -> Cost:
        """The attack and one pass forward and back."""
        return self.ascent.cost(self.batch_size) + gradients(self.batch_size)

    def draw(self, generator: np.random.Generator, x: np.ndarray, y: np.ndarray) -> Arrays:
        """The batch and where its attacks start."""
        return {"x": x, "y": y, "start": self.ascent.starts(generator, x.shape)}


@dataclass(frozen=True, kw_only=True)
class SingleStepTraining(AttackedTraining):
    """With one step of eps from the example itself."""

    @property
    def single_step(self) -> bool:
        """Always."""
        return True

    @property
    def ascent(self) -> Ascent:
        """One step."""
        return fgsm(self.threat.norm, weights=self.threat.weights)


@dataclass(frozen=True, kw_only=True)
class ManyStepTraining(AttackedTraining):
    """With as many steps as are asked for.

    Args:
        attack_steps: of the inner maximisation.
        relative_step: its step size as a share of the norm's eps; by default 2.5 / attack_steps,
            and 1.25 of a single step.
    """

    attack_steps: int = parameter(10, low=1)
    relative_step: float | None = parameter(None, low=1e-9)

    @property
    def ascent(self) -> Ascent:
        """The inner maximisation within the threat's norm."""
        return self.ascent_within(self.threat.norm)

    def ascent_within(self, norm: str) -> Ascent:
        """The inner maximisation within one norm."""
        return pgd(norm, self.attack_steps, self.relative_step, weights=self.threat.weights)

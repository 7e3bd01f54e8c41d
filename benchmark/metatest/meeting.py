"""How a cell's model meets attack families: with which budgets, and which of them it knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmark.datasets import Dataset
from benchmark.metatest import families
from benchmark.metatest.attacks import Attacker
from benchmark.metatest.protocol import Protocol
from benchmark.metatest.sequence.settings import Arrivals


@dataclass(frozen=True)
class Meeting:
    """What one cell measures attack families with, one by one or one after the other.

    Args:
        protocol: how much.
        dataset: supports of its training part, queries of its test part.
        norm: of the run.
        budgets: norm to eps.
        seed: of the data set's split.
        met: families that the model was trained on, besides those of norms.
    """

    protocol: Protocol | Arrivals
    dataset: Dataset
    norm: str
    budgets: Mapping[str, float]
    seed: int
    met: tuple[str, ...] = ()

    def attacker(self, name: str) -> Attacker:
        """A family with its budget."""
        shape, steps = self.dataset.input_shape, self.protocol.attack_steps
        return Attacker.within(self.budgets, name, shape, steps=steps)

    def role(self, name: str) -> str:
        """The part that a family plays for this model."""
        return families.role(name, self.norm, self.met)

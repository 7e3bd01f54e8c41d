"""Choosing a model's rate and steps: on the validation family and validation examples alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.datasets import Dataset
from benchmark.metatest.attacks import Attacker
from benchmark.metatest.episodes import draw_episode, run_episode
from benchmark.metatest.model import Adaptable
from benchmark.metatest.protocol import Protocol
from benchmark.metatest.summary import area
from defenses.cost import Cost


@dataclass(frozen=True)
class Tuning:
    """What was chosen.

    Args:
        rate: with the largest area under the curve over steps, averaged over supports; the
            smallest of equals.
        steps: where that rate's curve, averaged over supports, is highest; the fewest of equals,
            0 where no adaptation helps.
        accuracy: (rates, shots, steps), the means that this was chosen by.
        cost: of all of it.
    """

    rate: float
    steps: int
    accuracy: np.ndarray
    cost: Cost


def tune(
    model: Adaptable, protocol: Protocol, dataset: Dataset, attacker: Attacker, *, seed: int
) -> Tuning:
    """Every rate on the same episodes under `attacker`, the validation family."""
    cost = Cost()
    accuracy = np.zeros((len(protocol.rates), len(protocol.shots), len(protocol.steps)))
    for number in range(protocol.tuning_episodes):
        episode = draw_episode(protocol, dataset, attacker, number=number, seed=seed, tuning=True)
        for place, rate in enumerate(protocol.rates):
            curves = run_episode(model, episode, protocol, rate=rate)
            accuracy[place] += curves.correct / protocol.tuning_episodes
            cost += curves.adapting + curves.measuring
    return choose(protocol, accuracy, cost)


def choose(protocol: Protocol, accuracy: np.ndarray, cost: Cost) -> Tuning:
    """The choice from accuracies (rates, shots, steps); n = 0 has no part in it."""
    adapted = [row for row, shots in enumerate(protocol.shots) if shots]
    curves = accuracy[:, adapted].mean(axis=1)  # (rates, steps)
    best = int(np.argmax(area(curves, protocol.steps)))
    steps = protocol.steps[int(np.argmax(curves[best]))]
    return Tuning(protocol.rates[best], steps, accuracy, cost)

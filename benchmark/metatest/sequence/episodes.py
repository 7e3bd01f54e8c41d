"""One episode of a sequence: families arrive, the model learns each, and all are measured.

    theta_0 = theta
    for family i of 1 .. T, with a support S_i of its own:
        for each round: x_S_adv = A_i(f_theta, S_i), then some steps of gradient descent on
            finetune        mean l(f(x_S_adv), y)
            logit-distance  the same + w mean ||f(x_S_adv) - f(x_S)||^2
            rehearsal       x_S_adv together with A_j(f_theta, S_j) of an earlier j, in turn
        for each family j of 1 .. T: x_Q_adv = A_j(f_theta, Q), white-box, and what stays right

The penalty is that of continual robust training (Dai et al. 2025). Examples, starts and places are
drawn from the seed of the data's split, the episode's number, and the place in the sequence: every
model and every learner meets the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.datasets import Dataset
from benchmark.metatest.attacks import Attacker, Draw
from benchmark.metatest.model import Adaptable
from benchmark.metatest.sequence.settings import DISTANCE, NONE, REHEARSAL, Arrivals
from defenses.cost import Cost

# Keeps these draws apart from others of the same seed.
_STREAM = 0x5E90


@dataclass(frozen=True)
class Arrival:
    """A family with what it brings.

    Args:
        attacker: the family.
        x, y: its labelled examples of the training part.
        draws: of the attack on them, one for each round.
        query_draw: of the attack on the queries, the same after every arrival.
    """

    attacker: Attacker
    x: np.ndarray
    y: np.ndarray
    draws: tuple[Draw, ...]
    query_draw: Draw

    def attacked(self, model: Adaptable, turn: int) -> np.ndarray:
        """Its examples, attacked against the model as it is."""
        return self.attacker.perturb(model, self.x, self.y, self.draws[turn]).x_adv


@dataclass(frozen=True)
class Episode:
    """One draw: what arrives, and the queries (n, ...) with their labels."""

    arrivals: tuple[Arrival, ...]
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Found:
    """Shares of the queries that stay right.

    Args:
        correct: under each family (columns) after each arrival (rows), (T, T).
        worst: under all families that have arrived by then together, (T,).
        clean: before any attack, (T,).
        given_up: of `correct` that for which the attack gave nothing valid, (T, T).
        adapting: attacks on supports and descent.
        measuring: attacks on queries.
    """

    correct: np.ndarray
    worst: np.ndarray
    clean: np.ndarray
    given_up: np.ndarray
    adapting: Cost
    measuring: Cost


def draw_episode(
    protocol: Arrivals,
    dataset: Dataset,
    attackers: Sequence[Attacker],
    *,
    number: int,
    seed: int,
    tuning: bool = False,
) -> Episode:
    """The episode of a number; while tuning, test examples are left alone."""

    def generator(*purpose: int) -> np.random.Generator:
        return np.random.default_rng([seed, _STREAM, int(tuning), number, *purpose])

    part = (
        (dataset.x_validation, dataset.y_validation) if tuning else (dataset.x_test, dataset.y_test)
    )
    index = generator(0).choice(len(part[1]), protocol.queries, replace=False)
    x, y = part[0][index], part[1][index]
    arrivals = []
    for place, attacker in enumerate(attackers):
        of_support, of_query = generator(1, place), generator(2, place)
        chosen = of_support.choice(len(dataset.y_train), protocol.labels, replace=False)
        support = dataset.x_train[chosen]
        draws = tuple(attacker.draw(of_support, support.shape) for _ in range(protocol.rounds))
        drawn = attacker.draw(of_query, x.shape)
        arrivals.append(Arrival(attacker, support, dataset.y_train[chosen], draws, drawn))
    return Episode(tuple(arrivals), x, y)


def run_episode(
    model: Adaptable,
    episode: Episode,
    protocol: Arrivals,
    learner: str,
    setting: Mapping[str, float],
) -> Found:
    """Learn and measure; the model is left wherever the last step took it."""
    model.spent()
    model.restore()
    adapting, measuring = Cost(), Cost()
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for place in range(len(episode.arrivals)):
        if learner != NONE:
            _learn(model, episode.arrivals[: place + 1], protocol, learner, setting)
        adapting += model.spent()
        if learner != NONE or not rows:  # what stays as it was is measured once
            rows.append(_stays(model, episode))
        measuring += model.spent()
    rows *= len(episode.arrivals) if learner == NONE else 1
    # (T, T, n), (T, n), (T, T, n)
    stays, clean, given_up = (np.stack(parts) for parts in zip(*rows, strict=True))
    together = [stays[place, : place + 1].all(axis=0) for place in range(len(stays))]
    return Found(
        stays.mean(axis=2),
        np.stack(together).mean(axis=1),
        clean.mean(axis=1),
        given_up.mean(axis=2),
        adapting,
        measuring,
    )


def _learn(
    model: Adaptable,
    arrivals: Sequence[Arrival],
    protocol: Arrivals,
    learner: str,
    setting: Mapping[str, float],
) -> None:
    """The last of the families that have arrived."""
    *earlier, new = arrivals
    steps, rate = protocol.steps, setting["rate"]
    for turn in range(protocol.rounds):
        x_adv, y = new.attacked(model, turn), new.y
        if learner == DISTANCE:
            weight = setting["distance_weight"]
            model.descend(x_adv, y, steps=steps, rate=rate, clean=new.x, distance_weight=weight)
            continue
        if learner == REHEARSAL and earlier:
            old = earlier[turn % len(earlier)]
            x_adv = np.concatenate([x_adv, old.attacked(model, turn)])
            y = np.concatenate([y, old.y])
        model.descend(x_adv, y, steps=steps, rate=rate)


def _stays(model: Adaptable, episode: Episode) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which queries stay right under each family, (T, n), and which are right before, (n,).

    And which of the former the attack gave up, (T, n).
    """
    x, y = episode.x, episode.y
    right = model.predict(x) == y
    made = [one.attacker.perturb(model, x, y, one.query_draw) for one in episode.arrivals]
    stays = np.stack([right & (model.predict(one.x_adv) == y) for one in made])
    return stays, right, stays & np.stack([one.given_up for one in made])

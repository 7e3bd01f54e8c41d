"""Episodes: a support to adapt to, queries to measure on, and the curves that come of them.

    x_S_adv = A(f_theta, S), once, before any step              the largest support; smaller ones
                                                                are its first examples
    for each n, from theta:
        theta_k = k steps of gradient descent on the first n of x_S_adv; where a training learned
                  rates by layer, they are factors of the tuned rate
        at each checkpoint k: x_Q_adv = A(f_theta_k, Q), white-box, and the share that stays right

The same images, starts and places come to every model: they are drawn from the split's seed, the
family and the episode's number, and not from the training's seed.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.datasets import Dataset
from benchmark.datasets.examples import Examples
from benchmark.metatest.attacks import Attacker, Draw
from benchmark.metatest.model import Adaptable
from benchmark.metatest.protocol import Protocol
from defenses.cost import Cost

Part = tuple[np.ndarray, np.ndarray]

# Keeps these draws apart from others of the same seed.
_STREAM = 0xE915


@dataclass(frozen=True)
class Query:
    """An attack on the queries, with what it draws at random."""

    attacker: Attacker
    draw: Draw


@dataclass(frozen=True)
class Episode:
    """One draw.

    Args:
        support: labelled images of the training part, the largest support.
        query: labelled images of the test part; of the validation part where a rate is chosen.
        support_draw: of the attack on the support.
        own: the family that is adapted to.
        seen: the families that the model should not forget.
    """

    support: Part
    query: Part
    support_draw: Draw
    own: Query
    seen: tuple[Query, ...] = ()


@dataclass(frozen=True)
class Curves:
    """Shares of the queries that stay right, (shots, steps), and what it took.

    `seen` is (steps,), at the largest support, the mean over the seen families; None without any.
    `given_up` is (shots, steps): of what stays right, that for which the attack gave nothing valid.
    """

    correct: np.ndarray
    clean: np.ndarray
    given_up: np.ndarray
    seen: np.ndarray | None
    adapting: Cost
    measuring: Cost


def draw_episode(
    protocol: Protocol,
    dataset: Dataset,
    attacker: Attacker,
    seen: Sequence[Attacker] = (),
    *,
    number: int,
    seed: int,
    tuning: bool = False,
) -> Episode:
    """The episode of a number, for one family.

    Args:
        seed: of the data set's split.
        tuning: whether it serves to choose a rate; then test examples are left alone.
    """
    images = np.random.default_rng([seed, _STREAM, int(tuning), number])
    query_part = (
        (dataset.x_validation, dataset.y_validation) if tuning else (dataset.x_test, dataset.y_test)
    )
    support = _some((dataset.x_train, dataset.y_train), protocol.support, images)
    query = _some(query_part, protocol.queries, images)

    def generator(family: str, purpose: int) -> np.random.Generator:
        crc = zlib.crc32(family.encode())
        return np.random.default_rng([seed, _STREAM, int(tuning), number, crc, purpose])

    queries = [
        Query(one, one.draw(generator(one.name, 1), query[0].shape)) for one in (attacker, *seen)
    ]
    support_draw = attacker.draw(generator(attacker.name, 0), support[0].shape)
    return Episode(support, query, support_draw, queries[0], tuple(queries[1:]))


def run_episode(model: Adaptable, episode: Episode, protocol: Protocol, *, rate: float) -> Curves:
    """Adapt and measure at every n and k; the model is left wherever the last step took it."""
    shape = len(protocol.shots), len(protocol.steps)
    correct, clean, given_up = np.empty(shape), np.empty(shape), np.empty(shape)
    seen = np.empty(shape[1]) if episode.seen else None
    model.spent()
    model.restore()
    x, y = episode.support
    x_adv = episode.own.attacker.perturb(model, x, y, episode.support_draw).x_adv
    adapting, measuring = model.spent(), Cost()
    clean[:], correct[:], given_up[:] = _measure(model, episode.query, episode.own)
    if seen is not None:
        seen[:] = _forgotten(model, episode)
    for row, shots in enumerate(protocol.shots):
        if not shots:
            continue
        measuring += model.spent()
        model.restore()
        for column in range(1, len(protocol.steps)):
            more = protocol.steps[column] - protocol.steps[column - 1]
            model.descend(x_adv[:shots], y[:shots], steps=more, rate=rate)
            adapting += model.spent()
            found = _measure(model, episode.query, episode.own)
            clean[row, column], correct[row, column], given_up[row, column] = found
            if seen is not None and shots == protocol.support:
                seen[column] = _forgotten(model, episode)
            measuring += model.spent()
    return Curves(correct, clean, given_up, seen, adapting, measuring + model.spent())


def _measure(model: Adaptable, query: Part, attack: Query) -> tuple[float, float, float]:
    """Shares that are right before an attack on the model as it is, and before and after.

    And of the latter what the attack gave up.
    """
    x, y = query
    right = model.predict(x) == y
    x_adv, given_up = attack.attacker.perturb(model, x, y, attack.draw)
    stays = right & (model.predict(x_adv) == y)
    return float(right.mean()), float(stays.mean()), float((stays & given_up).mean())


def _forgotten(model: Adaptable, episode: Episode) -> float:
    """The mean accuracy under the seen families."""
    return float(np.mean([_measure(model, episode.query, one)[1] for one in episode.seen]))


def _some(part: tuple[Examples, np.ndarray], size: int, generator: np.random.Generator) -> Part:
    index = generator.choice(len(part[1]), size, replace=False)
    return part[0][index], part[1][index]

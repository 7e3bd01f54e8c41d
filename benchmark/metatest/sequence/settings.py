"""How much of a sequence of attack families is measured, and what of it the data can give."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from benchmark.digest import digest
from benchmark.errors import ConfigError
from benchmark.metatest import families
from benchmark.metatest.parsing import (
    Count,
    EpisodeCount,
    Rates,
    fitting,
    named,
    names_of,
    read,
    told,
)
from benchmark.metatest.protocol import Families
from benchmark.results.records import SequenceRecord

if TYPE_CHECKING:
    from benchmark.datasets import Dataset

NAME = "sequence"  # of the protocol

NONE, FINETUNE, DISTANCE, REHEARSAL = "none", "finetune", "logit-distance", "rehearsal"
LEARNERS: dict[str, str] = {
    NONE: "stays as it was trained",
    FINETUNE: "gradient descent on the new family's attacked examples",
    DISTANCE: "the same, with a penalty on the squared distance of attacked from clean logits",
    REHEARSAL: "on as many attacked examples of an earlier family besides, each in turn",
}


def _several(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) < 2:
        raise ValueError("must name two or more, or nothing arrives that could be forgotten")
    return names


@dataclass(frozen=True)
class Arrivals:
    """The size of the measurement.

    Args:
        families: that arrive, in this order.
        labels: labelled training examples that each brings.
        rounds: for each family; in each, its examples are attacked anew and learned.
        steps: of gradient descent a round.
        learners: names of `LEARNERS`.
        episodes: draws of all supports and queries.
        queries: test examples, attacked white-box by every family after every arrival.
        attack_steps: of gradient attacks.
        rates: that are tried.
        distance_weights: of the penalty, that are tried.
        tuning_episodes: for each setting that is tried.
    """

    families: Annotated[Families, AfterValidator(_several)] = (
        "linf",
        "l2",
        "universal",
        "patch",
        "linf-large",
    )
    labels: Count = 200
    rounds: Count = 5
    steps: Count = 5
    learners: Annotated[tuple[str, ...], named("learner", LEARNERS)] = tuple(LEARNERS)
    episodes: EpisodeCount = 20
    queries: Count = 50
    attack_steps: Count = 20
    rates: Rates = (0.003, 0.01, 0.03, 0.1)
    distance_weights: Rates = (0.01, 0.1, 1.0)
    tuning_episodes: Count = 2

    def settings(self) -> dict[str, Any]:
        """Everything but the learners, as JSON values: what a stage's key depends on."""
        return told(self, without=("learners",)) | {"version": SequenceRecord.VERSION}

    def keys(self) -> dict[str, str]:
        """Learner to the key of its stage in the store."""
        return {name: f"{name}-{digest(self.settings())[:8]}" for name in self.learners}

    def grid(self, learner: str) -> list[dict[str, float]]:
        """The settings of a learner that are tried."""
        if learner == NONE:
            return [{}]
        if learner != DISTANCE:
            return [{"rate": rate} for rate in self.rates]
        weights = self.distance_weights
        return [{"rate": rate, "distance_weight": w} for rate in self.rates for w in weights]

    def gradient_evaluations(self, learner: str) -> float:
        """About what a learner takes: attacks on supports, descent, attacks on queries."""
        return self._tuning(learner) + self.episodes * self._episode(learner, len(self.families))

    def share_of_tuning(self, learner: str) -> float:
        """Of a learner's whole time, roughly."""
        return self._tuning(learner) / self.gradient_evaluations(learner)

    def _tuning(self, learner: str) -> float:
        """Of the episodes of two families that settings are chosen on."""
        grid = len(self.grid(learner))
        tried = grid * self.tuning_episodes if grid > 1 else 0
        return tried * self._episode(learner, 2)

    def _episode(self, learner: str, families: int) -> float:
        """Of an episode with so many families, by gradient ascent each.

        An attack asks the model for its logits before, and one on queries for its answer after.
        """
        asked = self.queries * (families * (self.attack_steps + 2 / 3) + 1 / 3)
        if learner == NONE:  # asked once, since it stays as it was
            return asked
        # The first family has none before it to go back to; clean logits are a descent's second
        attacks = 2 * families - 1 if learner == REHEARSAL else families
        descents = 2 * families if learner == DISTANCE else attacks
        taken = attacks * (self.attack_steps + 1 / 3) + descents * self.steps
        return self.labels * self.rounds * taken + families * asked


def resolve(settings: Mapping[str, Any]) -> Arrivals:
    """The protocol with these settings; raises `ConfigError` for unknown or wrong ones."""
    return read(Arrivals, settings, names_of(Arrivals))


def sized_for(
    protocol: Arrivals, dataset: Dataset, norm: str, *, given: Collection[str]
) -> Arrivals:
    """The protocol with families and numbers of examples that these data allow.

    The family that settings are chosen on doesn't arrive, unless it was asked for.

    Raises:
        ConfigError: a setting that was `given` asks for more.
    """
    arriving, shape = [], dataset.input_shape
    for name in protocol.families:
        obstacle = families.obstacle(name, shape)
        if "families" in given and obstacle:
            raise ConfigError(f"adaptation.families: {name} {obstacle}; leave it out")
        if "families" in given or not (obstacle or name == families.validation_family(norm)):
            arriving.append(name)
    queries = min(len(dataset.x_test), len(dataset.x_validation))
    asked = {
        "labels": (protocol.labels, len(dataset.x_train), "training part"),
        "queries": (protocol.queries, queries, "smaller of test and validation part"),
    }
    least = fitting(asked, dataset.name, given=given)
    return dataclasses.replace(
        protocol,
        families=tuple(arriving),
        labels=least["labels"],
        queries=least["queries"],
    )

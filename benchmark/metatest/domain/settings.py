"""How much of adaptation to another data set is measured, and whether that fits the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmark.digest import digest
from benchmark.errors import ConfigError
from benchmark.metatest.domain.target import converts
from benchmark.metatest.effort import of_autoattack
from benchmark.metatest.parsing import (
    Count,
    EpisodeCount,
    Rates,
    Wholes,
    from_,
    named,
    names_of,
    read,
    told,
)
from benchmark.metatest.readouts.names import READOUTS
from benchmark.metatest.readouts.table import grid_and_cost
from benchmark.metatest.scales import SCALES
from benchmark.results.records import DomainRecord
from defenses.cost import Cost, gradients
from defenses.perturbation.spec import pgd

if TYPE_CHECKING:
    from benchmark.datasets import Dataset

NAME = "domain"  # of the protocol

FINETUNE, ADVERSARIAL, SCRATCH = "finetune", "finetune-adv", "scratch-adv"
READING = ("centroid", "ridge")  # read-outs, which move no weights
METHODS: dict[str, str] = {
    FINETUNE: "the trained weights, on clean labelled examples",
    ADVERSARIAL: "the trained weights, on labelled examples that are attacked anew each round",
    SCRATCH: "the weights before any training, on the same attacked examples",
    **{name: READOUTS[name] for name in READING},
}


@dataclass(frozen=True)
class Domain:
    """The size of the measurement.

    Args:
        adapt_to: the other data set.
        fingerprint: of its examples, told by the plan.
        classes: of it, told by the plan; only what is to be expected depends on them.
        of_model: classes that the model is trained for, in the same way.
        resize: whether its images are made as large as the model takes them.
        shots: labelled examples a class; each number is measured apart.
        methods: names of `METHODS`.
        episodes: draws of labelled examples and queries.
        queries: of the other data set's test part, attacked white-box after adaptation, once for
            each scale of the logits.
        attack_steps: of PGD on queries.
        support_attack_steps: of PGD on labelled examples.
        rates: of gradient descent, that are tried; read-outs have settings of their own.
        rounds: that are tried.
        steps: of gradient descent a round.
        tuning_episodes: for each setting that is tried.
        autoattack_episodes: episodes whose queries are attacked by the suite autoattack, too.
    """

    adapt_to: str
    fingerprint: str = ""
    classes: int = 10
    of_model: int = 10
    resize: Annotated[bool, Field(strict=True)] = False
    shots: Wholes = (1, 5, 20)
    methods: Annotated[tuple[str, ...], named("method", METHODS)] = tuple(METHODS)
    episodes: EpisodeCount = 10
    queries: Count = 100
    attack_steps: Count = 20
    support_attack_steps: Count = 10
    rates: Rates = (0.03, 0.1, 0.3)
    rounds: Wholes = (4, 20)
    steps: Count = 5
    tuning_episodes: Count = 1
    autoattack_episodes: Annotated[int, from_(0)] = 1

    def settings(self) -> dict[str, Any]:
        """What a key depends on, as JSON values: not the methods, the name, what follows of it."""
        without = ("methods", "adapt_to", "classes", "of_model")
        return told(self, without=without) | {"version": DomainRecord.VERSION}

    def keys(self) -> dict[str, str]:
        """Method to the key of its stage in the store."""
        return {name: f"{name}-{digest(self.settings())[:8]}" for name in self.methods}

    def grid(self, *, renews: bool) -> list[dict[str, float]]:
        """The settings that are tried; each with the last layer begun anew where that `renews`."""
        return [
            {"rate": rate, "rounds": count, "new_head": new_head}
            for new_head in ((0, 1) if renews else (0,))
            for rate in self.rates
            for count in self.rounds
        ]

    def gradient_evaluations(self, method: str) -> float:
        """About what a method takes: adapting, and attacks on queries, with all numbers of labels.

        The setting that is chosen is taken for the dearest: most rounds are chosen most often.
        """
        adapting = 0.0
        for shots in self.shots:
            fits = self._fits(method, self.classes * shots)
            adapting += self.tuning_episodes * sum(fits) + self.episodes * max(fits)
        attacked = self.tuning(len(self._tried(method))) + self.measuring()
        return adapting + len(self.shots) * self.queries * attacked

    def _tried(self, method: str) -> Sequence[Mapping[str, float]]:
        """The settings of a method that are tried, if the model's last layer can be begun anew."""
        if method in READING:
            return grid_and_cost(method)[0]
        return self.grid(renews=method != SCRATCH and self.classes == self.of_model)

    def _fits(self, method: str, labels: int) -> list[float]:
        """What adapting to so many labelled examples takes with each setting that is tried."""
        ascent = pgd("linf", self.support_attack_steps)  # under any norm it costs the same
        if method in READING:
            grid, cost = grid_and_cost(method)
            return [cost(labels, one, ascent).gradient_evaluations for one in grid]
        attack = Cost() if method == FINETUNE else ascent.cost(labels)
        a_round = attack + gradients(labels) * self.steps
        return [one["rounds"] * a_round.gradient_evaluations for one in self._tried(method)]

    def share_of_tuning(self, tries: int) -> float:
        """Of the time that a number of shots takes, roughly, where so many settings are tried."""
        tuning = self.tuning(tries)
        return tuning / (tuning + self.measuring())

    def tuning(self, tries: int) -> float:
        """About what attacks take of a query while so many settings are tried."""
        return tries * self.tuning_episodes * self._attacked

    def measuring(self, episodes: int | None = None) -> float:
        """About what attacks take of a query in all episodes that count, or the first so many."""
        episodes = self.episodes if episodes is None else episodes
        strongest = min(self.autoattack_episodes, episodes) * of_autoattack(self.classes)
        return episodes * self._attacked + strongest

    @property
    def _attacked(self) -> float:
        """What a query takes in an episode: asked once before attacks, and once after each."""
        return (1 + len(SCALES)) / 3 + len(SCALES) * self.attack_steps


def resolve(settings: Mapping[str, Any]) -> Domain:
    """The protocol with these settings; raises `ConfigError` for unknown or wrong ones."""
    by_plan = ("fingerprint", "classes", "of_model")
    known = [name for name in names_of(Domain) if name not in by_plan]
    if settings.keys() <= set(known) and not isinstance(settings.get("adapt_to"), str):
        raise ConfigError("--protocol domain needs --adapt-to DATASET, which it adapts to")
    return read(Domain, settings, known)


def sized_for(
    protocol: Domain, dataset: Dataset, target: Dataset, *, given: Collection[str]
) -> Domain:
    """The protocol with no more shots and queries than the other data have, of which it then tells.

    Raises:
        ConfigError: their inputs are of another shape and not to be resized, a class has no
            training example or a part none at all, or a setting that was `given` asks for more
            than there is.
    """
    shape, other = dataset.input_shape, target.input_shape
    sizes = f"{target.name} has inputs of {_sizes(other)}, {dataset.name} of {_sizes(shape)}"
    if other != shape and not len(other) == len(shape) == 3:
        raise ConfigError(f"adapt-to: {sizes}; only images can be resized to others")
    if other[-1] != shape[-1] and not converts(other[-1], shape[-1]):
        raise ConfigError(
            f"adapt-to: {sizes}; only grey is repeated to more channels, and colours become grey"
        )
    if other != shape and not protocol.resize:
        raise ConfigError(
            f"adapt-to: {sizes}; give --set adaptation.resize=true to make them alike, or another "
            "data set"
        )
    counts = np.bincount(target.y_train, minlength=target.classes)
    most, rarest = int(counts.min()), target.class_names[int(counts.argmin())]
    there = min(len(target.x_test), len(target.x_validation))
    if not most or not there:
        lacks = f"class {rarest!r} has no example to train on"
        lacks = lacks if there else "its test or its validation part has no example"
        raise ConfigError(f"adapt-to: {target.name} can't be adapted to: {lacks}")
    if "shots" in given and most < max(protocol.shots):
        raise ConfigError(
            f"shots {max(protocol.shots)} a class are asked for, class {rarest!r} of "
            f"{target.name} has {most} to train on; lower --shots"
        )
    if "queries" in given and protocol.queries > there:
        raise ConfigError(
            f"queries {protocol.queries} are asked for, the smaller of test and validation part "
            f"of {target.name} has {there}; lower --queries"
        )
    return dataclasses.replace(
        protocol,
        shots=tuple(sorted({min(shots, most) for shots in protocol.shots})),
        queries=min(protocol.queries, there),
        fingerprint=target.fingerprint,
        classes=target.classes,
        of_model=dataset.classes,
    )


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))

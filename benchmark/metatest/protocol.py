"""How much of adaptation is measured: presets, what may be set on top, and what it costs."""

from __future__ import annotations

import dataclasses
import functools
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
    several,
    told,
)
from benchmark.results.records import FamilyRecord

if TYPE_CHECKING:
    from benchmark.datasets import Dataset


TUNING = "tuning"  # of a model's rate and steps

# Gradient evaluations of an example that an attack of ART takes, whatever the protocol's steps;
# those of others are about as many as the steps, but for jsma's, which grow with the inputs.
_OF_LIBRARY: Mapping[str, float] = {"elastic-net": 108, "square": 17, "spatial": 10}


def _from_zero(counts: tuple[int, ...]) -> tuple[int, ...]:
    if not any(counts):
        raise ValueError("has nothing above 0, so nothing would be adapted")
    return tuple(sorted({0, *counts}))


Counts = Annotated[tuple[int, ...], several(0), AfterValidator(_from_zero)]
Families = Annotated[tuple[str, ...], named("attack family", families.FAMILIES)]


@dataclass(frozen=True)
class Protocol:
    """The size of the measurement.

    Args:
        families: names in `families.FAMILIES`.
        shots: n, sizes of the support; 0 is the model before adaptation.
        steps: k, gradient steps at which it is measured, ascending; 0 is always shown.
        episodes: draws of support and queries.
        queries: test examples of an episode.
        attack_steps: of gradient attacks, on supports and queries.
        rates: of the adaptation, one of which is chosen on the validation family.
        tuning_episodes: on validation data, for each rate.
    """

    families: Families
    shots: Counts
    steps: Counts
    episodes: EpisodeCount
    queries: Count
    attack_steps: Count
    rates: Rates
    tuning_episodes: Count

    def gradient_evaluations(self, norm: str) -> float:
        """About what a model's measurement takes, in a run under `norm`."""
        return self.of_tuning() + sum(self.of_family(name, norm) for name in self.families)

    def of_tuning(self) -> float:
        """About what choosing rate and steps takes, on a family of gradient ascent."""
        each = self._adapting(self.attack_steps) + self._measuring(self.attack_steps)
        return self.tuning_episodes * len(self.rates) * each

    def of_family(self, name: str, norm: str) -> float:
        """About what all episodes of a family take, with those that may be forgotten.

        Of a training that met other families these are more.
        """
        lp = [one for one in self.families if families.role(one, norm) == families.SEEN] or [norm]
        others = len([one for one in lp if one != name])
        seen = others * len(self.steps) * self.queries * (self.attack_steps + 1)
        attack = _OF_LIBRARY.get(name, self.attack_steps)
        return self.episodes * (self._adapting(attack) + self._measuring(attack) + seen)

    def _adapting(self, attack: float) -> float:
        """Of an episode: `attack` and the logits before it on the support, and descent."""
        return self.support * (attack + 1 / 3) + sum(self.shots) * self.steps[-1]

    def _measuring(self, attack: float) -> float:
        """Of an episode: queries asked, attacked and asked again, before and while adapting."""
        adapted = [shots for shots in self.shots if shots]
        return self.queries * (attack + 1) * (1 + len(adapted) * (len(self.steps) - 1))

    @property
    def support(self) -> int:
        """Examples of the largest support, which all smaller ones are the beginning of."""
        return max(self.shots)

    def settings(self) -> dict[str, Any]:
        """Everything but the families, as JSON values: what a stage's key depends on."""
        return told(self, without=("families",)) | {"version": FamilyRecord.VERSION}

    def keys(self) -> dict[str, str]:
        """Name of a family to its key in the store, and TUNING to that of the tuning."""
        settings = self.settings()
        rows = {name: dataclasses.asdict(families.family(name)) for name in self.families}
        keys = {name: f"{name}-{digest([row, settings])[:8]}" for name, row in rows.items()}
        return {TUNING: f"{TUNING}-{digest(settings)[:8]}", **keys}


PRESETS: dict[str, Protocol | None] = {
    # Three episodes leave intervals of 18 points: enough to see that all works, not to conclude.
    "brief": Protocol(
        families=("linf", "linf-large", "universal"),
        shots=(0, 10, 50),
        steps=(0, 1, 5, 20),
        episodes=3,
        queries=40,
        attack_steps=10,
        rates=(0.003, 0.03),
        tuning_episodes=1,
    ),
    "adapt": Protocol(
        # Square and elastic-net take several times as long as all of these together.
        families=("linf", "l2", "l1", "linf-large", "universal", "patch", "jsma", "spatial"),
        shots=(0, 5, 10, 50, 100),
        steps=(0, 1, 2, 5, 10, 20),
        episodes=100,
        queries=20,
        attack_steps=20,
        rates=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
        tuning_episodes=10,
    ),
    "none": None,
}


def resolve(preset: str, settings: Mapping[str, Any]) -> Protocol | None:
    """A preset with `settings` on top; None where nothing is to be measured.

    Raises:
        ConfigError: an unknown setting or family, or a value that is not allowed.
    """
    protocol = PRESETS[preset]
    if protocol is None:
        if settings:
            raise ConfigError(
                "adaptation has settings, but protocol 'none' measures none of it; "
                "give --protocol brief, adapt, few-shot, sequence or domain"
            )
        return None
    make = functools.partial(dataclasses.replace, protocol)
    return read(make, settings, names_of(protocol))


def sized_for(protocol: Protocol, dataset: Dataset, *, given: Collection[str]) -> Protocol:
    """The protocol with no more shots and queries than the data have.

    Raises:
        ConfigError: a setting that was `given` asks for more.
    """
    training = len(dataset.x_train)
    queries = min(len(dataset.x_test), len(dataset.x_validation))
    asked = {
        "shots": (protocol.support, training, "training part"),
        "queries": (protocol.queries, queries, "smaller of test and validation part"),
    }
    fitting(asked, dataset.name, given=given)
    return dataclasses.replace(
        protocol,
        shots=tuple(sorted({min(shots, training) for shots in protocol.shots})),
        queries=min(protocol.queries, queries),
    )

"""How much of adaptation to new classes is measured, and what of it the data can give."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from benchmark.digest import digest
from benchmark.errors import ConfigError, shortened
from benchmark.metatest.effort import of_autoattack
from benchmark.metatest.fewshot.episodes import surely_left
from benchmark.metatest.parsing import (
    Count,
    EpisodeCount,
    Wholes,
    from_,
    listed,
    named,
    names_of,
    read,
    several,
    told,
    whole,
)
from benchmark.metatest.readouts.names import READOUTS
from benchmark.metatest.readouts.table import grid_and_cost
from benchmark.metatest.scales import SCALES
from benchmark.results.records import FewShotRecord
from defenses.adaptation.spec import Adaptation
from defenses.perturbation.spec import pgd

if TYPE_CHECKING:
    from benchmark.datasets import Dataset
    from benchmark.datasets.dataset import Pool

NAME = "few-shot"  # of the protocol
STORED = "stored"
_QUERIES = 5


def _queries(value: Any) -> tuple[int, bool]:
    """From "15", "stored" or "15,stored", or what that was made into."""
    parts = listed(value)
    flags = [p for p in parts if isinstance(p, bool) or p == STORED]
    numbers = [p for p in parts if not isinstance(p, bool) and p != STORED]
    if len(numbers) > 1 or len(flags) > 1:
        raise ValueError(f"must be one number, {STORED} or both, got {shortened(value)}")
    return (whole(numbers[0]) if numbers else _QUERIES), bool(flags and flags[0])


@dataclass(frozen=True)
class FewShot:
    """The size of the measurement.

    Args:
        ways: classes of an episode; several are measured apart, as shots are.
        shots: labelled examples a class, the support.
        queries: examples a class that are attacked after adaptation, and whether they are also
            attacked once before it ("stored").
        episodes: of each read-out, ways and shots.
        readouts: names of `READOUTS`.
        attack_steps: of PGD on queries, white-box through the adapted model.
        support_attack_steps: of PGD on supports, by read-outs that attack them.
        tuning_episodes: on validation classes, for each setting that is tried.
        autoattack_episodes: episodes whose queries are attacked by the suite autoattack, too.
        groups_apart: whether queries are of other groups than supports; told by the plan, from the
            data.
    """

    ways: Annotated[tuple[int, ...], several(2)] = (5,)
    shots: Wholes = (1, 5)
    queries: Annotated[tuple[int, bool], BeforeValidator(_queries)] = (_QUERIES, False)
    episodes: EpisodeCount = 600
    readouts: Annotated[tuple[str, ...], named("read-out", READOUTS)] = tuple(READOUTS)
    attack_steps: Count = 20
    support_attack_steps: Count = 10
    tuning_episodes: EpisodeCount = 20
    autoattack_episodes: Annotated[int, from_(0)] = 5
    groups_apart: bool = False

    @property
    def query_shots(self) -> int:
        """Queries a class."""
        return self.queries[0]

    @property
    def stored(self) -> bool:
        """Whether queries that were attacked before adaptation are measured, too."""
        return self.queries[1]

    def keys(self) -> dict[tuple[str, int, int], str]:
        """(read-out, ways, shots) to the key of its stage in the store."""
        shared = told(self, without=("ways", "shots", "readouts", "groups_apart"))
        shared |= {"version": FewShotRecord.VERSION}
        # What most data lack is left out, so that their keys stay
        shared |= {"groups_apart": True} if self.groups_apart else {}
        return {
            (name, ways, shots): f"{name}-{ways}way-{shots}shot-{digest([ways, shots, shared])[:8]}"
            for name in self.readouts
            for ways in self.ways
            for shots in self.shots
        }

    def gradient_evaluations(
        self, readout: str, ways: int, shots: int, adaptation: Adaptation
    ) -> float:
        """About what a read-out takes on test and on validation classes: fitting it to supports,
        and attacks on queries.

        The setting that is chosen is taken for the dearest: most steps are chosen most often.
        `adaptation` is the defense's own.
        """
        grid, cost = grid_and_cost(readout, adaptation)
        ascent = pgd(adaptation.norm, self.support_attack_steps)
        fits = [cost(ways * shots, one, ascent).gradient_evaluations for one in grid]
        chosen = max(fits)
        fitting = self.tuning_episodes * (sum(fits) + (len(SCALES) - 1) * chosen)
        fitting += self.episodes * chosen
        tries = len(grid) + len(SCALES) - 1
        return fitting + ways * self.query_shots * (self.tuning(tries) + self.measuring(ways))

    def share_of_tuning(self, tries: int, ways: int) -> float:
        """Of a read-out's whole time, roughly, where so many settings are tried."""
        tuning = self.tuning(tries)
        return tuning / (tuning + self.measuring(ways))

    def tuning(self, tries: int) -> float:
        """About what it takes of a query to try so many settings."""
        return tries * self.tuning_episodes * (self.attack_steps + 1)

    def measuring(self, ways: int, episodes: int | None = None) -> float:
        """About what all test episodes, or the first so many, take of a query."""
        episodes = self.episodes if episodes is None else episodes
        strongest = min(self.autoattack_episodes, episodes) * of_autoattack(ways)
        attacks = 2 if self.stored else 1
        return episodes * attacks * (self.attack_steps + 1) + strongest


def resolve(settings: Mapping[str, Any]) -> FewShot:
    """The protocol with these settings; raises `ConfigError` for unknown or wrong ones."""
    known = [name for name in names_of(FewShot) if name != "groups_apart"]
    return read(FewShot, settings, known)


def keeps_apart(dataset: Dataset) -> bool:
    """Whether queries are of other groups than supports: where both are of examples in groups."""
    return any(pool.groups is not None for pool in dataset.novel.values())


def check(protocol: FewShot, dataset: Dataset) -> FewShot:
    """The protocol with what the data say; `ConfigError` for ways or shots they can't give."""
    for part, pool in dataset.novel.items():
        there, ways = len(pool.class_names), max(protocol.ways)
        # Settings are chosen on fewer ways where there are fewer validation classes.
        if part == "test" and ways > there:
            raise ConfigError(
                f"ways {ways} is more than the {there} test classes; lower --ways, or give another "
                "--split"
            )
        _check_examples(protocol, part, pool)
        _check_groups(protocol, part, pool)
    return dataclasses.replace(protocol, groups_apart=keeps_apart(dataset))


def _check_examples(protocol: FewShot, part: str, pool: Pool) -> None:
    shots, queries = max(protocol.shots), protocol.query_shots
    asked = {"shots": (shots, pool.y_support), "queries": (queries, pool.y_query)}
    if pool.shared:
        asked = {"shots and queries": (shots + queries, pool.y_support)}
    for name, (count, y) in asked.items():
        counts = np.bincount(y, minlength=len(pool.class_names))
        if counts.min() < count:
            least = pool.class_names[int(counts.argmin())]
            raise ConfigError(
                f"{count} {name} a class are asked for, {part} class {least!r} has "
                f"{counts.min()} examples for them; lower them, or leave it out by --split"
            )


def _check_groups(protocol: FewShot, part: str, pool: Pool) -> None:
    if pool.groups is None:
        return
    shots, queries = max(protocol.shots), protocol.query_shots
    for label, name in enumerate(pool.class_names):
        groups = pool.groups[pool.y_support == label]
        if surely_left(groups, queries) < shots:
            raise ConfigError(
                f"{shots} shots and {queries} queries a class are asked for, of different groups; "
                f"{part} class {name!r} has {len(groups)} examples in {len(np.unique(groups))}, "
                "too few or too unequal for that; lower them, or leave it out by --split"
            )

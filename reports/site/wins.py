"""Trainings side by side, each less its strongest rival at no more compute: wins and losses."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reports.rows import Row, name_in_text
from reports.statistics import CONFIDENCE, Interval, across_seeds, of_differences, over_episodes

# A rival's compute, as a share of one's own: trainings end with a whole update.
NO_MORE = 1.05
Document = dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Training:
    """Models that differ in the seed alone: by seed their row, how they adapt, and (episodes,).

    `guessing`: those seeds whose model can't be told from guessing before an attack.
    """

    models: dict[int, tuple[Row, str, np.ndarray]]
    guessing: set[int] = field(default_factory=set)

    @property
    def row(self) -> Row:
        return next(iter(self.models.values()))[0]

    @property
    def mean(self) -> float:
        return float(np.mean([values for _, _, values in self.models.values()]))

    @property
    def guesses(self) -> bool:
        """Whether nothing was learned in any seed: a constant answer is robust, and useless."""
        return self.guessing == self.models.keys()

    @property
    def label(self) -> str:
        name = name_in_text(self.row.values)
        return f"{name}, {self.row.variant}" if self.row.variant else name

    def costs_no_more(self, other: _Training) -> bool:
        """Whether it is known to have taken no more compute, or was given as much."""
        ours, others = self.row.values, other.row.values
        if ours.budget_ge is not None and ours.budget_ge == others.budget_ge:
            return True
        mine, theirs = ours.training_gradient_evaluations, others.training_gradient_evaluations
        return mine is not None and theirs is not None and bool(mine <= NO_MORE * theirs)

    def interval(self, queries: int) -> Interval:
        values = np.stack([one for _, _, one in self.models.values()])
        if len(values) == 1:
            return over_episodes(values[0], queries=queries)
        found = across_seeds(values)
        return Interval(found.mean, found.low, found.high)


def document(
    found: Iterable[tuple[Row, str, np.ndarray]],
    what: str,
    *,
    queries: int,
    guessing: Collection[str] = (),
) -> list[Document]:
    """An entry for each training, the most robust first; a JSON value.

    "rival" is the most robust training of another defense that cost no more gradient evaluations,
    or was given as many, and has a seed in common; None where there is none. It is chosen by the
    same episodes, so that the intervals hold together for every pair that it was chosen from: their
    confidence is Bonferroni's for as many as there are. What guesses is no rival, and has none.

    Args:
        found: a model's row, how it adapts, and its accuracy in each episode, (episodes,).
        what: the entry's name of how it adapts.
        queries: of an episode.
        guessing: ids of the cells that can't be told from guessing before an attack.
    """
    trainings: dict[tuple[Any, ...], _Training] = {}
    for row, way, values in found:
        mine = trainings.setdefault(row.values.training, _Training({}))
        mine.models[row.values.seed] = row, way, values
        if row.values.cell_id in guessing:
            mine.guessing.add(row.values.seed)
    every = sorted(trainings.values(), key=lambda one: -one.mean)
    rivals = {one: [other for other in every if _may_be_rival(other, one)] for one in every}
    pairs = {frozenset((one, other)) for one, others in rivals.items() for other in others}
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(pairs))
    entries = []
    for one, others in rivals.items():
        rival = next(iter(others), None)  # the most robust
        ways = "/".join(dict.fromkeys(way for _, way, _ in one.models.values()))
        interval = vars(one.interval(queries))
        entry = {"label": one.label, what: ways, "seeds": len(one.models), **interval}
        entry |= {"guesses": one.guesses}
        entries.append(entry | {"rival": rival and _difference(one, rival, confidence)})
    return entries


def _may_be_rival(other: _Training, one: _Training) -> bool:
    differs = other.row.values.defense != one.row.values.defense
    in_common = one.models.keys() & other.models.keys()
    has_learned = not (one.guesses or other.guesses)
    return differs and has_learned and other.costs_no_more(one) and bool(in_common)


def _difference(one: _Training, rival: _Training, confidence: float) -> Document:
    seeds = sorted(one.models.keys() & rival.models.keys())
    apart = np.stack([one.models[seed][2] - rival.models[seed][2] for seed in seeds])
    low, high = of_differences(apart, confidence=confidence)
    verdict = "win" if low > 0 else "loss" if high < 0 else ""
    mean, alike = float(apart.mean()), not apart.any()
    told = {"label": rival.label, "mean": mean, "low": low, "high": high, "verdict": verdict}
    return told | {"alike": alike}

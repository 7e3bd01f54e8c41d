"""One learner of one cell: its settings chosen on validation data, then every episode."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.metatest import families
from benchmark.metatest.effort import part
from benchmark.metatest.meeting import Meeting
from benchmark.metatest.model import Adaptable
from benchmark.metatest.sequence.episodes import draw_episode, run_episode
from benchmark.metatest.sequence.settings import LEARNERS, NONE, Arrivals
from benchmark.metatest.summary import GIVEN_UP, difference, share, unmet
from benchmark.results import Record
from benchmark.text import reason_of
from defenses.cost import Cost

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Course(Meeting):
    """What one cell measures the families with, one after the other."""

    protocol: Arrivals

    def run(
        self,
        learner: str,
        model: Adaptable,
        progress: Callable[[float], None] = lambda done: None,
        numbers: Sequence[int] | None = None,
    ) -> tuple[Record, Arrays]:
        """The record and the arrays of a learner, or of some of its episodes.

        One that raises has its reason and no arrays.
        """
        record, started = self.about(learner), time.perf_counter()
        try:
            chosen = self.protocol.share_of_tuning(learner)
            setting, tuning = self._tuned(learner, model, part(progress, 0.0, chosen))
            numbers = range(self.protocol.episodes) if numbers is None else numbers
            rest = part(progress, chosen, 1.0)
            arrays, costs = self._measured(learner, model, setting, numbers, rest)
        except Exception as error:  # other people's model may raise anything
            traceback.print_exc()
            return {**record, "status": "failed", "reason": reason_of(error)}, {}
        found = {"setting": setting, "tuning": tuning, **costs}
        seconds = time.perf_counter() - started
        return record | found | self.summary(arrays) | {"seconds": seconds}, arrays

    def about(self, learner: str) -> Record:
        """What a record says before anything is measured."""
        protocol = self.protocol
        given = protocol.settings()
        return {
            **given,
            "learner": learner,
            "description": LEARNERS[learner],
            "norm": self.norm,
            "eps": [self.attacker(name).eps for name in protocol.families],
            "roles": [self.role(name) for name in protocol.families],
            "labels_used": 0 if learner == NONE else protocol.labels * len(protocol.families),
            "status": "ok",
            "reason": "",
        }

    def summary(self, arrays: Arrays) -> Record:
        """The means and intervals that follow from a stage's arrays."""
        queries, correct = self.protocol.queries, arrays["correct"]  # (episodes, T, T)
        so_far = [correct[:, place, : place + 1].mean(axis=1) for place in range(correct.shape[1])]
        learned = np.diagonal(correct, axis1=1, axis2=2)  # (episodes, T)
        lost = (correct[:, -1] - learned)[:, :-1].mean(axis=1)
        return {
            "accuracy": correct.mean(axis=0).tolist(),
            "mean": [vars(share(values, queries)) for values in so_far],
            "worst": [vars(share(values, queries)) for values in arrays["worst"].T],
            "clean": [vars(share(values, queries)) for values in arrays["clean"].T],
            "forgetting": vars(difference(lost)),
            GIVEN_UP: unmet(arrays),
        }

    def _tuned(
        self,
        learner: str,
        model: Adaptable,
        progress: Callable[[float], None] = lambda done: None,
    ) -> tuple[dict[str, float], Record]:
        """The setting that keeps most of the run's norm and the validation family, in a row."""
        names = (self.norm, families.validation_family(self.norm))
        grid, tried, cost = self.protocol.grid(learner), [], Cost()
        if len(grid) == 1:
            return grid[0], {"families": list(names), "tried": [], "cost": cost.as_record()}
        attackers = [self.attacker(name) for name in names]
        kept = np.zeros(len(grid))
        for number in range(self.protocol.tuning_episodes):
            episode = draw_episode(
                self.protocol, self.dataset, attackers, number=number, seed=self.seed, tuning=True
            )
            for place, setting in enumerate(grid):
                found = run_episode(model, episode, self.protocol, learner, setting)
                kept[place] += found.correct[-1].mean() / self.protocol.tuning_episodes
                cost += found.adapting + found.measuring
            progress((number + 1) / self.protocol.tuning_episodes)
        tried = [{**one, "mean": float(value)} for one, value in zip(grid, kept, strict=True)]
        told = {"families": list(names), "tried": tried, "cost": cost.as_record()}
        return grid[int(np.argmax(kept))], told

    def _measured(
        self,
        learner: str,
        model: Adaptable,
        setting: Mapping[str, float],
        numbers: Sequence[int],
        progress: Callable[[float], None],
    ) -> tuple[Arrays, Record]:
        attackers = [self.attacker(name) for name in self.protocol.families]
        found = []
        for done, number in enumerate(numbers, 1):
            episode = draw_episode(
                self.protocol, self.dataset, attackers, number=number, seed=self.seed
            )
            found.append(run_episode(model, episode, self.protocol, learner, setting))
            progress(done / len(numbers))
        # Of one episode: all of them cost about the same
        adapting = sum((one.adapting for one in found), Cost()) * (1 / len(found))
        measuring = sum((one.measuring for one in found), Cost()) * (1 / len(found))
        costs = {"cost": adapting.as_record(), "measuring_cost": measuring.as_record()}
        arrays = {
            name: np.stack([getattr(one, name) for one in found])
            for name in ("correct", "worst", "clean", GIVEN_UP)
        }
        return arrays, costs

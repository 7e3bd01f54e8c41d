"""What one cell's adaptation is measured with: the tuning, and every episode of a family."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.metatest import families
from benchmark.metatest.attacks import Attacker
from benchmark.metatest.episodes import Curves, draw_episode, run_episode
from benchmark.metatest.meeting import Meeting
from benchmark.metatest.model import Adaptable
from benchmark.metatest.protocol import Protocol
from benchmark.metatest.summary import GIVEN_UP, area, difference, share, shares, unmet
from benchmark.metatest.tuning import Tuning, choose, tune
from benchmark.results import Record
from benchmark.results.records import FamilyRecord
from benchmark.text import reason_of
from defenses.cost import Cost


@dataclass(frozen=True)
class Course(Meeting):
    """What one cell measures the families with, each by itself."""

    protocol: Protocol

    def seen(self) -> list[Attacker]:
        """The families that a model should not forget; the run's own where none was chosen."""
        seen = [n for n in self.protocol.families if self.role(n) == families.SEEN]
        return [self.attacker(name) for name in seen or [self.norm]]

    def tuning(self, model: Adaptable) -> Tuning:
        """The model's rate and steps."""
        attacker = self.attacker(families.validation_family(self.norm))
        return tune(model, self.protocol, self.dataset, attacker, seed=self.seed)

    def tuned(self, record: Record) -> Tuning:
        """The same from a stored record."""
        return choose(self.protocol, np.array(record["accuracy"]), Cost())

    def tuning_record(self, tuning: Tuning) -> Record:
        """What is stored of the tuning."""
        protocol = self.protocol
        labels = (protocol.support + protocol.queries) * protocol.tuning_episodes
        return {
            "version": FamilyRecord.VERSION,
            "family": families.validation_family(self.norm),
            "rates": list(protocol.rates),
            "shots": list(protocol.shots),
            "steps": list(protocol.steps),
            "episodes": protocol.tuning_episodes,
            "accuracy": tuning.accuracy.tolist(),
            "rate": tuning.rate,
            "tuned_steps": tuning.steps,
            "labels_used": labels,
            "cost": tuning.cost.as_record(),
        }

    def family(
        self,
        name: str,
        model: Adaptable,
        tuning: Tuning,
        progress: Callable[[float], None] = lambda done: None,
        numbers: Sequence[int] | None = None,
    ) -> tuple[Record, dict[str, np.ndarray]]:
        """All episodes of a family, or those of some numbers.

        A family that fails has its reason and no arrays.
        """
        record = self.about(name, tuning)
        if reason := families.obstacle(name, self.dataset.input_shape):
            return {**record, "status": "not-applicable", "reason": reason}, {}
        started = time.perf_counter()
        try:
            found = self._episodes(name, model, tuning, progress, numbers)
        except Exception as error:  # other people's model may raise anything
            traceback.print_exc()
            return {**record, "status": "failed", "reason": reason_of(error)}, {}
        arrays = self._arrays(found, tuning)
        costs = {
            "cost": sum((one.adapting for one in found), Cost()).as_record(),
            "measuring_cost": sum((one.measuring for one in found), Cost()).as_record(),
            "seconds": time.perf_counter() - started,
        }
        return record | costs | self.summary(arrays), arrays

    def _episodes(
        self,
        name: str,
        model: Adaptable,
        tuning: Tuning,
        progress: Callable[[float], None],
        numbers: Sequence[int] | None,
    ) -> list[Curves]:
        attacker, found = self.attacker(name), []
        seen = [one for one in self.seen() if one.name != name]
        numbers = range(self.protocol.episodes) if numbers is None else numbers
        for done, number in enumerate(numbers, 1):
            episode = draw_episode(
                self.protocol, self.dataset, attacker, seen, number=number, seed=self.seed
            )
            found.append(run_episode(model, episode, self.protocol, rate=tuning.rate))
            progress(done / len(numbers))
        return found

    def about(self, name: str, tuning: Tuning) -> Record:
        """What a family's record says before it is measured."""
        protocol, row = self.protocol, families.family(name)
        return {
            "version": FamilyRecord.VERSION,
            "family": name,
            "description": row.description,
            "role": self.role(name),
            "norm": row.norm,
            "eps": self.attacker(name).eps,
            "rate": tuning.rate,
            "tuned_steps": tuning.steps,
            "shots": list(protocol.shots),
            "steps": list(protocol.steps),
            "episodes": protocol.episodes,
            "queries": protocol.queries,
            "attack_steps": protocol.attack_steps,
            "seen_families": [one.name for one in self.seen()],
            "labels_used": protocol.support,
            "status": "ok",
            "reason": "",
        }

    def _arrays(self, found: list[Curves], tuning: Tuning) -> dict[str, np.ndarray]:
        protocol = self.protocol
        correct = np.stack([one.correct for one in found])
        largest = correct[:, protocol.shots.index(protocol.support)]  # (episodes, steps)
        # A seen family is adapted to itself: what it gains is no forgetting of another.
        seen = np.stack(
            [largest[i] if one.seen is None else one.seen for i, one in enumerate(found)]
        )
        clean = np.stack([one.clean for one in found])
        given_up = np.stack([one.given_up for one in found])
        return self.derived(correct, clean, seen, tuning) | {GIVEN_UP: given_up}

    def derived(
        self, correct: np.ndarray, clean: np.ndarray, seen: np.ndarray, tuning: Tuning
    ) -> dict[str, np.ndarray]:
        """A family's arrays, from those that were measured; see the module's shapes."""
        protocol = self.protocol
        largest = correct[:, protocol.shots.index(protocol.support)]  # (episodes, steps)
        at_tuned = correct[:, :, protocol.steps.index(tuning.steps)]  # (episodes, shots)
        return {
            "correct": correct,
            "clean": clean,
            "seen": seen,
            "area": area(largest, protocol.steps),
            "area_over_shots": area(at_tuned, protocol.shots),
            "forgetting": seen - seen[:, :1],
        }

    def summary(self, arrays: Mapping[str, np.ndarray]) -> Record:
        """The means and intervals that follow from a family's arrays."""
        queries = self.protocol.queries
        clean = shares(arrays["clean"], queries)
        return {
            **shares(arrays["correct"], queries),
            "clean_accuracy": clean["accuracy"],
            **{name: vars(share(arrays[name], queries)) for name in ("area", "area_over_shots")},
            "seen_accuracy": arrays["seen"].mean(axis=0).tolist(),
            "forgetting": [vars(difference(values)) for values in arrays["forgetting"].T],
            GIVEN_UP: unmet(arrays),
        }

"""One method of one cell: its settings chosen on the other data set's validation part, then run."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from benchmark.metatest.domain.episodes import Episode, EpisodeRunner
from benchmark.metatest.domain.settings import METHODS
from benchmark.metatest.effort import part
from benchmark.metatest.model import Adaptable
from benchmark.metatest.readouts.model import Adapted
from benchmark.metatest.readouts.table import Setting, readout
from benchmark.metatest.summary import GIVEN_UP, share, unmet
from benchmark.results import Record
from benchmark.text import reason_of
from defenses.cost import Cost

Arrays = dict[str, np.ndarray]


class Course(EpisodeRunner):
    """What one cell measures with."""

    def run(
        self,
        method: str,
        model: Adaptable | Adapted,
        progress: Callable[[float], None] = lambda done: None,
        numbers: Sequence[int] | None = None,
    ) -> tuple[Record, Arrays]:
        """The record and the arrays (episodes, shots) of a method, or of some of its episodes.

        A method that raises has its reason and no arrays.

        Args:
            model: where the method begins, with as many outputs as the other data set has classes;
                an `Adapted` for a read-out, with whatever outputs.
        """
        record, started = self.about(method), time.perf_counter()
        numbers = range(self.protocol.episodes) if numbers is None else numbers
        try:
            found = self._measured(method, model, numbers, progress)
        except Exception as error:  # other people's model may raise anything
            traceback.print_exc()
            return {**record, "status": "failed", "reason": reason_of(error)}, {}
        told, arrays = found
        seconds = time.perf_counter() - started
        return record | told | self.summary(arrays) | {"seconds": seconds}, arrays

    def about(self, method: str) -> Record:
        """What a record says before anything is measured."""
        classes = self.target.classes
        return {
            **self.protocol.settings(),
            "method": method,
            "description": METHODS[method],
            "classes": classes,
            "norm": self.threat.norm,
            "eps": self.threat.eps,
            "labels_used": [classes * shots for shots in self.protocol.shots],
            "status": "ok",
            "reason": "",
        }

    def summary(self, arrays: Arrays) -> Record:
        """The means and intervals that follow from a stage's arrays."""
        queries = self.protocol.queries
        found: Record = {
            name: [vars(share(column, queries)) for column in values.T]
            for name, values in arrays.items()
            if len(values) and name != GIVEN_UP
        }
        return found | {GIVEN_UP: unmet(arrays)}

    def _measured(
        self,
        method: str,
        model: Adaptable | Adapted,
        numbers: Sequence[int],
        progress: Callable[[float], None],
    ) -> tuple[Record, Arrays]:
        """Settings for each number of shots, and then every episode."""
        shots = self.protocol.shots
        tried: list[Record] = []
        settings, whole, tuning = [], [], []
        chosen = self.protocol.share_of_tuning(len(self._grid(method, model)))
        for place, count in enumerate(shots):
            here = part(progress, place / len(shots), (place + 1) / len(shots))
            begun = part(here, 0.0, chosen)
            setting, spent = self._tuned(method, model, count, tried, begun)
            settings.append(setting)
            tuning.append(spent.as_record())
            found: list[Episode] = []
            for done, number in enumerate(numbers, 1):
                found.append(self.run_episode(method, model, count, settings[-1], number))
                share_done = self.protocol.measuring(done) / self.protocol.measuring(len(numbers))
                part(here, chosen, 1.0)(share_done)
            whole.append(found)
        told = {
            "cost": [found[0].cost.as_record() for found in whole],  # alike in all episodes
            "tuning_cost": tuning,
            "measuring_cost": [_sum(one.whole for one in found) for found in whole],
            "autoattack_cost": [_sum(one.strongest for one in found) for found in whole],
        }
        return {"setting": settings, "tried": tried, **told}, self._arrays(whole)

    def _arrays(self, whole: Sequence[Sequence[Episode]]) -> Arrays:
        """Shares (episodes, shots) of what was found with each number of shots."""
        names = ["clean", "robust", GIVEN_UP]
        names += ["autoattack"] if self.protocol.autoattack_episodes else []
        shares = {
            name: [[getattr(one, name) for one in found] for found in whole] for name in names
        }
        return {
            name: np.array([[v for v in values if v is not None] for values in lists]).T
            for name, lists in shares.items()
        }

    def _grid(self, method: str, model: Adaptable | Adapted) -> Sequence[Setting]:
        if isinstance(model, Adapted):
            return readout(method, model).grid
        return self.protocol.grid(renews=model.renews)

    def _tuned(
        self,
        method: str,
        model: Adaptable | Adapted,
        shots: int,
        tried: list[Record],
        progress: Callable[[float], None] = lambda done: None,
    ) -> tuple[Setting, Cost]:
        """The setting that validation data are left most by, and the cost; adds what was tried."""
        grid, spent = self._grid(method, model), Cost()

        def robust(place: int, setting: Setting) -> float:
            nonlocal spent
            numbers = range(self.protocol.tuning_episodes)
            found = [
                self.run_episode(method, model, shots, setting, n, tuning=True) for n in numbers
            ]
            spent = sum((one.whole for one in found), spent)
            left = float(np.mean([one.robust for one in found]))
            tried.append({**setting, "shots": shots, "robust": left})
            progress((place + 1) / len(grid))
            return left

        chosen = grid[int(np.argmax([robust(*one) for one in enumerate(grid)]))]
        return chosen, spent


def _sum(costs: Iterable[Cost]) -> Record:
    return sum(costs, Cost()).as_record()

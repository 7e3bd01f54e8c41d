"""An executor for tests that only writes down what it was told, and answers as it was told to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import sleeping_worker

from benchmark.executors import scheduler
from benchmark.executors.interface import STORED, Gone, Task
from benchmark.results import Store


@dataclass
class Scripted:
    """Workers that do each task at once, unless `fate` says otherwise.

    fate: (cell's seed, stage, attempt) to what becomes of the worker when it comes to that stage.
    slow: cells by their seeds that end only when nothing else can.
    """

    store: Store
    most: int = 1
    fate: dict[tuple[int, str, int], Gone] = field(default_factory=dict)
    slow: frozenset[int] = frozenset()
    fails: frozenset[tuple[int, str]] = frozenset()  # cells and stages that give no result
    raises: frozenset[tuple[int, str]] = frozenset()  # cells and stages that fail their cell
    silent: bool = False  # whether workers tell no stage
    dies_once: bool = False  # whether a fate comes but once
    unplaced: frozenset[int] = frozenset()  # slots that wait for a place until nothing else can
    falls: list[Gone] = field(default_factory=list)  # what becomes of the first workers at once
    distributed: bool = True
    device: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        self.given: list[tuple[int, int, tuple[str, ...] | None]] = []  # slot, seed, stages
        self.hired: list[tuple[int, str]] = []
        self.let_go: list[int] = []
        self.at: dict[int, str] = {}  # slot to framework, of workers that are there
        self.stopped = False
        self._said: list[tuple[int, Any]] = []
        self._later: list[tuple[int, Any]] = []

    def room(self) -> int:
        return self.most

    def hire(self, slot: int, framework: str) -> str | None:
        assert slot not in self.at, "two workers in one slot"
        assert len(self.hired) < 50, "a task is given out again for ever"
        self.hired.append((slot, framework))
        self.at[slot] = framework
        if self.falls:
            del self.at[slot]
            self._said.append((slot, self.falls.pop(0)))
            return None
        placed = [(slot, ("placed", f"node-{slot}"))] if self.distributed else []
        said = [*placed, (slot, ("ready",))]
        (self._later if slot in self.unplaced else self._said).extend(said)
        return None if self.distributed else "here"

    def send(self, slot: int, what: Any) -> None:
        if what is None:
            self.let_go.append(slot)
            del self.at[slot]
        elif isinstance(what, Task):
            assert what.job.cell.framework == self.at[slot]
            seed = what.job.cell.seed
            labels = what.stages and tuple(path.partition("-")[0] for path in what.stages)
            self.given.append((slot, seed, labels))
            (self._later if seed in self.slow else self._said).extend(self._work(slot, what))
        else:
            assert what == STORED

    def _work(self, slot: int, task: Task) -> Iterator[tuple[int, Any]]:
        job, cell_id = task.job, task.job.cell.cell_id
        for stage in job.stages:
            if task.stages is not None and stage.path not in task.stages:
                continue
            if not self.silent:
                yield slot, ("progress", cell_id, stage.label, 0.0)
            place = (job.cell.seed, stage.label, task.attempt)
            if (gone := self.fate.get(place)) is not None:
                if self.dies_once:
                    del self.fate[place]
                yield slot, gone
                return
            if (job.cell.seed, stage.label) in self.fails:
                yield slot, ("failed", cell_id, stage.label, "no")
            if (job.cell.seed, stage.label) in self.raises:
                yield slot, ("finished", cell_id, "failed", "no", {"status": "failed"})
                return
            if stage.path == "training":
                record = {"seconds": 1.0, "cost": {"gradient_evaluations": 1000.0}}
                self.store.write_stage(cell_id, "training", record)
        yield slot, ("finished", cell_id, "ok", "", {"status": "ok"} if task.ends else None)

    def listen(self) -> Iterator[tuple[int, Any]]:
        self._said = self._said or self._later
        if self._said is self._later:
            self._later = []
        slot, message = self._said.pop(0)
        if isinstance(message, Gone):
            self.at.pop(slot, None)
        yield slot, message

    def stop(self) -> None:
        self.stopped = True


def run(executor: Scripted, *jobs: Any, long: float = 60.0) -> tuple[list[Any], list[Any]]:
    events: list[Any] = []
    done = scheduler.run(jobs, executor.store, executor, on_event=events.append, long=long)
    assert executor.stopped
    return done, events


def jobs(store: Store, count: int, **settings: Any) -> list[Any]:
    return [sleeping_worker.job(store.path, seed, **settings) for seed in range(count)]


MAKING, REST = ("training",), ("attacks/fgsm", "attacks/pgd", "trust/quick", "transfers/tensorflow")

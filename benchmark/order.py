"""Which cells of a run come first, and which wait for others."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import replace

from benchmark import sources
from benchmark.cells import BASELINE
from benchmark.config import RunConfig
from benchmark.datasets import Dataset
from benchmark.job import Job
from benchmark.stages.training import training_key


def with_sources(jobs: Sequence[Job], config: RunConfig, dataset: Dataset) -> list[Job]:
    """The jobs with the cells that their attacks are made on, which come first.

    Raises:
        SuiteError: an attack's `from:` names no model that fits, or several.
    """
    cells = sources.index_of({job.cell.cell_id: job.cell.config() for job in jobs})
    stored = functools.cache(lambda: sources.index_of(sources.stored_configs(config.out)))
    found = []
    for job in jobs:
        others = {
            spec.source: sources.chosen(job.cell, spec.source, cells, stored, attack=spec.name)
            for spec in job.attacks
            if spec.source is not None
            and spec.source != job.cell.defense
            and not spec.obstacle(job.cell.norm, dataset.input_shape)
        }
        found.append(replace(job, sources=others))
    needed = {cell_id for job in found for cell_id in job.sources.values()}
    return sorted(found, key=lambda job: job.cell.cell_id not in needed)


def in_order(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """The jobs, each with the cells of the run that must have ended before it begins.

    Those whose models its attacks are made on, its undefended twin, which its trust checks look at,
    and the first cell whose training is the same, so that nothing is trained twice: whatever the
    number of workers.
    """
    found = []
    earlier: set[str] = set()
    twins: dict[tuple[str, int], str] = {}
    trained: dict[str, str] = {}
    for job in jobs:
        cell_id, key = job.cell.cell_id, training_key(job.cell)
        first = trained.setdefault(key, cell_id)
        before = {*job.sources.values(), twins.get(_place(job), ""), first}
        # What the first of them trains costs the others nothing.
        training = job.training if first == cell_id else 0.0
        found.append(
            replace(
                job,
                after=frozenset(before & earlier),
                training_after=frozenset({first} & earlier),
                training=training,
            )
        )
        earlier.add(cell_id)
        if job.cell.defense == BASELINE:
            twins[_place(job)] = cell_id
    return tuple(found)


def in_turns(jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """The jobs, and those of them that come once more when all have ended.

    Where an undefended twin is attacked with what was made on a cell's model, that cell comes
    first, and its trust checks, which look at the twin, are left for a second turn. So are its
    attacks that are made on the model of a cell which comes later: two may need each other's. Until
    then they are missing, so that nobody takes the cell of a run that was stopped for whole.
    """
    place = {job.cell.cell_id: n for n, job in enumerate(jobs)}
    twins = {_place(job): n for n, job in enumerate(jobs) if job.cell.defense == BASELINE}
    first, again = [], []
    for n, job in enumerate(jobs):
        later = {name for name, cell_id in job.sources.items() if place.get(cell_id, n) > n}
        if later or twins.get(_place(job), n) > n:
            again.append(job)
            job = _without(job, later)
        first.append(job)
    return first, again


def _without(job: Job, sources: Collection[str]) -> Job:
    """A job without its trust checks, the attacks made on these models, and what follows them."""
    attacks = tuple(spec for spec in job.attacks if spec.source not in sources)
    deferred = tuple(spec for spec in job.attacks if spec.source in sources)
    drawn = job.curve is not None and job.curve.attack in {spec.name for spec in attacks}
    curve = job.curve if drawn else None
    return replace(job, attacks=attacks, deferred=deferred, curve=curve, unchecked=True)


def _place(job: Job) -> tuple[str, int]:
    """What a cell of a run shares with its undefended twin alone."""
    return job.cell.framework, job.cell.seed

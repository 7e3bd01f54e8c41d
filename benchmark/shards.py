"""A plan in parts that know nothing of each other, for machines that share nothing.

The same command splits the same plan in the same way everywhere. A part holds whatever its cells
need of others: the undefended twin that trust checks look at, the cells whose models attacks are
made on. So a cell that several parts need is measured in each of them, with equal results, and a
merge takes it once. What compares the two frameworks waits for the merge: the whole command, given
once more in the merged folder, does that alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from benchmark.job import Job


def part(jobs: Sequence[Job], number: int, count: int) -> tuple[Job, ...]:
    """The jobs of one part, in their order; none where there are more parts than work.

    Cells that share a training stay together. Parts are cut by the work that cells are, in an order
    that keeps cells of one framework and seed, which share a twin, in as few parts as can be.

    Args:
        jobs: of the whole run, in order.
        number: of the part, from 1.
        count: how many parts there are.
    """
    groups: dict[str, list[Job]] = defaultdict(list)
    head: dict[str, str] = {}
    for job in jobs:
        cell_id = job.cell.cell_id
        head[cell_id] = next((head[one] for one in sorted(job.training_after)), cell_id)
        groups[head[cell_id]].append(job)
    place = {job.cell.cell_id: n for n, job in enumerate(jobs)}
    ordered = sorted(
        groups.values(),
        key=lambda group: (group[0].cell.framework, group[0].cell.seed, place[_id(group[0])]),
    )
    work = [sum(stage.effort for job in group for stage in job.stages) for group in ordered]
    total, before, chosen = sum(work), 0.0, set()
    for group, own in zip(ordered, work, strict=True):
        middle = before + own / 2  # where the middle of a group lies decides whose it is
        if min(count, 1 + int(count * middle / total)) == number:
            chosen |= {_id(job) for job in group}
        before += own
    needed = _with_needs(jobs, chosen)
    return tuple(job for job in jobs if _id(job) in needed)


def _with_needs(jobs: Sequence[Job], chosen: set[str]) -> set[str]:
    """The cells, and all that they need, directly or not."""
    needs = {_id(job): job.after for job in jobs}
    found, left = set[str](), list(chosen)
    while left:
        cell_id = left.pop()
        if cell_id not in found:
            found.add(cell_id)
            left += needs[cell_id]
    return found


def _id(job: Job) -> str:
    return job.cell.cell_id

"""Two copies of a cell, of two results folders: where they differ, and by how much.

Of two machines that round differently (other CPU threads, another device or processor, other
versions of packages) copies stand for the same if no attack's accuracies are more than TOLERANCE
apart, or one example where that is more, nor a mean of a meta-test more than TOLERANCE outside of
the other's interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import StoreError
from benchmark.results.files import Record
from benchmark.results.identity import protocol_of
from benchmark.results.layout import STAGES
from benchmark.results.rounding import may_differ
from benchmark.results.store import Store

# How far clean and robust accuracies may be apart, as shares, where threads or devices differ; and
# at least so many examples.
TOLERANCE, LEAST = 0.02, 1
_PROJECT = "meta-adv-bench"  # whose versions are told by those of its protocols
# Which records of earlier versions lack, or lack in adaptation to other data
_TOLD_LATER = (
    *("seen_families", "made_of"),
    *("tuning_cost", "measuring_cost", "autoattack_cost"),
)
# What may differ between two machines that got the same result. An attack's identity is in its key;
# records of older versions don't hold it.
_CIRCUMSTANCES = ("seconds", "threads", "taken_from", "peak_memory", "identity")
# Judgements on results that are compared themselves; their numbers are rounded by the machine. And
# what was asked for: in other words, but it came to the same.
_NOT_COMPARED = ("trust/", "runs/")


@dataclass(frozen=True)
class Copy:
    """A cell that ended, as one folder has it: its record, and the records of its intact stages."""

    store: Store
    cell_id: str
    record: Record
    stages: dict[str, Record]

    def file(self, name: str) -> Path:
        return self.store.cell_folder(self.cell_id) / f"{name}.json"


def difference(one: Copy, other: Copy) -> tuple[str, str] | None:
    """Where the results of two copies of a cell differ, and in what; None where they are equal.

    Raises `StoreError` where they aren't even of the same work.
    """
    for name in ("config", "status"):
        if one.record.get(name) != other.record.get(name):
            raise contradiction(one, other, "cell", name)
    for suite in one.record["suites"].keys() & other.record["suites"].keys():
        if one.record["suites"][suite] != other.record["suites"][suite]:
            raise contradiction(one, other, "cell", f"the attacks of suite {suite!r}")
    ended_well = one.record.get("status") == "ok"
    for stage in STAGES:
        if ended_well and (stage in one.stages) != (stage in other.stages):
            raise contradiction(one, other, stage, "one of them has none")
    for stage in sorted(one.stages.keys() & other.stages.keys()):
        if stage.startswith(_NOT_COMPARED):
            continue
        ours, theirs = _result(one.stages[stage]), _result(other.stages[stage])
        if ours["protocol_version"] != theirs["protocol_version"]:
            raise contradiction(one, other, stage, "protocol_version")
        for name in sorted(ours.keys() | theirs.keys()):
            if name in _TOLD_LATER and not (ours.get(name) and theirs.get(name)):
                continue
            if ours.get(name) != theirs.get(name):
                return stage, name
    return None


def _result(stage: Record) -> Record:
    found = {name: value for name, value in stage.items() if name not in _CIRCUMSTANCES}
    return {**found, "protocol_version": protocol_of(stage)}


def machines(one: Copy, other: Copy) -> str:
    """How the machines of two copies differ; empty where they round alike."""
    threads = [_threads(one), _threads(other)]
    if None not in threads and threads[0] != threads[1]:
        return f"{threads[1]} instead of {threads[0]} CPU threads"
    for name in ("device", "processor"):
        ours, theirs = one.record.get(name), other.record.get(name)
        if ours and theirs and ours != theirs:
            return f"{name} {theirs} instead of {ours}"
    first, second = (copy.record.get("versions") or {} for copy in (one, other))
    return ", ".join(
        f"{name} {second[name]} instead of {first[name]}"
        for name in sorted(first.keys() & second.keys() - {_PROJECT})
        if first[name] != second[name]
    )


def _threads(copy: Copy) -> Any:
    """Of the training, where it says so, or else of the cell's last run."""
    stored = copy.stages.get("training", {}).get("threads")
    return copy.record.get("threads") if stored is None else stored


def are_of_rounding(one: Copy, other: Copy) -> bool:
    """Whether two copies of machines that round otherwise differ no more than by that."""
    near = [_is_near(*found) for found in _apart(one, other)]
    return bool(near) and all(near) and outside(one, other) <= TOLERANCE


def _is_near(difference: float, examples: int | None) -> bool:
    if examples is None:
        return difference <= TOLERANCE
    wrong = round(difference * examples, 6)  # shares are rounded
    return wrong <= may_differ(examples, share=TOLERANCE, least=LEAST)


def apart(one: Copy, other: Copy) -> float:
    """How far any accuracy of an attack that both ran is apart, at most; infinite without one."""
    return max((found for found, _ in _apart(one, other)), default=math.inf)


def _apart(one: Copy, other: Copy) -> Iterator[tuple[float, int | None]]:
    """How far each accuracy is apart, and of how many examples it is, where both tell."""
    shared = [name for name in one.stages if name in other.stages and name.startswith("attacks/")]
    for name in shared:
        stages = one.stages[name], other.stages[name]
        count, other_count = (stage.get("examples") for stage in stages)
        examples = count if type(count) is int and count == other_count else None
        for accuracy in ("clean_accuracy", "robust_accuracy"):
            both = [stage.get(accuracy) for stage in stages]
            if both == [None, None]:
                continue
            numbers = [float(value) for value in both if isinstance(value, int | float)]
            if len(numbers) == 2:
                # Rounded, because 0.52 - 0.5 is more than 0.02 in binary
                yield round(abs(numbers[0] - numbers[1]), 9), examples
            else:
                yield math.inf, None


def outside(one: Copy, other: Copy) -> float:
    """How far a mean of a meta-test lies outside of the other copy's interval, at most.

    Infinite where one of them has an estimate that the other lacks.
    """
    found = [0.0]
    for name in one.stages.keys() & other.stages.keys():
        ours, theirs = (dict(_estimates(copy.stages[name])) for copy in (one, other))
        for path in ours.keys() | theirs.keys():
            if path in ours and path in theirs:
                pair = ours[path], theirs[path]
                found.append(max(_beyond(*pair), _beyond(*reversed(pair))))
            else:
                found.append(math.inf)
    return max(found)


def _beyond(one: Record, other: Record) -> float:
    mean = float(one["mean"])
    beyond = max(mean - float(other["high"]), float(other["low"]) - mean)
    return max(0.0, round(beyond, 9))  # as above


def _estimates(value: Any, path: str = "") -> Iterator[tuple[str, Record]]:
    """Every mean over episodes with its interval that a record holds, by its place."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        numbers = [value.get(name) for name in ("mean", "low", "high")]
        if all(isinstance(number, int | float) for number in numbers):
            yield path, value
        for name, part in value.items():
            yield from _estimates(part, f"{path}.{name}")


def contradiction(one: Copy, other: Copy, file: str, what: str, between: str = "") -> StoreError:
    """The error about two copies that differ in `what` of a `file`, and what to do.

    `between`: how their machines differ, where that alone would not explain it.
    """
    fix = "find out which one is right and leave the other folder out"
    if between:
        fix = (
            f"the second was measured with {between}, and accuracies are more than {TOLERANCE:.0%} "
            "and one example apart: leave one folder out, or run both with the same --threads"
        )
    return StoreError(
        f"cell {one.cell_id} has different results: {one.file(file)} and {other.file(file)} differ "
        f"({what}); {fix}"
    )

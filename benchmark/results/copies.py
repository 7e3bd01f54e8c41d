"""Two copies of a cell, of two results folders: where they differ, and by how much.

Of two machines that round differently (other CPU threads, another device or processor, other
versions of packages) copies stand for the same if none of their accuracies (of attacks, claims,
security curves, corruptions, certificates, transfers) are more than TOLERANCE apart, or one example
where that is more, nor a mean of a meta-test more than TOLERANCE outside of the other's interval.
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
# What says in shares of examples how good a model is, by folder
_ACCURACIES = {
    "attacks": ("clean_accuracy", "robust_accuracy"),
    "claims": ("clean_accuracy", "robust_accuracy"),
    "curves": ("robust_accuracy",),
    "corruptions": ("clean_accuracy", "mean", "accuracy"),
    "certification": ("certified", "certified_accuracy"),
    "transfers": ("success",),
}
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
        # The order is another where a run was stopped before what it left for a second turn.
        if sorted(one.record["suites"][suite]) != sorted(other.record["suites"][suite]):
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


def too_far(one: Copy, other: Copy, found: tuple[str, str]) -> tuple[str, str] | None:
    """The stage and field that machines which round otherwise don't explain; None without one.

    `found`, where they differ at all, if no attack ran on both that tells how far apart they are.
    """
    shares = list(_apart(one, other))
    if not any(share.stage.startswith("attacks/") for share in shares):
        return found
    for share in shares:
        if not share.is_near:
            return share.stage, share.field
    for stage, field, beyond in _outside(one, other):
        if beyond > TOLERANCE:
            return stage, field
    return None


def apart(one: Copy, other: Copy) -> float:
    """How far any accuracy that both have is apart, at most; infinite without one."""
    return max((share.difference for share in _apart(one, other)), default=math.inf)


@dataclass(frozen=True)
class _Share:
    """How far a share is apart, and of how many examples it is, where both copies tell."""

    stage: str
    field: str
    difference: float
    examples: int | None

    @property
    def is_near(self) -> bool:
        if self.examples is None:
            return self.difference <= TOLERANCE
        wrong = round(self.difference * self.examples, 6)  # shares are rounded
        return wrong <= may_differ(self.examples, share=TOLERANCE, least=LEAST)


def _apart(one: Copy, other: Copy) -> Iterator[_Share]:
    """Every accuracy of `_ACCURACIES`."""
    for stage in sorted(one.stages.keys() & other.stages.keys()):
        fields = _ACCURACIES.get(stage.partition("/")[0], ())
        both = one.stages[stage], other.stages[stage]
        counts = [count for record in both if type(count := record.get("examples")) is int]
        # How many are tried on another model is what came out, too
        are_told = len(counts) == 2 and (counts[0] == counts[1] or stage.startswith("transfers/"))
        examples = max(counts) if are_told else None
        for field in fields:
            ours, theirs = (dict(_leaves(record.get(field))) for record in both)
            for place in ours.keys() | theirs.keys():
                pair = [ours.get(place), theirs.get(place)]
                numbers = [float(value) for value in pair if isinstance(value, int | float)]
                if len(numbers) == 2:
                    # Rounded, because 0.52 - 0.5 is more than 0.02 in binary
                    yield _Share(stage, field, round(abs(numbers[0] - numbers[1]), 9), examples)
                elif pair != [None, None]:
                    yield _Share(stage, field, math.inf, None)


def _leaves(value: Any, place: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Any]]:
    """What a number, or lists of lists, hold at each place."""
    if not isinstance(value, list):
        yield place, value
        return
    for index, part in enumerate(value):
        yield from _leaves(part, (*place, index))


def _outside(one: Copy, other: Copy) -> Iterator[tuple[str, str, float]]:
    """How far each mean of a meta-test lies outside of the other copy's interval.

    Infinite where one of them has an estimate that the other lacks.
    """
    for name in sorted(one.stages.keys() & other.stages.keys()):
        ours, theirs = (dict(_estimates(copy.stages[name])) for copy in (one, other))
        for path in sorted(ours.keys() | theirs.keys()):
            field, beyond = [*path.split("."), "mean"][1], math.inf
            if path in ours and path in theirs:
                pair = ours[path], theirs[path]
                beyond = max(_beyond(*pair), _beyond(*reversed(pair)))
            yield name, field, beyond


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

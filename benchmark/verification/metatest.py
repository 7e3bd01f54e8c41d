"""The meta-test's stages: what follows from their arrays, and episodes run again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from benchmark.errors import StoreError
from benchmark.metatest.course import Course
from benchmark.metatest.protocol import TUNING, Protocol
from benchmark.metatest.summary import GIVEN_UP
from benchmark.results import Record
from benchmark.results.records import FamilyRecord
from benchmark.stages.metatest import course_of
from benchmark.verification.comparison import Comparison, unequal
from benchmark.verification.episodes import (
    ROUNDING,
    check_again,
    check_costs,
    check_protocol,
    check_sums,
    some_of,
)
from benchmark.verification.loaded import Loaded

FOLDER = "adaptations"


def check(loaded: Loaded, key: str, found: Comparison) -> None:
    """A family's stage, or that of the tuning."""
    record = loaded.stage(f"{FOLDER}/{key}")
    check_protocol(record, found)
    found.expect("version", record.get("version", 1), FamilyRecord.VERSION)
    if found.differs:  # what another one measured can't be measured again
        return
    family = record.get("family") if "role" in record else None
    if family is None:
        _check_tuning(loaded, key, record, found)
    else:
        _check_family(loaded, key, str(family), record, found)


def _check_tuning(loaded: Loaded, key: str, record: Record, found: Comparison) -> None:
    """The tuning made again, on its validation family."""
    protocol = _protocol_of_tuning(loaded, key, record)
    course = _course(loaded, protocol)
    again = course.tuning_record(course.tuning(loaded.adaptable))
    if not loaded.same_machine:
        found.expect("the shape of the accuracies", *(_shape(r) for r in (record, again)))
        apart = np.abs(np.array(record["accuracy"]) - np.array(again["accuracy"]))
        if apart.max() > ROUNDING:
            found.differs.append("tuned again, the accuracies differ")
        told = course.tuned(record)
        again |= {"accuracy": record["accuracy"], "rate": told.rate, "tuned_steps": told.steps}
    found.expect_all(record, again)
    found.told.append("tuned again")


def _check_family(loaded: Loaded, key: str, family: str, record: Record, found: Comparison) -> None:
    """What is stored of a family's episodes."""
    protocol, tuning_record = _protocol_of_family(loaded, key, family, record)
    if told := record.get("seen_families"):
        families = tuple(dict.fromkeys((*told, family)))
        course = _course(loaded, dataclasses.replace(protocol, families=families))
    else:  # of before they were told: what the families of the folder come to
        course = _course(loaded, _with_others(loaded, protocol))
    tuning = course.tuned(tuning_record)
    numbers = range(protocol.episodes)
    some = some_of(protocol.episodes)
    again, parts = course.family(family, loaded.adaptable, tuning, numbers=some)
    names = set(course.about(family, tuning)) - {"reason"} - (set() if told else {"seen_families"})
    found.expect_all(record, again, sorted(names))
    if record["status"] != "ok" or again["status"] != "ok":
        if record["status"] == "not-applicable":
            found.expect("the reason", record.get("reason"), again["reason"])
        found.told.append(f"the family is {record['status']}")
        return
    arrays = loaded.arrays(f"{FOLDER}/{key}")
    found.expect("reason", record.get("reason"), "")
    found.expect_all(record, course.summary(arrays))
    check_sums(record, found)
    derived = course.derived(arrays["correct"], arrays["clean"], arrays["seen"], tuning)
    given_up = {name: arrays[name] for name in arrays.keys() & {GIVEN_UP}}  # once it was counted
    if differing := unequal(arrays, derived | given_up):
        found.differs.append(f"{', '.join(differing)} don't follow from the episodes")
    measured = {name: parts[name] for name in ("correct", "clean", "seen", GIVEN_UP)}
    check_again(loaded, arrays, measured, some, found)
    exact = loaded.same_machine and len(some) == len(numbers)
    check_costs(record, again, len(numbers) / len(some), found, exact=exact)


def _protocol_of_tuning(loaded: Loaded, key: str, record: Record) -> Protocol:
    """The protocol of a tuning: its families' records tell the rest of it."""
    for _, family in _stored(loaded, families=True):
        protocol = _protocol(family, record)
        if protocol.keys()[TUNING] == key:
            return protocol
    raise StoreError("no family is stored that was measured with this tuning")


def _protocol_of_family(
    loaded: Loaded, key: str, family: str, record: Record
) -> tuple[Protocol, Record]:
    """A family's protocol, and the record of the tuning that belongs to it."""
    for other, tuning in _stored(loaded, families=False):
        protocol = _protocol(record, tuning)
        if protocol.keys() == {family: key, TUNING: other}:
            return protocol, tuning
    raise StoreError("its settings and those of a stored tuning don't give its key")


def _with_others(loaded: Loaded, protocol: Protocol) -> Protocol:
    """The protocol with all families that are stored of it: what a model has to keep is of them."""
    names = []
    for key, family in _stored(loaded, families=True):
        one = dataclasses.replace(protocol, families=(family["family"],))
        if one.keys()[family["family"]] == key:
            names.append(family["family"])
    return dataclasses.replace(protocol, families=tuple(names))


def _stored(loaded: Loaded, *, families: bool) -> Iterator[tuple[str, Record]]:
    """Keys and records of the stored families, or of the tunings."""
    for key in loaded.store.stage_keys(loaded.cell_id, FOLDER):
        record = loaded.found(f"{FOLDER}/{key}")
        if record is not None and ("role" in record) == families:
            yield key, record


def _protocol(family: Record, tuning: Record) -> Protocol:
    return Protocol(
        families=(family["family"],),
        shots=tuple(family["shots"]),
        steps=tuple(family["steps"]),
        episodes=family["episodes"],
        queries=family["queries"],
        attack_steps=family["attack_steps"],
        rates=tuple(tuning["rates"]),
        tuning_episodes=tuning["episodes"],
    )


def _course(loaded: Loaded, protocol: Protocol) -> Course:
    _ = loaded.fitted
    return course_of(loaded.context, protocol)


def _shape(record: Record) -> list[int]:
    return list(np.shape(record["accuracy"]))

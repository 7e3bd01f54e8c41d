"""The stages of sequences: what follows from their arrays, and episodes run again."""

from __future__ import annotations

from benchmark.metatest.sequence.settings import Arrivals
from benchmark.results import Record
from benchmark.stages.sequence import FOLDER, course_of
from benchmark.verification import episodes
from benchmark.verification.comparison import Comparison
from benchmark.verification.loaded import Loaded

_SETTINGS = (
    *("families", "labels", "rounds", "steps", "episodes", "queries", "attack_steps"),
    *("rates", "distance_weights", "tuning_episodes"),
)


def check(loaded: Loaded, key: str, found: Comparison) -> None:
    """A learner's stage: its setting chosen again, and some episodes measured again."""
    record = loaded.stage(f"{FOLDER}/{key}")
    episodes.check_protocol(record, found)
    _ = loaded.fitted
    learner = record["learner"]
    protocol = Arrivals(learners=(learner,), **{name: record[name] for name in _SETTINGS})
    course = course_of(loaded.context, protocol)
    some = episodes.some_of(protocol.episodes)
    again, parts = course.run(learner, loaded.adaptable, numbers=some)
    found.expect("the key", key, protocol.keys()[learner])
    found.expect_all(record, again, sorted(course.about(learner)))
    if record["status"] != "ok" or again["status"] != "ok":
        found.told.append(f"the learner is {record['status']}")
        return
    arrays = loaded.arrays(f"{FOLDER}/{key}")
    found.expect_all(record, course.summary(arrays))
    _check_choice(record, again, found, same_machine=loaded.same_machine)
    exact = loaded.same_machine and len(some) == protocol.episodes
    episodes.check_costs(record, again, 1, found, exact=exact)
    episodes.check_again(loaded, arrays, parts, some, found)


def _check_choice(record: Record, again: Record, found: Comparison, *, same_machine: bool) -> None:
    if same_machine:
        found.expect_all(record, again, ("setting", "tuning"))
        return
    # Elsewhere another setting may be best by a hair, but one of those that were tried
    tried = [{k: v for k, v in one.items() if k != "mean"} for one in again["tuning"]["tried"]]
    if tried and record["setting"] not in tried:
        found.differs.append(f"setting {record['setting']} is none of those that are tried")

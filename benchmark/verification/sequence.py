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
    episodes.check_sums(record, found)
    _check_choice(record, again, found, same_machine=loaded.same_machine)
    if record["setting"] != again["setting"]:
        found.unchecked.append(episodes.BY_A_HAIR)
        return
    exact = loaded.same_machine and len(some) == protocol.episodes
    episodes.check_costs(record, again, 1, found, exact=exact)
    episodes.check_again(loaded, arrays, parts, some, found)


def _check_choice(record: Record, again: Record, found: Comparison, *, same_machine: bool) -> None:
    """The setting, and what it was chosen by; elsewhere another may be best by a hair."""
    if same_machine:
        found.expect_all(record, again, ("setting", "tuning"))
        return
    stored, now = record["tuning"], again["tuning"]
    found.expect("the families of the tuning", stored["families"], now["families"])
    if not now["tried"]:  # there was nothing to choose from
        found.expect("setting", record["setting"], again["setting"])
    episodes.check_tried(record["setting"], stored["tried"], now["tried"], found, by="mean")
    told, true = ({"cost": one["cost"], "measuring_cost": {}} for one in (stored, now))
    episodes.check_costs(told, true, 1, found, exact=False)

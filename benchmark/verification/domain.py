"""The stages of another data set: what follows from their arrays, and episodes run again."""

from __future__ import annotations

import numpy as np

from benchmark.metatest.domain.settings import Domain
from benchmark.stages.domain import FOLDER, beginning, course_of
from benchmark.verification.comparison import Comparison
from benchmark.verification.loaded import Loaded

# Episodes that are run again, from the first on; all of them where there are no more.
EPISODES = 2
# Shares of queries that may differ on another machine.
ROUNDING = 0.1

_SETTINGS = (
    *("adapt_to", "fingerprint", "resize", "shots", "episodes", "queries", "attack_steps"),
    *("support_attack_steps", "rates", "rounds", "steps", "tuning_episodes"),
)


def check(loaded: Loaded, key: str, found: Comparison) -> None:
    """A method's stage: its settings chosen again, and its first episodes measured again."""
    record = loaded.stage(f"{FOLDER}/{key}")
    _ = loaded.fitted
    method = record["method"]
    protocol = Domain(methods=(method,), **{name: record[name] for name in _SETTINGS})
    found.expect("the key", key, protocol.keys()[method])
    course = course_of(loaded.context, protocol)
    some = range(min(EPISODES, protocol.episodes))
    again, parts = course.run(method, beginning(loaded.context, course, method), numbers=some)
    found.expect_all(record, again, sorted(set(course.about(method)) - {"reason"}))
    if record["status"] != "ok" or again["status"] != "ok":
        found.expect("the reason", record.get("reason"), again["reason"])
        found.told.append(f"the method is {record['status']}")
        return
    arrays = loaded.arrays(f"{FOLDER}/{key}")
    found.expect_all(record, course.summary(arrays))
    if loaded.same_machine:
        found.expect_all(record, again, ("setting", "tried", "cost"))
    most = 1e-9 if loaded.same_machine else ROUNDING
    for name, values in parts.items():
        if np.abs(arrays[name][: len(values)] - values).max() > most:
            found.differs.append(f"run again, {name} of the first {len(values)} episodes differ")
    found.told.append(f"{len(some)} of {protocol.episodes} episodes run again")

"""The stages of another data set: what follows from their arrays, and episodes run again."""

from __future__ import annotations

from benchmark.metatest.domain.settings import Domain
from benchmark.stages.domain import FOLDER, beginning, course_of
from benchmark.verification import episodes
from benchmark.verification.comparison import Comparison
from benchmark.verification.loaded import Loaded

_SETTINGS = (
    *("adapt_to", "fingerprint", "resize", "shots", "episodes", "queries", "attack_steps"),
    *("support_attack_steps", "rates", "rounds", "steps", "tuning_episodes"),
)


def check(loaded: Loaded, key: str, found: Comparison) -> None:
    """A method's stage: its settings chosen again, and some episodes measured again."""
    record = loaded.stage(f"{FOLDER}/{key}")
    episodes.check_protocol(record, found)
    loaded.check_beginning()
    method = record["method"]
    attacked = record.get("autoattack_episodes", 0)  # a record of version 1 has none
    given = {name: record[name] for name in _SETTINGS}
    protocol = Domain(methods=(method,), autoattack_episodes=attacked, **given)
    found.expect("the key", key, protocol.keys()[method])
    course = course_of(loaded.context, protocol)
    some = episodes.some_of(protocol.episodes, first=attacked)
    again, parts = course.run(method, beginning(loaded.context, course, method), numbers=some)
    found.expect_all(record, again, sorted(course.about(method)))
    if record["status"] != "ok" or again["status"] != "ok":
        found.told.append(f"the method is {record['status']}")
        return
    arrays = loaded.arrays(f"{FOLDER}/{key}")
    found.expect_all(record, course.summary(arrays))
    if loaded.same_machine:
        found.expect_all(record, again, ("setting", "tried", "cost"))
    else:  # another setting may be best by a hair, but one of those that were tried
        tried = [{k: v for k, v in one.items() if k != "robust"} for one in again["tried"]]
        mine = zip(record["setting"], record["shots"], strict=True)
        if not all({**setting, "shots": shots} in tried for setting, shots in mine):
            found.differs.append("a setting is none of those that are tried")
        if record["setting"] != again["setting"]:
            found.unchecked.append(episodes.BY_A_HAIR)
            return
    episodes.check_again(loaded, arrays, parts, some, found)

"""The stages of another data set: what follows from their arrays, and episodes run again."""

from __future__ import annotations

from benchmark.metatest.domain.settings import Domain
from benchmark.results import Record
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
    episodes.check_sums(record, found)
    _check_tuning_cost(record, again, found)
    if loaded.same_machine:
        found.expect_all(record, again, ("setting", "tried", "cost"))
    else:
        _check_settings(record, again, found)
        if record["setting"] != again["setting"]:
            found.unchecked.append(episodes.BY_A_HAIR)
            return
        found.expect("cost", record["cost"], again["cost"])
    _check_measuring_cost(record, again, protocol.episodes / len(some), found)
    if told := record.get("autoattack_cost"):  # else from before it was counted
        found.expect("entries of autoattack_cost", len(told), len(protocol.shots))
        whole = episodes.are_whole(some, protocol.episodes, attacked)
        left = arrays["robust"][:attacked].T * protocol.queries  # (shots, episodes)
        now = again["autoattack_cost"] if loaded.same_machine else [{}] * len(protocol.shots)
        for which in zip(told, now, left, strict=False):
            episodes.check_strongest(*which, found, whole=whole)
    episodes.check_again(loaded, arrays, parts, some, found)


def _check_tuning_cost(record: Record, again: Record, found: Comparison) -> None:
    """Every setting is tried, so that the cost is the same whichever is best."""
    if record.get("tuning_cost"):  # else from before it was counted
        found.expect("tuning_cost", record["tuning_cost"], again["tuning_cost"])


def _check_measuring_cost(record: Record, again: Record, times: float, found: Comparison) -> None:
    """All episodes of one number of labels cost the same."""
    if record.get("measuring_cost"):
        whole = [{name: times * v for name, v in one.items()} for one in again["measuring_cost"]]
        found.expect("measuring_cost", record["measuring_cost"], whole)


def _check_settings(record: Record, again: Record, found: Comparison) -> None:
    """The setting for each number of labels; on another machine another may be best by a hair."""
    found.expect("settings", len(record["setting"]), len(record["shots"]))
    found.expect("settings that are tried", len(record["tried"]), len(again["tried"]))
    for setting, shots in zip(record["setting"], record["shots"], strict=False):
        tried, now = (
            [
                {name: value for name, value in one.items() if name != "shots"}
                for one in which["tried"]
                if one["shots"] == shots
            ]
            for which in (record, again)
        )
        episodes.check_tried(setting, tried, now, found, by="robust")

"""The few-shot meta-test's stages: what follows from their arrays, and episodes run again."""

from __future__ import annotations

from benchmark.metatest.fewshot.settings import NAME, FewShot
from benchmark.metatest.summary import GIVEN_UP
from benchmark.results import Record
from benchmark.stages.fewshot import course_of
from benchmark.verification import episodes
from benchmark.verification.comparison import Comparison
from benchmark.verification.loaded import Loaded


def check(loaded: Loaded, key: str, found: Comparison) -> None:
    """A read-out's stage: its setting chosen again, and some episodes measured again."""
    record = loaded.stage(f"{NAME}/{key}")
    episodes.check_protocol(record, found)
    loaded.check_beginning()
    what = record["readout"], record["ways"], record["shots"]
    protocol = _protocol(record)
    found.expect("the key", key, protocol.keys()[what])
    course = course_of(loaded.context, protocol)
    some = episodes.some_of(protocol.episodes)
    again, parts = course.run(*what, numbers=some)
    found.expect_all(record, again, sorted(set(course.about(*what)) - {"reason"}))
    found.expect("the reason", record.get("reason"), again["reason"])
    if record["status"] != "ok" or again["status"] != "ok":
        found.told.append(f"the read-out is {record['status']}")
        return
    arrays = loaded.arrays(f"{NAME}/{key}")
    found.expect("the arrays", sorted(arrays.keys() - {GIVEN_UP}), _names(protocol))
    found.expect_all(record, course.summary(arrays, record["ways"]))
    found.expect("cost", record["cost"], again["cost"])
    _check_tuning(record, again, found, exact=loaded.same_machine)
    _check_passes(record, again, protocol.episodes / len(some), found)
    episodes.check_again(loaded, arrays, parts, some, found)


def _check_tuning(record: Record, again: Record, found: Comparison, *, exact: bool) -> None:
    """What a setting was chosen by, chosen again."""
    stored, chosen = dict(record["tuning"]), dict(again["tuning"])
    if not exact:
        for one, other in zip(stored["tried"], chosen["tried"], strict=False):
            if abs(one["robust"] - other["robust"]) <= episodes.ROUNDING:
                other["robust"] = one["robust"]
    else:
        found.expect("setting", record["setting"], again["setting"])
    found.expect("tuning", stored, chosen)


def _check_passes(record: Record, again: Record, times: float, found: Comparison) -> None:
    """Episodes cost the same, but for features that are taken once."""
    stored, told = record["measuring_cost"], again["measuring_cost"]
    for part, value in told.items():
        if not value <= stored[part] <= times * value + 1e-9:
            found.differs.append(f"{part} of measuring_cost don't fit the episodes run again")


def _names(protocol: FewShot) -> list[str]:
    asked = {
        "autoattack": protocol.autoattack_episodes > 0,
        "clean": True,
        "robust": True,
        "stored_queries": protocol.stored,
    }
    return [name for name, is_there in asked.items() if is_there]


def _protocol(record: Record) -> FewShot:
    """What the stage was measured with."""
    return FewShot(
        ways=(record["ways"],),
        shots=(record["shots"],),
        queries=(record["queries"], record["asks_stored"]),
        episodes=record["episodes"],
        readouts=(record["readout"],),
        attack_steps=record["attack_steps"],
        support_attack_steps=record["support_attack_steps"],
        tuning_episodes=record["tuning_episodes"],
        autoattack_episodes=record["autoattack_episodes"],
    )

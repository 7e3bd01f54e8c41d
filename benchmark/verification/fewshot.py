"""The few-shot meta-test's stages: what follows from their arrays, and episodes run again."""

from __future__ import annotations

from benchmark.metatest.fewshot.settings import NAME, FewShot
from benchmark.metatest.scales import MIDDLE
from benchmark.metatest.summary import GIVEN_UP
from benchmark.results import Record
from benchmark.stages.fewshot import course_of
from benchmark.verification import episodes
from benchmark.verification.comparison import Comparison
from benchmark.verification.loaded import Loaded

_QUICK = ("centroid", "ridge")  # read-outs in closed form


def check(loaded: Loaded, key: str, found: Comparison) -> None:
    """A read-out's stage: its setting chosen again, and some episodes measured again."""
    record = loaded.stage(f"{NAME}/{key}")
    episodes.check_protocol(record, found)
    loaded.check_beginning()
    what = record["readout"], record["ways"], record["shots"]
    protocol = _protocol(record)
    found.expect("the key", key, protocol.keys()[what])
    course = course_of(loaded.context, protocol)
    first, is_quick = protocol.autoattack_episodes, record["readout"] in _QUICK
    most = episodes.QUICK_EPISODES if is_quick else episodes.EPISODES
    some = episodes.some_of(protocol.episodes, first=first, most=most)
    again, parts = course.run(*what, numbers=some)
    found.expect_all(record, again, sorted(course.about(*what)))
    if record["status"] != "ok" or again["status"] != "ok":
        found.told.append(f"the read-out is {record['status']}")
        return
    arrays = loaded.arrays(f"{NAME}/{key}")
    found.expect("the arrays", sorted(arrays.keys() - {GIVEN_UP}), _names(protocol))
    found.expect_all(record, course.summary(arrays, record["ways"]))
    episodes.check_sums(record, found)
    _check_tuning(record, again, found, exact=loaded.same_machine)
    if record["setting"] != again["setting"]:
        found.unchecked.append(episodes.BY_A_HAIR)
        return
    found.expect("cost", record["cost"], again["cost"])
    _check_passes(record, again, protocol.episodes / len(some), found)
    episodes.check_strongest(
        record.get("autoattack_cost", {}),
        again["autoattack_cost"] if loaded.same_machine else {},
        arrays["robust"][:first] * record["ways"] * protocol.query_shots,
        found,
        whole=episodes.are_whole(some, protocol.episodes, first),
    )
    episodes.check_again(loaded, arrays, parts, some, found)


def _check_tuning(record: Record, again: Record, found: Comparison, *, exact: bool) -> None:
    """What a setting was chosen by, chosen again."""
    stored, chosen = dict(record["tuning"]), dict(again["tuning"])
    if exact:
        found.expect("setting", record["setting"], again["setting"])
        found.expect("tuning", stored, chosen)
        return
    for tuning in (stored, chosen):  # steps of another setting cost otherwise
        tuning.pop("cost", None)
    tried, now = ([dict(one) for one in tuning.pop("tried")] for tuning in (stored, chosen))
    found.expect("tuning", stored, chosen)
    shares = {_setting(one): one["robust"] for one in now}
    # Elsewhere another setting may be best by a hair, and be the one that has all scales
    for one in tried:
        again_left = shares.get(_setting(one))
        if again_left is None:
            is_told = _setting(one, scale=False) in {_setting(o, scale=False) for o in now}
        else:
            is_told = abs(one["robust"] - again_left) <= episodes.ROUNDING
        if not is_told:
            found.differs.append(f"{one} of the tuning does not come out again")
    middle = {_setting(one, scale=False): one["robust"] for one in now if one["scale"] == MIDDLE}
    left = middle.get(_setting(record["setting"], scale=False))
    if left is None or _setting(record["setting"]) not in map(_setting, tried):
        found.differs.append(f"setting {record['setting']} is none of those that are tried")
    elif left < max(middle.values()) - episodes.ROUNDING:
        found.differs.append(f"setting {record['setting']} is not the best of those that are tried")


def _setting(one: Record, *, scale: bool = True) -> tuple[tuple[str, float], ...]:
    """What was tried, without what it left, and perhaps without the attacker's part of it."""
    left_out = {"robust"} if scale else {"robust", "scale"}
    return tuple(sorted((name, value) for name, value in one.items() if name not in left_out))


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
        groups_apart=record["groups_apart"],
    )

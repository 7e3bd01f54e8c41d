"""The few-shot meta-test's stages: what follows from their arrays, and episodes run again."""

from __future__ import annotations

import numpy as np

from benchmark.metatest.fewshot.settings import NAME, FewShot
from benchmark.results import Record
from benchmark.stages.fewshot import course_of
from benchmark.verification.comparison import Comparison
from benchmark.verification.loaded import Loaded

# Episodes that are run again, from the first on; all of them where there are no more.
EPISODES = 3
# Shares of queries that may differ on another machine.
ROUNDING = 0.1


def check(loaded: Loaded, key: str, found: Comparison) -> None:
    """A read-out's stage: its setting chosen again, and its first episodes measured again."""
    record = loaded.stage(f"{NAME}/{key}")
    _ = loaded.fitted
    name, ways, shots = record["readout"], record["ways"], record["shots"]
    protocol = _protocol(record, loaded.arrays(f"{NAME}/{key}") if record["files"] else {})
    course = course_of(loaded.context, protocol)
    some = range(min(EPISODES, protocol.episodes))
    again, parts = course.run(name, ways, shots, numbers=some)
    found.expect_all(record, again, sorted(set(course.about(name, ways, shots)) - {"reason"}))
    if record["status"] != "ok" or again["status"] != "ok":
        found.expect("the reason", record.get("reason"), again["reason"])
        found.told.append(f"the read-out is {record['status']}")
        return
    arrays = loaded.arrays(f"{NAME}/{key}")
    found.expect_all(record, course.summary(arrays, ways))
    found.expect("cost", record["cost"], again["cost"])
    if loaded.same_machine:
        found.expect_all(record, again, ("setting",))
        found.expect("tried", record["tuning"]["tried"], again["tuning"]["tried"])
    most = 1e-9 if loaded.same_machine else ROUNDING
    for array, values in parts.items():
        apart = np.abs(arrays[array][: len(values)] - values)
        if apart.max() > most:
            found.differs.append(f"run again, {array} of the first {len(values)} episodes differ")
    found.told.append(f"{len(some)} of {protocol.episodes} episodes run again")


def _protocol(record: Record, arrays: dict[str, np.ndarray]) -> FewShot:
    """What the stage was measured with."""
    return FewShot(
        ways=(record["ways"],),
        shots=(record["shots"],),
        queries=(record["queries"], "stored_queries" in record),
        episodes=record["episodes"],
        readouts=(record["readout"],),
        attack_steps=record["attack_steps"],
        support_attack_steps=record["support_attack_steps"],
        tuning_episodes=record["tuning"]["episodes"] if record.get("tuning") else 2,
        autoattack_episodes=len(arrays.get("autoattack", ())),
    )

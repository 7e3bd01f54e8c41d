"""Episodes of a meta-test run again: which, and whether they come out as they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmark.metatest.summary import GIVEN_UP
from benchmark.results import Record
from benchmark.results.identity import PROTOCOL_VERSION, protocol_of
from benchmark.verification.comparison import Comparison, one_sided
from benchmark.verification.loaded import Loaded
from benchmark.verification.repeating import unpredictable
from defenses.cost import Cost

# That are run again; all of them where there are no more. Where no weights move they are quick.
EPISODES, QUICK_EPISODES = 3, 20
# Shares of an episode's queries that may differ on another machine, and of those of this many
# episodes or more, in their mean and to the model's good.
ROUNDING, FAVOUR, LEAST = 0.1, 0.05, 10

# What keeps the episodes of another machine from being compared.
BY_A_HAIR = "here another setting is best on validation data, which its episodes are run again with"

Arrays = Mapping[str, np.ndarray]

_COSTS = ("cost", "tuning_cost", "measuring_cost", "autoattack_cost")
_PASSES = ("forwards", "backwards", "second_order")


def some_of(count: int, *, first: int = 0, most: int = EPISODES) -> list[int]:
    """Numbers of the episodes to run again, in order, which nobody who writes results can know.

    Of the `first` of them, which have more measured than the others, there is at least one.
    """
    drawn = unpredictable()
    some = drawn.permutation(count)[:most].tolist()
    if first and min(some) >= first:
        some[-1] = int(drawn.integers(min(first, count)))
    return sorted(some)


def check_protocol(record: Record, found: Comparison) -> None:
    """Whether a stage is of this version of the protocol; one that doesn't tell is of the first."""
    found.expect("protocol_version", protocol_of(record), PROTOCOL_VERSION)


def check_again(
    loaded: Loaded, arrays: Arrays, parts: Arrays, some: list[int], found: Comparison
) -> None:
    """Whether the stored arrays, (episodes, ...), hold what `some` episodes gave when run again.

    An array may be of the first episodes alone; `parts` then has those among `some`.
    """
    most = 1e-9 if loaded.same_machine else ROUNDING
    episodes = max(map(len, arrays.values()), default=0)
    for name, values in parts.items():
        stored = arrays.get(name, np.empty(0))
        if name == GIVEN_UP and name not in arrays:  # from before it was counted: none, then
            stored = np.zeros((episodes, *values.shape[1:]))
        there = [number for number in some if number < len(stored)]
        again = stored[there]
        # Not the other way round: what is no number isn't close to anything
        if again.shape != values.shape or not (np.abs(again - values) <= most).all():
            found.differs.append(f"run again, {name} of the episodes {some} differ")
        elif name != GIVEN_UP and (told := _favour(again - values)):
            found.differs.append(f"run again, {name} of the episodes {some} {told}")
    found.told.append(f"{len(some)} of {episodes} episodes run again")


def _favour(more: np.ndarray) -> str:
    """What is wrong where more is told than comes out, though by little in each; or nothing.

    An episode is one vote, since what is measured of it goes one way together.
    """
    more = more.reshape(len(more), -1).mean(axis=1) if len(more) else more
    higher, lower = int((more > 1e-9).sum()), int((more < -1e-9).sum())
    if one_sided(higher, lower):
        return f"are told higher {higher} times and lower {lower} times, too often for chance"
    if len(more) >= LEAST and (mean := float(more.mean())) > FAVOUR:
        return f"are told {mean:.1%} higher in the mean, where {FAVOUR:.0%} may be rounding"
    return ""


def check_tried(
    setting: Record, tried: Sequence[Record], again: Sequence[Record], found: Comparison, *, by: str
) -> None:
    """Whether a setting is the best of those that are tried, as these come out elsewhere.

    Args:
        setting: that was chosen.
        tried: the settings, each with what it left, named `by`.
        again: the same as they come out now.
    """
    told, now = ([{k: v for k, v in one.items() if k != by} for one in x] for x in (tried, again))
    found.expect("what is tried", told, now)
    if not tried or told != now:
        return
    left = np.array([one[by] for one in tried])
    # Not the other way round: what is no number isn't close to anything
    if not (np.abs(left - [one[by] for one in again]) <= ROUNDING).all():
        found.differs.append("tuned again, the settings that are tried leave other shares")
    if setting != told[int(np.argmax(left))]:
        found.differs.append(f"setting {setting} is not the best of those that are tried")


def check_costs(
    record: Record, again: Record, times: float, found: Comparison, *, exact: bool
) -> None:
    """Episodes of one protocol cost about the same."""
    for name in ("cost", "measuring_cost"):
        stored = record[name]
        for part, value in again[name].items():
            if not np.isclose(stored[part], times * value, rtol=1e-9 if exact else 0.25, atol=1e-9):
                found.differs.append(
                    f"{part} of {name} are told as {stored[part]:g}, by the episodes run again "
                    f"they are {times * value:g}"
                )


def check_sums(record: Record, found: Comparison) -> None:
    """Whether each stored cost's gradient evaluations are those of its passes."""
    stored = [(name, record.get(name)) for name in _COSTS]
    stored.append(("cost of the tuning", (record.get("tuning") or {}).get("cost")))
    for name, costs in stored:
        for cost in costs if isinstance(costs, list) else [costs]:
            if cost:  # else from before it was counted
                whole = Cost(*(cost[part] for part in _PASSES)).gradient_evaluations
                told = cost.get("gradient_evaluations")
                found.expect(f"gradient_evaluations of {name}", told, whole)


def check_strongest(
    stored: Record, again: Record, left: np.ndarray, found: Comparison, *, whole: bool
) -> None:
    """AutoAttack's passes: none where no query is left to attack, else at least one of each.

    Args:
        stored: the cost; empty where it was not counted yet.
        again: of those that are run again, on a machine of the same kind; empty on another.
        left: queries that PGD left, of each episode that AutoAttack saw.
        whole: whether all of these are run again.
    """
    if not stored:
        return
    count = round(float(left.sum()))
    told = [stored[part] for part in _PASSES]
    if not count and any(told):
        found.differs.append("autoattack_cost is told, though PGD left no query to attack")
    elif stored["forwards"] < count:
        found.differs.append(f"autoattack_cost has {told[0]:g} forwards for {count} queries")
    for part in _PASSES if again else ():
        if not again[part] <= stored[part] + 1e-9 or (whole and stored[part] > again[part] + 1e-9):
            found.differs.append(
                f"{part} of autoattack_cost are told as {stored[part]:g}, "
                f"{'they' if whole else 'those of some episodes'} are {again[part]:g}"
            )


def are_whole(some: Sequence[int], count: int, first: int) -> bool:
    """Whether all of the `first` episodes, or of as many as there are, are among some."""
    return set(range(min(first, count))) <= set(some)

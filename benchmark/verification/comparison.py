"""What the check of a stage found, and the tolerances that it compares with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import binom

from benchmark.results.rounding import may_differ
from benchmark.verify import DIFFERS, HOLDS, UNCHECKED

# Another machine rounds otherwise, and an attack that meets another last bit goes another way: so
# many outcomes may differ there, and at least CHANCE. On a machine of the same kind none may.
OTHER_SHARE, CHANCE = 0.05, 2
# Passes that an attack counts differ by as much there.
OTHER_PASSES = 0.25
# Of the sign test whether what differs does so on one side: one honest check of 10,000 fails it,
# and 14 that differ to the model's good with none to the contrary do.
LEVEL = 1e-4

_EXACT = 1e-9  # relative, of numbers that are sums of the same terms
_SHOWN = 3  # differences that are told of one stage


@dataclass
class Comparison:
    """What differs, what could not be checked, and what was; sentences without a full stop."""

    differs: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def verdict(self) -> tuple[str, str]:
        """State and text; a difference goes before what could not be checked."""
        for state, found in ((DIFFERS, self.differs), (UNCHECKED, self.unchecked)):
            if found:
                more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
                return state, "; ".join(found[:_SHOWN]) + more
        return HOLDS, "; ".join(self.told)

    def expect(self, name: str, stored: object, found: object) -> None:
        """`stored` has to be `found`, numbers to rounding; texts are told short."""
        if not same(stored, found):
            self.differs.append(f"{name} is told as {_short(stored)}, and is {_short(found)}")

    def expect_all(
        self, stored: Mapping[str, object], found: Mapping[str, object], names: Collection[str] = ()
    ) -> None:
        """The same of every name in `found`, or of those given."""
        for name in names or found:
            self.expect(name, stored.get(name), found.get(name))


def same(one: object, other: object) -> bool:
    """Whether two JSON values are the same, numbers to rounding and never a bool for a number."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    numbers = [isinstance(v, int | float) and not isinstance(v, bool) for v in (one, other)]
    if all(numbers):
        return bool(np.isclose(one, other, rtol=_EXACT, atol=1e-12))  # type: ignore[call-overload]
    return type(one) is type(other) and one == other


def allowed(count: int) -> int:
    """How many of `count` outcomes may differ on another machine."""
    return may_differ(count, share=OTHER_SHARE, least=CHANCE)


def one_sided(better: int, worse: int) -> bool:
    """Whether so many more are told to the model's good than to its bad as chance doesn't explain.

    Chance favours neither side; whoever edits results has a side. A sign test.
    """
    return bool(binom.sf(better - 1, better + worse, 0.5) <= LEVEL)


def unequal(stored: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> list[str]:
    """The names of the arrays that are not equal to the last bit, type included."""
    return [
        name
        for name in sorted(stored.keys() | found.keys())
        if name not in stored
        or name not in found
        or stored[name].dtype != found[name].dtype
        or not np.array_equal(stored[name], found[name], equal_nan=stored[name].dtype.kind == "f")
    ]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

"""Which defense of a group to pick, and why: robust first, then accurate, then cheap.

A choice is a defense as a user would take it, whatever the framework and the training seed. Of
those that the data can't tell from the most robust one, and of these from the most accurate one,
the cheapest is picked, or of several that cost the same the one that keeps most; what trust checks
flag is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from reports.board import BoardRow
from reports.columns import known
from reports.frame import outcomes
from reports.paired import compare, pairs
from reports.rows import Row
from reports.text import amount, listed, one_line, percent

Measure = Callable[[BoardRow], str | None]
_MOST_LACKING = 3  # defenses that are named where they lack trainings
# Trainings within one budget end up to an update apart, which is no reason to pick one
_SAME_COST = 0.01


@dataclass(frozen=True)
class Place:
    """Where a choice stands in one framework, over its seeds; shares of one."""

    framework: str
    clean_accuracy: float
    worst_case: float


@dataclass(frozen=True)
class Choice:
    """A defense with all of its ranked rows."""

    name: str
    defense: str
    rows: tuple[Row, ...]

    @property
    def undefended(self) -> bool:
        return self.rows[0].undefended

    @property
    def flagged(self) -> bool:
        return any(row.values.trust_flags for row in self.rows)

    @property
    def cost(self) -> float | None:
        """Gradient evaluations of a training, None where they are not known."""
        known_costs = [row.values.training_gradient_evaluations for row in self.rows]
        return fmean(c for c in known_costs if c is not None) if any(known_costs) else None

    @property
    def places(self) -> list[Place]:
        """One for each framework."""
        found = []
        for framework in dict.fromkeys(row.values.framework for row in self.rows):
            mine = [row.values for row in self.rows if row.values.framework == framework]
            clean = fmean(known(one.clean_accuracy) for one in mine)
            found.append(Place(framework, clean, fmean(known(one.worst_case) for one in mine)))
        return found

    def mean(self, name: str) -> float:
        """A measure of `Place` over frameworks."""
        return fmean(getattr(one, name) for one in self.places)

    def told(self, name: str) -> str:
        """The same in per cent; from the lowest to the highest where frameworks differ."""
        ends = sorted({percent(getattr(one, name)) for one in self.places}, key=float)
        bounded = name == "worst_case" and any(row.values.upper_bound for row in self.rows)
        return ("≤ " if bounded else "") + " to ".join(dict.fromkeys([ends[0], ends[-1]])) + " %"


def document(members: Sequence[Row]) -> dict[str, Any]:
    """The sentence, what it picks ("" for nothing), and every choice; a JSON value."""
    found = choices(members)
    picked, sentence = _picked(found)
    return {
        "sentence": sentence + _unequal(found) if picked else sentence,
        "picked": picked.name if picked else "",
        "choices": [
            {
                "name": one.name,
                "defense": one.defense,
                "cost": one.cost,
                "places": [asdict(place) for place in one.places],
            }
            for one in found
        ],
    }


def choices(members: Sequence[Row]) -> list[Choice]:
    """The defenses among rows that have a rank, the most robust first."""
    found: dict[str, list[Row]] = {}
    for row in members:
        if row.values.rank is not None:
            defense = "undefended" if row.undefended else one_line(row.values.defense)
            name = f"{defense}, {one_line(row.variant)}" if row.variant else defense
            found.setdefault(name, []).append(row)
    every = [Choice(name, rows[0].values.defense, tuple(rows)) for name, rows in found.items()]
    return sorted(every, key=lambda one: -one.mean("worst_case"))


def _picked(found: Sequence[Choice]) -> tuple[Choice | None, str]:
    defended = [one for one in found if not one.undefended]
    bare = [one for one in found if one.undefended]
    if not defended:
        return None, "Nothing to pick from: no defense has a rank here."
    sound = [one for one in defended if not one.flagged]
    if not sound:
        return None, "Nothing to pick: trust checks are flagged for every defense."
    better = [one for one in sound if not bare or _is_above(one, bare[0])]
    if sound[0] not in better:
        undefended = f"the undefended model ({bare[0].told('worst_case')})"
        told = f"the data can't tell the most robust defense, {sound[0].name}, from {undefended}"
        if not _same(sound[0], bare[0], _worst_case):
            told = f"the most robust defense, {sound[0].name}, keeps less than {undefended}"
        return None, f"Nothing to pick: {told}."
    near = _alike(sound[0], sound, _worst_case)
    tied = [one for one in near if one in better]
    cleanest = max(tied, key=lambda one: one.mean("clean_accuracy"))
    accurate = _alike(cleanest, tied, _clean)
    cheap = _cheapest(accurate)
    why = _why(cheap, defended, near, tied, accurate)
    return cheap[0], f"Pick {cheap[0].name}: {why}{_what(cheap[0], bare)}."


def _cheapest(found: Sequence[Choice]) -> list[Choice]:
    """Those that cost the least, in their order; all where a cost isn't known."""
    if any(one.cost is None for one in found):
        return list(found)
    least = min(known(one.cost) for one in found)
    return [one for one in found if known(one.cost) <= (1 + _SAME_COST) * least]


def _why(
    cheap: Sequence[Choice],
    defended: Sequence[Choice],
    near: Sequence[Choice],
    tied: Sequence[Choice],
    accurate: Sequence[Choice],
) -> str:
    """Why the first of `cheap` is picked; `near`: what can't be told from the most robust one,
    `tied`: of that, what is above the undefended model, `accurate`: of that, what can't be told
    from the most accurate, `cheap`: of that, what costs the least.
    """
    picked = cheap[0]
    if len(defended) == 1:
        return "the only defense here, "
    better = [
        one.name
        for one in defended
        if one.flagged and one.mean("worst_case") > picked.mean("worst_case")
    ]
    passed = f"but for {listed(better)}, which trust checks flag, " if better else ""
    if len(near) == 1:
        return f"{passed}the most robust one, told apart from all others; "
    if len(tied) == 1:
        return f"{passed}the only one that the data tell from the undefended model; "
    among = f"{passed}of {len(tied)} defenses that the data can't tell from the most robust one, "
    if len(tied) < len(near):
        among += "but from the undefended model, "
    if len(accurate) == 1:
        return f"{among}the most accurate before an attack; "
    if picked.cost is None:
        return f"{among}the first; "
    kept = (
        ""
        if len(accurate) == len(tied)
        else f"the {len(accurate)} most accurate are left, and of these "
    )
    if len(cheap) > 1:
        least = (
            f"{len(cheap)} cost the least" if len(cheap) < len(accurate) else "all cost the same"
        )
        cost = f"{least} to train ({amount(picked.cost)} GE each)"
        return f"{among}{kept}{cost}, of which it keeps most; "
    return f"{among}{kept}the cheapest to train ({amount(picked.cost)} GE); "


def _what(picked: Choice, bare: Sequence[Choice]) -> str:
    """What it keeps, beside the undefended twin."""
    labels = max(row.values.labels_used or 0 for row in picked.rows)
    adapted = f"adapted to {labels} labels, it" if labels else "it"
    beside = f" (undefended: {bare[0].told('worst_case')})" if bare else ""
    clean = f"is right on {picked.told('clean_accuracy')} before it"
    return f"{adapted} keeps {picked.told('worst_case')} under attack{beside} and {clean}"


def _unequal(found: Sequence[Choice]) -> str:
    """A sentence where some defenses lack trainings that others have: a mean may be one's luck.

    A model that someone else trained has one, and no other is to be had.
    """
    has = {
        one.name: {(row.values.framework, row.values.seed) for row in one.rows}
        for one in found
        if not one.undefended and one.rows[0].cell.record.config.source is None
    }
    every = set().union(*has.values())
    lacking = [f"{name} has {len(one)}" for name, one in has.items() if one != every]
    if not lacking:
        return ""
    told = lacking[:_MOST_LACKING]
    if more := len(lacking) - len(told):
        told.append(f"{more} more {'lacks' if more == 1 else 'lack'} some")
    return (
        f" Of {len(every)} trainings (seeds and frameworks) {listed(told)}: run the rest, since a "
        "mean over other seeds may differ by luck."
    )


def _worst_case(row: BoardRow) -> str | None:
    return row.worst_case_outcomes


def _clean(row: BoardRow) -> str | None:
    return row.clean_outcomes


def _alike(best: Choice, others: Sequence[Choice], of: Measure) -> list[Choice]:
    return [one for one in others if one is best or _same(best, one, of)]


def _is_above(one: Choice, bare: Choice) -> bool:
    """Whether the data tell that it keeps more than the undefended model."""
    higher = one.mean("worst_case") > bare.mean("worst_case")
    return higher and not _same(one, bare, _worst_case)


def _same(first: Choice, second: Choice, of: Measure) -> bool:
    """Whether some pair of their models, of one framework and seed where there are, is alike."""
    both = [(a.values, b.values) for a in first.rows for b in second.rows]
    near = [(a, b) for a, b in both if (a.framework, a.seed) == (b.framework, b.seed)]
    return any(
        not compare(
            outcomes(of(a)), outcomes(of(b)), comparisons=pairs(a.group_rows or 0)
        ).told_apart
        for a, b in near or both
    )

"""The rows of the leaderboard, one per (cell, suite), and what their columns mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

from reports.columns import NUMBER, TEXT, Column, Number, SuiteRow, Text, Whole, columns_of

GROUP = ("dataset", "dataset_fingerprint", "model", "norm", "eps", "features", "suite", "examples")
ATTACK_PREFIX = "robust_accuracy."
STATUS_PREFIX = "attack_status."
ABSENT = "missing"  # the status of an attack that other rows of the group had to stand
UNDEFENDED = "none"
# What rows of one training agree in that differ in nothing but the seed.
TRAINING = (
    *("defense", "framework", "epochs", "budget_ge", "parameters", "extra_data", "precision"),
    "origin",
)

_PER_ATTACK = {
    ATTACK_PREFIX: Column(
        NUMBER, "share that is right before and after this attack; NA where it didn't run"
    ),
    STATUS_PREFIX: Column(
        TEXT, "ok, failed, not-applicable or missing; NA where no row of the group has this attack"
    ),
}
# In this order; those of attacks stand between.
_BEFORE = (
    *("rank", *GROUP, "defense", "framework", "seed", "epochs", "budget_ge", "parameters"),
    *("extra_data", "precision", "origin"),
    *("attacked", "clean_correct", "clean_accuracy", "clean_balanced", "worst_case_balanced"),
)
_BEHIND = (
    *("worst_case", "worst_case_low", "worst_case_high", "worst_case_complete", "bound_reason"),
    *("common_examples", "common_worst_case", "common_low", "common_high", "unranked_reason"),
    "attacks_digest",
    *("group_rows", "best_difference", "best_low", "best_high", "best_p", "labels_used"),
    *("trust_flags", "trust_too_few", "trust_passed", "trust_checks", "unfit_reason"),
    *("seeds", "seeds_mean", "seeds_low", "seeds_high"),
    *("seeds_variance_between", "seeds_variance_within"),
    *("training_gradient_evaluations", "training_seconds"),
    *("held_out_before", "held_out_after", "held_out_area", "held_out_area_low"),
    *("held_out_area_high", "held_out_forgetting", "held_out_labels", "held_out_families"),
    *("corruption_accuracy", "corruption_low", "corruption_high"),
    *("certified_accuracy", "certified_low", "certified_high"),
    *("certified_radius", "certified_sigma", "published_accuracy", "published_source"),
    *("status", "reason", "cell_id"),
)


class Result(NamedTuple):
    """What became of an attack on a row: its status, and the accuracy that it left.

    `claimed`: by others, of this row's cell alone.
    """

    status: str
    accuracy: float | None = None
    claimed: bool = False


class Manner(NamedTuple):
    """How an attack was run on a row: class, arguments and threat as JSON, and passes, summed.

    `norm` and `eps` are the threat's once more, and `eps` is None where it is unrestricted.
    """

    told: str
    passes: float
    norm: str
    eps: float | None


@dataclass(frozen=True, kw_only=True)
class BoardRow(SuiteRow):
    """A cell under one suite, ranked: a row of `reports.leaderboard`."""

    rank: Annotated[
        Whole,
        "1 + the number of rows of the group that are significantly better in the worst case "
        "(McNemar's exact test on the same examples, corrected for all pairs, 95 %), and "
        "never below a less accurate row; NA where unranked_reason says why",
    ] = None
    clean_accuracy: Annotated[Number, "share of them that is right before any attack"] = None
    worst_case: Annotated[Number, "share that stays right under every attack that ran"] = None
    worst_case_low: Annotated[
        Number, "lower end of its 95 % Wilson interval; 0 for an upper bound, which has none"
    ] = None
    worst_case_high: Annotated[Number, "upper end of its 95 % Wilson interval"] = None
    worst_case_complete: Annotated[
        bool,
        "false where an attack failed, is missing, was run on other rows of the group only, "
        "or on some of the examples: the worst case is an upper bound",
    ] = False
    common_worst_case: Annotated[
        Number, "share of these that stays right under every attack; NA where there are none"
    ] = None
    common_low: Annotated[Number, "lower end of its 95 % Wilson interval"] = None
    common_high: Annotated[Number, "upper end of its 95 % Wilson interval"] = None
    unranked_reason: Annotated[Text, 'why the row has no rank, in words; "" where it has one'] = (
        None
    )
    attacks_digest: Annotated[
        Text,
        "start of the SHA-256 of the attacks with a result and their arguments; rows of equal "
        "digests stood the same attacks",
    ] = None
    group_rows: Annotated[
        Whole,
        "how many rows of the group were attacked: all pairs of them are the family that "
        "p-values and intervals of differences are corrected for",
    ] = None
    best_difference: Annotated[
        Number,
        "worst case less that of the best ranked row of the group; NA for that row itself and "
        "for rows without rank, and so are the next three",
    ] = None
    best_low: Annotated[Number, "lower end of its 95 % interval, corrected for the family"] = None
    best_high: Annotated[Number, "upper end of its 95 % interval, corrected for the family"] = None
    best_p: Annotated[
        Number, "p-value of McNemar's exact test between the two, corrected for the family"
    ] = None
    seeds: Annotated[
        Whole,
        "how many ranked rows of the group differ from this one in nothing but the training "
        "seed, itself included; NA for a row without rank, and so are the next five",
    ] = None
    seeds_mean: Annotated[Number, "mean of their worst cases"] = None
    seeds_low: Annotated[
        Number,
        "lower end of its 95 % interval over seeds and test examples; 0 where one is a bound",
    ] = None
    seeds_high: Annotated[Number, "upper end of its 95 % interval over seeds and test examples"] = (
        None
    )
    seeds_variance_between: Annotated[
        Number, "variance of a model's worst case that its training seed causes; NA for one seed"
    ] = None
    seeds_variance_within: Annotated[
        Number, "variance of a model's worst case that the choice of the test examples causes"
    ] = None
    results: Mapping[str, Result] = field(default_factory=dict)  # by attack
    ran: Mapping[str, str] = field(default_factory=dict)  # the examples: of all under "", by attack
    how: Mapping[str, Manner] = field(default_factory=dict)  # by attack, of those with a result

    @property
    def upper_bound(self) -> bool:
        """Whether the worst case is only an upper bound, to be written with a ≤."""
        return self.worst_case is not None and not self.worst_case_complete

    @property
    def threats(self) -> list[tuple[str, float | None]]:
        """Norms and budgets of the attacks that ran, the row's own first; it alone if none did."""
        own: tuple[str, float | None] = (self.norm, self.eps)
        found = list(dict.fromkeys((one.norm, one.eps) for one in self.how.values()))
        return sorted(found, key=lambda one: one != own) or [own]

    @property
    def without_result(self) -> list[str]:
        """The attacks that should have a result and have none."""
        return [name for name, one in self.results.items() if one.status in ("failed", ABSENT)]

    @property
    def group(self) -> tuple[Any, ...]:
        """What rows share that are ranked together."""
        return tuple(getattr(self, name) for name in GROUP)

    @property
    def training(self) -> tuple[Any, ...]:
        """What rows share that differ in nothing but the seed, or in data and attacks."""
        return tuple(getattr(self, name) for name in TRAINING)

    @property
    def undefended(self) -> bool:
        return self.defense == UNDEFENDED

    def plain(self, attacks: Iterable[str]) -> dict[str, Any]:
        """The columns as plain values, in their order, with those of these attacks."""
        found = {name: getattr(self, name) for name in _BEFORE}
        results = {name: self.results.get(name) for name in attacks}
        found |= {f"{ATTACK_PREFIX}{n}": one and one.accuracy for n, one in results.items()}
        found |= {f"{STATUS_PREFIX}{n}": one and one.status for n, one in results.items()}
        return found | {name: getattr(self, name) for name in _BEHIND}


def columns(attacks: Sequence[str] = ("<attack>",)) -> dict[str, Column]:
    """The leaderboard's columns, with those of these attacks."""
    known = columns_of(BoardRow)
    return {
        **{name: known[name] for name in _BEFORE},
        **{f"{prefix}{n}": one for prefix, one in _PER_ATTACK.items() for n in attacks},
        **{name: known[name] for name in _BEHIND},
    }

"""What trust checks say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PASSED, FLAGGED, NOT_APPLICABLE = "passed", "flagged", "not-applicable"

# What is left to chance where a check breaks examples that the suite left whole: so many of them.
CHANCE = 2


@dataclass(frozen=True)
class Finding:
    """What a check found: PASSED, FLAGGED or NOT_APPLICABLE, a sentence, and its evidence."""

    status: str
    sentence: str
    evidence: Mapping[str, float | str] = field(default_factory=dict)


def passed(sentence: str, **evidence: float | str) -> Finding:
    """Nothing to worry about."""
    return Finding(PASSED, sentence, evidence)


def flagged(sentence: str, **evidence: float | str) -> Finding:
    """The numbers may be too kind to the model."""
    return Finding(FLAGGED, sentence, evidence)


def not_applicable(sentence: str, **evidence: float | str) -> Finding:
    """Nothing can be said."""
    return Finding(NOT_APPLICABLE, sentence, evidence)


def too_few(examples: int, left: int, share: float) -> Finding | None:
    """What a check says whose threshold can't be reached, so that it would pass whatever it found.

    Args:
        examples: that it compares with the suite.
        left: of these, what the suite left whole, which the check may break.
        share: of the examples; what it breaks beyond that, and beyond `CHANCE`, is told.
    """
    if examples and not share * examples < left <= CHANCE:
        return None
    return not_applicable(
        f"Too few examples to tell: the attacks left {left} whole of {examples} correct ones that "
        f"they were run on, and {CHANCE} may break by chance.",
        too_few=examples,
    )


def percent(share: float) -> str:
    """A share for a sentence."""
    return f"{100 * share:.3g} %"

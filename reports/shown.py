"""A leaderboard row's values as text: the same in the terminal, documents and the site."""

from __future__ import annotations

from reports.board import BoardRow
from reports.text import budget, listed, norm, one_line, percent

NONE = "–"


def rank(values: BoardRow) -> str:
    """The rank; for a row without one why, unless its attacks' cells and the ≤ show it."""
    if values.rank is not None:
        return str(values.rank)
    if values.status == "ok" and values.unfit_reason:
        return f"{NONE} (clean accuracy)"
    return NONE


def why_unranked(values: BoardRow) -> str:
    """Why the row has no rank; "" where it has one, or where the ≤ of its worst case tells."""
    if values.upper_bound and values.without_result and not values.unfit_reason:
        return ""
    return str(values.unranked_reason)


def attack(values: BoardRow, name: str) -> str:
    """The accuracy left under an attack in per cent, or why there is none."""
    result = values.results.get(name)
    if result is None:
        return NONE
    if result.status == "ok":
        return percent(result.accuracy)
    return "n/a" if result.status == "not-applicable" else result.status


def worst_case(values: BoardRow) -> str:
    """The worst case in per cent; behind ≤ where it is only an upper bound."""
    bound = "≤ " if values.upper_bound else ""
    return bound + percent(values.worst_case)


def interval(values: BoardRow) -> str:
    """Its 95 % interval; of an upper bound from 0."""
    return _interval(values.worst_case_low, values.worst_case_high)


def balanced(values: BoardRow) -> str:
    """Balanced accuracy, clean and in the worst case, where the classes are uneven."""
    if values.clean_balanced is None:
        return NONE
    return f"{percent(values.clean_balanced)} / {percent(values.worst_case_balanced)}"


def extra_data(values: BoardRow) -> str:
    """What the training had beside the data set, where it had any."""
    return one_line(values.extra_data or NONE)


def corrupted(values: BoardRow) -> str:
    """Mean accuracy on corrupted images with its 95 % interval, where it was measured."""
    if values.corruption_accuracy is None:
        return NONE
    told = _interval(values.corruption_low, values.corruption_high)
    return f"{percent(values.corruption_accuracy)} ({told})"


def certified(values: BoardRow) -> str:
    """Certified accuracy under the row's threat with its 95 % interval, where there is any."""
    if values.certified_accuracy is None:
        return NONE
    told = _interval(values.certified_low, values.certified_high)
    return f"{percent(values.certified_accuracy)} ({told})"


def common(values: BoardRow) -> str:
    """The worst case on the examples that every attack was run on, where these are not all."""
    if not values.upper_bound or not values.common_examples:
        return NONE
    told = _interval(values.common_low, values.common_high)
    return f"{percent(values.common_worst_case)} ({told}) of {values.common_examples}"


def labels(values: BoardRow) -> str:
    """How many labels the model was adapted with before it was attacked."""
    return NONE if values.labels_used is None else str(values.labels_used)


def trust(values: BoardRow) -> str:
    """How many trust checks the row passes."""
    if values.trust_flags is None:
        return "not made"
    passed, checks = values.trust_passed, values.trust_checks
    unfit = ", clean accuracy" if values.unfit_reason else ""
    return ("" if passed == checks else "! ") + f"{passed} of {checks}{unfit}"


def _interval(low: float | None, high: float | None) -> str:
    return NONE if low is None else f"{percent(low)}–{percent(high)}"


def threats(values: BoardRow) -> str:
    """What the worst case is over: a suite's attacks may have threats of their own."""
    return listed(
        [
            f"{norm(name)} {budget(eps)}" if eps is not None else "attacks without a budget"
            for name, eps in values.threats
        ]
    )

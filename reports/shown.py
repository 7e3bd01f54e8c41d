"""A leaderboard row's values as text: the same in the terminal, documents, the page and the site.

Each function takes a row of `reports.leaderboard` as plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.board import ATTACK_PREFIX, STATUS_PREFIX, upper_bound, without_result
from reports.text import percent

Values = Mapping[str, Any]

NONE = "–"


def rank(values: Values) -> str:
    """The rank; for a row without one why, unless its attacks' cells and the ≤ show it."""
    if values["rank"] is not None:
        return str(values["rank"])
    if values["status"] == "ok" and values["unfit_reason"]:
        return f"{NONE} (clean accuracy)"
    return NONE


def why_unranked(values: Values) -> str:
    """Why the row has no rank; "" where it has one, or where the ≤ of its worst case tells."""
    if upper_bound(values) and without_result(values) and not values["unfit_reason"]:
        return ""
    return str(values["unranked_reason"])


def attack(values: Values, name: str) -> str:
    """The accuracy left under an attack in per cent, or why there is none."""
    status = values.get(f"{STATUS_PREFIX}{name}")
    if status == "ok":
        return percent(values[f"{ATTACK_PREFIX}{name}"])
    return {None: NONE, "not-applicable": "n/a"}.get(status, str(status))


def worst_case(values: Values) -> str:
    """The worst case in per cent; behind ≤ where it is only an upper bound."""
    bound = "≤ " if upper_bound(values) else ""
    return bound + percent(values["worst_case"])


def interval(values: Values) -> str:
    """Its 95 % interval; of an upper bound from 0."""
    return _interval(values["worst_case_low"], values["worst_case_high"])


def balanced(values: Values) -> str:
    """Balanced accuracy, clean and in the worst case, where the classes are uneven."""
    if values["clean_balanced"] is None:
        return NONE
    return f"{percent(values['clean_balanced'])} / {percent(values['worst_case_balanced'])}"


def corrupted(values: Values) -> str:
    """Mean accuracy on corrupted images with its 95 % interval, where it was measured."""
    if values["corruption_accuracy"] is None:
        return NONE
    told = _interval(values["corruption_low"], values["corruption_high"])
    return f"{percent(values['corruption_accuracy'])} ({told})"


def common(values: Values) -> str:
    """The worst case on the examples that every attack was run on, where these are not all."""
    if not upper_bound(values) or not values["common_examples"]:
        return NONE
    told = _interval(values["common_low"], values["common_high"])
    return f"{percent(values['common_worst_case'])} ({told}) of {values['common_examples']}"


def labels(values: Values) -> str:
    """How many labels the model was adapted with before it was attacked."""
    return NONE if values["labels_used"] is None else str(values["labels_used"])


def trust(values: Values) -> str:
    """How many trust checks the row passes."""
    if values["trust_flags"] is None:
        return "not made"
    passed, checks = values["trust_passed"], values["trust_checks"]
    unfit = ", clean accuracy" if values["unfit_reason"] else ""
    return ("" if passed == checks else "! ") + f"{passed} of {checks}{unfit}"


def _interval(low: float | None, high: float | None) -> str:
    return NONE if low is None else f"{percent(low)}–{percent(high)}"

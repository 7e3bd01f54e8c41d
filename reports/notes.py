"""What a reader must know about rows of a group before trusting their numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reports import shown
from reports.records import Attack
from reports.rows import Row

_BOUND = "so the worst case is only an upper bound (≤) and the row has no rank"
_NOT_RUN = f"was run on other rows but not here, {_BOUND}"
_WITHOUT_RESULT = {
    "failed": f"failed, {_BOUND}",
    "missing": f"has no readable result, {_BOUND}",
    "not-applicable": "is not applicable",
}


@dataclass(frozen=True)
class Note:
    """Something a reader must know about some rows of a group."""

    subject: str
    text: str
    labels: list[str]


def notes(rows: Sequence[Row]) -> list[Note]:
    """What is missing or failed, broken budgets, flags, unequal arguments; equals are joined."""
    found: dict[tuple[str, str], list[str]] = {}
    everywhere = dict.fromkeys(a.name for row in rows for a in row.attacks if not a.claimed)
    for row in rows:
        here = {attack.name for attack in row.attacks}
        for name in everywhere:
            if name not in here:
                found.setdefault((name, _NOT_RUN), []).append(row.label)
        for attack in row.attacks:
            for text in (*_threat(attack, row), *_about(attack)):
                found.setdefault((attack.name, text), []).append(row.label)
        if reason := shown.why_unranked(row.values):
            found.setdefault(("rank", f"none for this row: {reason}"), []).append(row.label)
        for check in row.trust.flags if row.trust else []:
            found.setdefault((f"trust: {check.name}", check.sentence), []).append(row.label)
    joined = [Note(subject, text, labels) for (subject, text), labels in found.items()]
    return [*joined, *_unequal_arguments(rows)]


def _threat(attack: Attack, row: Row) -> Iterator[str]:
    """A threat that is not the row's: then the worst case is one over several threats."""
    record, stated = attack.record, row.cell.record.config.threat
    if record is None or not record.norm or attack.status != "ok":
        return
    if (record.norm, record.eps) != (stated.norm, stated.eps):
        budget = "" if record.eps is None else f" with eps {record.eps:g}"
        yield f"has a threat of its own, {record.norm}{budget}; the worst case is over all of them"


def _about(attack: Attack) -> Iterator[str]:
    if attack.status in _WITHOUT_RESULT:
        yield _WITHOUT_RESULT[attack.status] + (f": {attack.reason}" if attack.reason else "")
    if attack.record is None:
        return
    if attack.outcomes is not None and not attack.outcomes.attacked.all():
        ran, all_examples = attack.outcomes.attacked.sum(), len(attack.outcomes.attacked)
        yield (
            f"was run on {ran} of {all_examples} examples, its accuracy is of these; "
            "the worst case is an upper bound"
        )
    if attack.record.silent:
        met = attack.record.silent
        found = (
            "1 success that it did not return; it counts"
            if met == 1
            else (f"{met} successes that it did not return; they count")
        )
        yield f"met {found}"
    counts = attack.record.violations
    for count, what in (
        (counts.budget, "left the perturbation budget"),
        (counts.box, "left the value range [0, 1]"),
        (counts.non_finite, "held values that are not finite"),
    ):
        if count:
            yield f"{count} of its examples {what}; none of them counts as a success"


def _unequal_arguments(rows: Sequence[Row]) -> list[Note]:
    seen: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        for attack in row.attacks:
            if attack.record is not None and attack.status == "ok":
                arguments = json.dumps(attack.record.arguments, sort_keys=True)
                seen.setdefault(attack.name, {}).setdefault(arguments, []).append(row.label)
    return [
        Note(name, f"ran with arguments that others did not have: {arguments}", labels)
        for name, variants in seen.items()
        if len(variants) > 1
        for arguments, labels in variants.items()
    ]

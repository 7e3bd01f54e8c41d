"""Trust checks: what must hold before a row's numbers mean anything, each with its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmark.results.records import CheckRecord, TrustRecord
from reports.records import Attack, Cell

PASSED, WARNING, NOT_APPLICABLE = "passed", "warning", "not-applicable"

# What the record of a check calls a warning.
_STATES = {"flagged": WARNING}


def checks(
    cell: Cell, attacks: Sequence[Attack], trust: TrustRecord | None
) -> list[dict[str, Any]]:
    """The checks of one cell under one suite, as {"check", "state", "evidence"}.

    First what the report sees itself, then what was checked with the model after the attacks.
    """
    ended = cell.record.status == "ok"
    return [
        _check(
            "The cell ended well",
            ended,
            f"status {cell.record.status}" + (f": {cell.record.reason}" if not ended else ""),
        ),
        _every_attack_ran(attacks),
        _budget_kept(attacks),
        *(_made(check) for check in (trust.checks if trust else [])),
    ]


def _made(check: CheckRecord) -> dict[str, Any]:
    evidence = f"{check.sentence} ({check.shown_evidence})" if check.evidence else check.sentence
    state = _STATES.get(check.status, check.status)
    return {"check": check.name, "state": state, "evidence": evidence}


def _check(name: str, holds: bool, evidence: str) -> dict[str, Any]:
    return {"check": name, "state": PASSED if holds else WARNING, "evidence": evidence}


def _every_attack_ran(attacks: Sequence[Attack]) -> dict[str, Any]:
    ran = [a for a in attacks if a.status == "ok"]
    without = [a for a in attacks if a.status in ("failed", "missing")]
    aside = [a for a in attacks if a.status == "not-applicable"]
    told = [f"{len(ran)} of {len(attacks)} ran"]
    told += [f"{a.name} {a.status}" + (f": {a.reason}" if a.reason else "") for a in without]
    told += [f"{a.name} is not applicable" + (f": {a.reason}" if a.reason else "") for a in aside]
    return _check("Every attack of the suite ran", bool(ran) and not without, "; ".join(told))


def _budget_kept(attacks: Sequence[Attack]) -> dict[str, Any]:
    told, broken = [], 0
    for attack in attacks:
        if attack.record is None:
            continue
        counts = attack.record.violations
        total = counts.budget + counts.box + counts.non_finite
        broken += total
        if total:
            told.append(
                f"{attack.name}: {counts.budget} outside the budget, {counts.box} outside [0, 1], "
                f"{counts.non_finite} not finite; none of them counts as a success"
            )
    return _check(
        "Every adversarial example keeps the budget, measured again outside the attack",
        not broken,
        "; ".join(told) or "0 violations",
    )

"""The tidy DataFrame that everything in a report is made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.results.records import ExtraDataConfig
from reports.adaptations import summary
from reports.attacked import expected_draw
from reports.certification import columns as certified
from reports.checks import NOT_APPLICABLE, PASSED, checks
from reports.columns import COLUMNS, CellRow, TidyRow, table
from reports.records import Attack, Cell, Results, read
from reports.statistics import balanced
from reports.trust import CLEAN_ACCURACY


def outcomes(text: str | None) -> np.ndarray:
    """A column's outcomes, example by example: (n,) bool; (0,) where there are none."""
    found: np.ndarray = np.frombuffer((text or "").encode("ascii"), dtype=np.uint8) == ord("1")
    return found


def _as_text(right: np.ndarray) -> str:
    return np.where(right, b"1", b"0").tobytes().decode("ascii")


def load(out: Path | str) -> pd.DataFrame:
    """One row per (cell, suite, attack); see `reports.load`."""
    results = read(out)
    tidy = table([vars(row) for row in rows_of(results)], COLUMNS)
    tidy.attrs["left_out"] = results.left_out.as_list()
    return tidy


def rows_of(results: Results) -> list[TidyRow]:
    """One row per (cell, suite, attack); a cell without attacks has one row with attack ""."""
    return [row for cell in results.cells for row in _rows(cell)]


def _rows(cell: Cell) -> Iterator[TidyRow]:
    about = vars(_about(cell))
    suites = [name for name, keys in sorted(cell.record.suites.items()) if keys]
    if not suites:
        yield TidyRow(**about)
    for suite in suites:
        attacks = cell.under(suite)
        shared = {**about, "suite": suite, **_worst_case(attacks), **_trust(cell, suite, attacks)}
        for attack in attacks:
            yield TidyRow(**shared, **_attack_columns(attack))


def _about(cell: Cell) -> CellRow:
    record, config = cell.record, cell.record.config
    stages = [stage for stage in (cell.training, cell.adaptation) if stage is not None]
    return CellRow(
        cell_id=cell.cell_id,
        dataset=config.dataset.name,
        dataset_fingerprint=config.dataset.fingerprint,
        model=config.model,
        norm=config.threat.norm,
        eps=config.threat.eps,
        features=config.threat.of_features,
        examples=config.examples,
        defense=config.defense.name,
        framework=config.framework,
        seed=config.seed,
        epochs=config.epochs,
        budget_ge=config.budget_ge,
        parameters=json.dumps(config.defense.parameters, sort_keys=True),
        extra_data=extra_data(config.extra_data),
        precision=config.precision,
        origin=config.origin_in_short,
        status=record.status,
        reason=record.reason,
        labels_used=None if cell.adaptation is None else cell.adaptation.labels_used,
        training_gradient_evaluations=record.gradient_evaluations,
        training_seconds=sum(s.seconds for s in stages) if cell.training else None,
        **_adaptation(cell),
        **_corruptions(cell),
        **certified(cell.certifications),
        **_published(cell),
    )


def extra_data(used: ExtraDataConfig | None) -> str | None:
    """Extra training data in short."""
    return None if used is None else f"{used.name}, {used.share:g} of each batch"


def _adaptation(cell: Cell) -> dict[str, Any]:
    found = summary(cell.adaptations)
    if found is None:
        return {}
    return {
        "held_out_before": found.before,
        "held_out_after": found.after,
        "held_out_area": found.area.mean,
        "held_out_area_low": found.area.low,
        "held_out_area_high": found.area.high,
        "held_out_forgetting": found.forgetting,
        "held_out_labels": found.shots,
        "held_out_families": f"{', '.join(found.families)}; {found.episodes} episodes",
    }


def _corruptions(cell: Cell) -> dict[str, Any]:
    found = cell.corruptions
    if found is None:
        return {}
    return {
        "corruption_accuracy": found.mean,
        "corruption_low": found.low,
        "corruption_high": found.high,
    }


def _published(cell: Cell) -> dict[str, Any]:
    found = cell.published
    if found is None:
        return {}
    return {"published_accuracy": found.robust_accuracy, "published_source": found.source}


def _trust(cell: Cell, suite: str, attacks: list[Attack]) -> dict[str, Any]:
    """What came of all checks, and whether the clean accuracy makes sense at all."""
    trust = cell.trust.get(suite)
    made = checks(cell, [one for one in attacks if not one.claimed], trust)
    flags = [] if trust is None else trust.flags
    few = [] if trust is None else trust.too_few
    return {
        "trust_flags": None if trust is None else "; ".join(check.name for check in flags),
        "trust_too_few": None if trust is None else "; ".join(check.name for check in few),
        "trust_passed": sum(one["state"] == PASSED for one in made),
        "trust_checks": sum(one["state"] != NOT_APPLICABLE for one in made),
        "unfit_reason": next((one.sentence for one in flags if one.name == CLEAN_ACCURACY), ""),
    }


def _worst_case(attacks: list[Attack]) -> dict[str, Any]:
    """Per-example AND over the attacks that ran; a failed attack never counts as robustness."""
    found = [attack.outcomes for attack in attacks if attack.outcomes is not None]
    if not found:
        return {"worst_case_complete": False, "bound_reason": ""}
    clean, robust = found[0].clean_correct, np.all([one.robust for one in found], axis=0)
    common = np.all([one.attacked for one in found], axis=0)
    if any(attack.without_result for attack in attacks):
        common = np.zeros_like(common)
    label = found[0].label
    indices = found[0].test_index.astype("<i8").tobytes()
    reason = "; ".join(filter(None, map(_bounding, attacks)))
    return {
        "attacked": len(robust),
        "clean_correct": int(np.count_nonzero(clean)),
        "worst_case_correct": int(np.count_nonzero(robust)),
        "worst_case_expected": expected_draw(found),
        "clean_balanced": None if label is None else balanced(clean, label),
        "worst_case_balanced": None if label is None else balanced(robust, label),
        "clean_outcomes": _as_text(clean),
        "worst_case_outcomes": _as_text(robust),
        "examples_digest": hashlib.sha256(indices).hexdigest()[:16],
        "worst_case_complete": not reason,
        "bound_reason": reason,
        "common_examples": int(np.count_nonzero(common)),
        "common_correct": int(np.count_nonzero(robust & common)),
    }


def _bounding(attack: Attack) -> str:
    """Why this attack leaves the worst case an upper bound, "" if it doesn't."""
    if attack.without_result:
        return f"{attack.name} {attack.status}" + (f": {attack.reason}" if attack.reason else "")
    if attack.outcomes is None or attack.outcomes.attacked.all():
        return ""
    attacked = attack.outcomes.attacked
    return f"{attack.name} ran on {np.count_nonzero(attacked)} of {len(attacked)} examples"


def _attack_columns(attack: Attack) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "attack": attack.name,
        "attack_key": attack.key,
        "attack_status": attack.status,
        "attack_reason": attack.reason,
        "attack_claimed": attack.claimed,
    }
    if attack.record is not None:
        columns |= {
            "attack_class": attack.record.attack,
            "attack_arguments": json.dumps(attack.record.arguments, sort_keys=True),
            "attack_norm": attack.record.norm or None,
            "attack_eps": attack.record.eps,
            "attack_transferred": attack.record.source is not None,
            "silent_successes": attack.record.silent,
            "attack_seconds": attack.record.seconds,
            "forwards": attack.record.forwards,
            "backwards": attack.record.backwards,
            "violations_budget": attack.record.violations.budget,
            "violations_box": attack.record.violations.box,
            "violations_non_finite": attack.record.violations.non_finite,
        }
    if attack.outcomes is not None:
        attacked = attack.outcomes.attacked
        columns |= {
            "attack_examples": int(np.count_nonzero(attacked)),
            "robust_correct": int(np.count_nonzero(attack.outcomes.robust[attacked])),
            "robust_accuracy": attack.outcomes.accuracy,
            "robust_outcomes": _as_text(attack.outcomes.robust),
            "attack_ran": _as_text(attacked),
        }
    return columns

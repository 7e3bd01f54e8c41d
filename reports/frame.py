"""The tidy DataFrame that everything in a report is made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from reports.adaptations import summary
from reports.records import Attack, Cell, Results, read


@dataclass(frozen=True)
class Column:
    """The type of a column, which holds NA where there is no value, and what it means."""

    dtype: str
    meaning: str


TEXT, WHOLE, NUMBER, YES_NO = "string", "Int64", "Float64", "boolean"
OUTCOMES = 'a character for each test example, "1" where {}, else "0"; see `reports.outcomes`'

CELL_COLUMNS = {
    "cell_id": Column(TEXT, "the cell's id, which is also the name of its folder"),
    "dataset": Column(TEXT, "name of the data set"),
    "dataset_fingerprint": Column(TEXT, "start of the SHA-256 of all its arrays"),
    "model": Column(TEXT, "name of the architecture"),
    "norm": Column(TEXT, "norm of the threat model"),
    "eps": Column(NUMBER, "perturbation budget in pixel scale [0, 1]"),
    "suite": Column(TEXT, 'name of the attack suite; "" for a cell that ended before any'),
    "examples": Column(WHOLE, "how many test examples were asked for"),
    "defense": Column(TEXT, 'name of the defense; "none" is the undefended twin'),
    "framework": Column(TEXT, "torch or tensorflow"),
    "seed": Column(WHOLE, "training seed"),
    "epochs": Column(WHOLE, "training epochs asked for; NA where the defense chose"),
    "budget_ge": Column(NUMBER, "gradient evaluations allowed; NA where there was no limit"),
    "parameters": Column(TEXT, "the defense's parameters as JSON"),
    "status": Column(TEXT, "how the cell ended: ok, failed, timeout or diverged"),
    "reason": Column(TEXT, "why, in words"),
    "training_gradient_evaluations": Column(
        NUMBER, "gradient evaluations of training and adaptation together"
    ),
    "training_seconds": Column(NUMBER, "wall seconds of training and adaptation together"),
    "held_out_before": Column(
        NUMBER,
        "accuracy under the adaptation protocol's held-out attack families before adaptation, the "
        "mean over the families; NA where none was measured, and so are the next seven",
    ),
    "held_out_after": Column(
        NUMBER, "the same after it, with the largest support and the tuned number of steps"
    ),
    "held_out_area": Column(
        NUMBER, "area under the curve over steps, with the largest support, as a share of the whole"
    ),
    "held_out_area_low": Column(NUMBER, "lower end of its 95 % interval over episodes"),
    "held_out_area_high": Column(NUMBER, "upper end of its 95 % interval over episodes"),
    "held_out_forgetting": Column(
        NUMBER, "accuracy under the seen families after that adaptation, minus before it"
    ),
    "held_out_labels": Column(WHOLE, "labelled examples of the largest support"),
    "held_out_families": Column(TEXT, "names of the families, and the episodes of each"),
}
WORST_CASE_COLUMNS = {
    "attacked": Column(WHOLE, "how many test examples were attacked"),
    "clean_correct": Column(WHOLE, "how many of them are right before any attack"),
    "worst_case_correct": Column(
        WHOLE, "how many stay right under every attack of the suite that ran"
    ),
    "clean_outcomes": Column(TEXT, OUTCOMES.format("it is right before any attack")),
    "worst_case_outcomes": Column(
        TEXT, OUTCOMES.format("it stays right under every attack of the suite that ran")
    ),
    "examples_digest": Column(
        TEXT,
        "start of the SHA-256 of the indices of the test examples attacked; rows of equal data and "
        "digest can be compared example by example",
    ),
    "worst_case_complete": Column(
        YES_NO,
        "whether every attack of the suite ran or is not applicable; "
        "if not, the worst case is only an upper bound",
    ),
}
TRUST_COLUMNS = {
    "trust_flags": Column(
        TEXT,
        'names of the trust checks that are flagged, with "; " between them; "" where none is, NA '
        "where none were made",
    ),
}
ATTACK_COLUMNS = {
    "attack": Column(TEXT, 'name of the attack in the suite; "" for a cell without any'),
    "attack_class": Column(TEXT, "ART's class of the attack"),
    "attack_key": Column(TEXT, "its name with a hash of its arguments and examples"),
    "attack_status": Column(TEXT, "ok, failed, not-applicable, or missing (also: damaged)"),
    "attack_reason": Column(TEXT, "why, in words"),
    "attack_norm": Column(TEXT, "norm of the attack's threat; unrestricted for none"),
    "attack_eps": Column(NUMBER, "its budget in pixel scale [0, 1]; NA where unrestricted"),
    "attack_examples": Column(WHOLE, "how many examples this attack was run on"),
    "robust_correct": Column(WHOLE, "how many of these are right before and after this attack"),
    "robust_accuracy": Column(NUMBER, "the same as a share of the examples it was run on"),
    "silent_successes": Column(
        WHOLE, "examples that it broke on its way and returned unbroken; counted as broken"
    ),
    "robust_outcomes": Column(
        TEXT,
        OUTCOMES.format("it is right before this attack, and after it if it was run on it"),
    ),
    "attack_ran": Column(TEXT, OUTCOMES.format("the attack was run on it")),
    "attack_arguments": Column(TEXT, "its arguments as run, as JSON"),
    "attack_seconds": Column(NUMBER, "wall seconds of the attack"),
    "forwards": Column(NUMBER, "forward passes of single examples"),
    "backwards": Column(NUMBER, "backward passes of single examples"),
    "violations_budget": Column(WHOLE, "examples outside the budget, never successes"),
    "violations_box": Column(WHOLE, "examples outside [0, 1], never successes"),
    "violations_non_finite": Column(WHOLE, "examples that are not finite, never successes"),
}
COLUMNS = {**CELL_COLUMNS, **WORST_CASE_COLUMNS, **TRUST_COLUMNS, **ATTACK_COLUMNS}


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Column]) -> pd.DataFrame:
    """A frame of these columns and types; what a row lacks is NA."""
    return pd.DataFrame(
        {
            name: pd.array([row.get(name) for row in rows], dtype=cast(Any, column.dtype))
            for name, column in columns.items()
        }
    )


def meanings(columns: Mapping[str, Column]) -> dict[str, str]:
    """What each column means."""
    return {name: column.meaning for name, column in columns.items()}


def plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as plain Python values, with None for NA."""
    return [
        {str(name): None if value is pd.NA else value for name, value in row.items()}
        for row in frame.astype(object).to_dict("records")
    ]


def outcomes(text: str) -> np.ndarray:
    """A column's outcomes, example by example: (n,) bool."""
    found: np.ndarray = np.frombuffer(text.encode("ascii"), dtype=np.uint8) == ord("1")
    return found


def _as_text(right: np.ndarray) -> str:
    return np.where(right, b"1", b"0").tobytes().decode("ascii")


def load(out: Path | str) -> pd.DataFrame:
    """One row per (cell, suite, attack); see `reports.load`."""
    return frame(read(out))


def frame(results: Results) -> pd.DataFrame:
    """One row per (cell, suite, attack); a cell without attacks has one row with attack ""."""
    rows = [row for cell in results.cells for row in _rows(cell)]
    tidy = table(rows, COLUMNS)
    tidy.attrs["left_out"] = results.left_out.as_list()
    tidy.attrs["columns"] = meanings(COLUMNS)
    return tidy


def _rows(cell: Cell) -> Iterator[dict[str, Any]]:
    about = _about(cell)
    suites = {name: keys for name, keys in sorted(cell.record.suites.items()) if keys}
    if not suites:
        yield {**about, "suite": "", "attack": "", "worst_case_complete": False}
    for suite, keys in suites.items():
        attacks = [cell.attacks[key] for key in dict.fromkeys(keys)]
        worst_case = _worst_case(attacks)
        if (trust := cell.trust.get(suite)) is not None:
            worst_case["trust_flags"] = "; ".join(check.name for check in trust.flags)
        for attack in attacks:
            yield {**about, "suite": suite, **worst_case, **_attack_columns(attack)}


def _about(cell: Cell) -> dict[str, Any]:
    record, config = cell.record, cell.record.config
    stages = [stage for stage in (cell.training, cell.adaptation) if stage is not None]
    return {
        "cell_id": cell.cell_id,
        "dataset": config.dataset.name,
        "dataset_fingerprint": config.dataset.fingerprint,
        "model": config.model,
        "norm": config.threat.norm,
        "eps": config.threat.eps,
        "examples": config.examples,
        "defense": config.defense.name,
        "framework": config.framework,
        "seed": config.seed,
        "epochs": config.epochs,
        "budget_ge": config.budget_ge,
        "parameters": json.dumps(config.defense.parameters, sort_keys=True),
        "status": record.status,
        "reason": record.reason,
        "training_gradient_evaluations": record.gradient_evaluations,
        "training_seconds": sum(s.seconds for s in stages) if cell.training else None,
        **_adaptation(cell),
    }


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


def _worst_case(attacks: list[Attack]) -> dict[str, Any]:
    """Per-example AND over the attacks that ran; a failed attack never counts as robustness."""
    found = [attack.outcomes for attack in attacks if attack.outcomes is not None]
    complete = all(attack.status in ("ok", "not-applicable") for attack in attacks)
    if not found:
        return {"worst_case_complete": False}
    clean, robust = found[0].clean_correct, np.all([one.robust for one in found], axis=0)
    indices = found[0].test_index.astype("<i8").tobytes()
    return {
        "attacked": len(robust),
        "clean_correct": int(np.count_nonzero(clean)),
        "worst_case_correct": int(np.count_nonzero(robust)),
        "clean_outcomes": _as_text(clean),
        "worst_case_outcomes": _as_text(robust),
        "examples_digest": hashlib.sha256(indices).hexdigest()[:16],
        "worst_case_complete": complete,
    }


def _attack_columns(attack: Attack) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "attack": attack.name,
        "attack_key": attack.key,
        "attack_status": attack.status,
        "attack_reason": attack.reason,
    }
    if attack.record is not None:
        columns |= {
            "attack_class": attack.record.attack,
            "attack_arguments": json.dumps(attack.record.arguments, sort_keys=True),
            "attack_norm": attack.record.norm or None,
            "attack_eps": attack.record.eps,
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

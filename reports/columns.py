"""The columns of the tidy frame, what they mean, and frames of such columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd


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
    "status": Column(TEXT, "how the cell ended: ok, failed or diverged"),
    "reason": Column(TEXT, "why, in words"),
    "labels_used": Column(
        WHOLE,
        "labels that the defender used to adapt the model before it was attacked; NA where it was "
        "attacked as trained",
    ),
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
    "corruption_accuracy": Column(
        NUMBER,
        "mean accuracy over the 15 common corruptions at five severities each; NA where it was not "
        "measured; no part of the worst case",
    ),
    "corruption_low": Column(NUMBER, "lower end of its 95 % interval over the test examples"),
    "corruption_high": Column(NUMBER, "upper end of its 95 % interval over the test examples"),
}
WORST_CASE_COLUMNS = {
    "attacked": Column(WHOLE, "how many test examples were attacked"),
    "clean_correct": Column(WHOLE, "how many of them are right before any attack"),
    "worst_case_correct": Column(
        WHOLE, "how many stay right under every attack of the suite that ran"
    ),
    "clean_balanced": Column(
        NUMBER,
        "balanced accuracy before any attack: the mean over the classes; NA where they are about "
        "even, so that it tells nothing more",
    ),
    "worst_case_balanced": Column(NUMBER, "the same of those that stay right under every attack"),
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
        "whether every attack of the suite was run on every example or is not applicable; "
        "if not, the worst case is only an upper bound",
    ),
    "bound_reason": Column(
        TEXT, 'why it is only an upper bound, in words; "" where it is complete or there is none'
    ),
    "common_examples": Column(
        WHOLE, "how many examples every attack of the suite was run on; 0 where one gave no result"
    ),
    "common_correct": Column(WHOLE, "how many of these stay right under every attack"),
}
TRUST_COLUMNS = {
    "trust_flags": Column(
        TEXT,
        'names of the trust checks that are flagged, with "; " between them; "" where none is, NA '
        "where none were made",
    ),
    "trust_passed": Column(
        WHOLE, "how many checks it passes: those, and what a report sees in the records themselves"
    ),
    "trust_checks": Column(WHOLE, "how many checks apply to it"),
    "unfit_reason": Column(
        TEXT,
        'what the trust check "clean accuracy" found where it is flagged: the numbers are no '
        'measure of the defense, and the row has no rank; "" elsewhere',
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
    "attack_transferred": Column(YES_NO, "whether it was made on another cell's model"),
    "attack_claimed": Column(
        YES_NO, "whether others made it elsewhere, so that it is of the cell and of no suite"
    ),
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

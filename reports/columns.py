"""The rows that everything in reports is made from, what their columns mean, and frames of them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, cast, get_args, get_type_hints

import pandas as pd

TEXT, WHOLE, NUMBER, YES_NO = "string", "Int64", "Float64", "boolean"
OUTCOMES = 'a character for each test example, "1" where {}, else "0"; see `reports.outcomes`'
_DTYPES = {str: TEXT, int: WHOLE, float: NUMBER, bool: YES_NO}


# What may be unknown, which is NA in a frame.
Text = str | None
Whole = int | None
Number = float | None
YesNo = bool | None


class Column(NamedTuple):
    """The type of a column, which holds NA where there is no value, and what it means."""

    dtype: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class CellRow:
    """What all rows of a cell share."""

    cell_id: Annotated[str, "the cell's id, which is also the name of its folder"]
    dataset: Annotated[str, "name of the data set"]
    dataset_fingerprint: Annotated[str, "start of the SHA-256 of all its arrays"]
    model: Annotated[str, "name of the architecture"]
    norm: Annotated[str, "norm of the threat model"]
    eps: Annotated[float, "perturbation budget in pixel scale [0, 1]"]
    features: Annotated[
        str,
        'of a table, features whose budget is another multiple of eps than 1; "" where none is',
    ] = ""
    suite: Annotated[str, 'name of the attack suite; "" for a cell that ended before any'] = ""
    examples: Annotated[int, "how many test examples were asked for"]
    defense: Annotated[str, 'name of the defense; "none" is the undefended twin']
    framework: Annotated[str, "torch or tensorflow"]
    seed: Annotated[int, "training seed"]
    epochs: Annotated[Whole, "training epochs asked for; NA where the defense chose"] = None
    budget_ge: Annotated[Number, "gradient evaluations allowed; NA where there was no limit"] = None
    parameters: Annotated[str, "the defense's parameters as JSON"]
    extra_data: Annotated[
        Text, "extra training data and their share of each batch; NA where there were none"
    ] = None
    precision: Annotated[Text, "floating-point type of the training; NA where that is float32"] = (
        None
    )
    origin: Annotated[
        Text,
        "of a model or defense that is not this project's own, or of weights that a training "
        "starts from: in short, with a digest of all that tells it from others; NA otherwise",
    ] = None
    status: Annotated[str, "how the cell ended: ok, failed or diverged"]
    reason: Annotated[str, "why, in words"] = ""
    labels_used: Annotated[
        Whole,
        "labels that the defender used to adapt the model before it was attacked; NA where it "
        "was attacked as trained",
    ] = None
    training_gradient_evaluations: Annotated[
        Number, "gradient evaluations of training and adaptation together"
    ] = None
    training_seconds: Annotated[Number, "wall seconds of training and adaptation together"] = None
    held_out_before: Annotated[
        Number,
        "accuracy under the adaptation protocol's held-out attack families before adaptation, "
        "the mean over the families; NA where none was measured, and so are the next seven",
    ] = None
    held_out_after: Annotated[
        Number, "the same after it, with the largest support and the tuned number of steps"
    ] = None
    held_out_area: Annotated[
        Number, "area under the curve over steps, with the largest support, as a share of the whole"
    ] = None
    held_out_area_low: Annotated[Number, "lower end of its 95 % interval over episodes"] = None
    held_out_area_high: Annotated[Number, "upper end of its 95 % interval over episodes"] = None
    held_out_forgetting: Annotated[
        Number, "accuracy under the seen families after that adaptation, minus before it"
    ] = None
    held_out_labels: Annotated[Whole, "labelled examples of the largest support"] = None
    held_out_families: Annotated[Text, "names of the families, and the episodes of each"] = None
    corruption_accuracy: Annotated[
        Number,
        "mean accuracy over the 15 common corruptions at five severities each; NA where it was not "
        "measured; no part of the worst case",
    ] = None
    corruption_low: Annotated[Number, "lower end of its 95 % interval over test examples"] = None
    corruption_high: Annotated[Number, "upper end of its 95 % interval over test examples"] = None
    published_accuracy: Annotated[
        Number, "robust accuracy that was published of this model; NA where nobody told"
    ] = None
    published_source: Annotated[Text, "where it was published"] = None
    certified_accuracy: Annotated[
        Number,
        "share of the certified examples that the model behind Gaussian noise gets right with an "
        "L2 certificate that covers the row's threat; of several certifications, that of the most "
        "examples; NA where nothing was certified; no part of the worst case",
    ] = None
    certified_low: Annotated[Number, "lower end of its 95 % Wilson interval"] = None
    certified_high: Annotated[Number, "upper end of its 95 % Wilson interval"] = None
    certified_radius: Annotated[Number, "the least L2 radius whose ball holds the row's threat"] = (
        None
    )
    certified_sigma: Annotated[Number, "standard deviation of the noise"] = None


@dataclass(frozen=True, kw_only=True)
class SuiteRow(CellRow):
    """What all rows of a cell under one suite share."""

    attacked: Annotated[Whole, "how many test examples were attacked"] = None
    clean_correct: Annotated[Whole, "how many of them are right before any attack"] = None
    worst_case_correct: Annotated[
        Whole, "how many stay right under every attack of the suite that ran"
    ] = None
    worst_case_expected: Annotated[
        Number,
        "of a random model, whose other accuracies are those of its mean answer: the share that a "
        "single draw is expected to get right, each example under the attack that lowers it most",
    ] = None
    clean_balanced: Annotated[
        Number,
        "balanced accuracy before any attack: the mean over the classes; NA where they are about "
        "even, so that it tells nothing more",
    ] = None
    worst_case_balanced: Annotated[
        Number, "the same of those that stay right under every attack"
    ] = None
    clean_outcomes: Annotated[Text, OUTCOMES.format("it is right before any attack")] = None
    worst_case_outcomes: Annotated[
        Text, OUTCOMES.format("it stays right under every attack of the suite that ran")
    ] = None
    examples_digest: Annotated[
        Text,
        "start of the SHA-256 of the indices of the test examples attacked; rows of equal "
        "data and digest can be compared example by example",
    ] = None
    worst_case_complete: Annotated[
        bool,
        "whether every attack of the suite was run on every example or is not applicable; if "
        "not, the worst case is only an upper bound",
    ] = False
    bound_reason: Annotated[
        Text, 'why it is only an upper bound, in words; "" where it is complete or there is none'
    ] = None
    common_examples: Annotated[
        Whole, "how many examples every attack of the suite was run on; 0 where one gave no result"
    ] = None
    common_correct: Annotated[Whole, "how many of these stay right under every attack"] = None
    trust_flags: Annotated[
        Text,
        'names of the trust checks that are flagged, with "; " between them; "" where none '
        "is, NA where none were made",
    ] = None
    trust_too_few: Annotated[
        Text,
        "names of the trust checks that could tell nothing since the attacks ran on too few "
        'examples, with "; " between them; "" where none is, NA where none were made',
    ] = None
    trust_passed: Annotated[
        Whole, "how many checks it passes: those, and what a report sees in the records themselves"
    ] = None
    trust_checks: Annotated[Whole, "how many checks apply to it"] = None
    unfit_reason: Annotated[
        Text,
        'what the trust check "clean accuracy" found where it is flagged: the numbers are no '
        'measure of the defense, and the row has no rank; "" elsewhere',
    ] = None


@dataclass(frozen=True, kw_only=True)
class TidyRow(SuiteRow):
    """An attack on a cell: a row of `reports.load`."""

    attack: Annotated[str, 'name of the attack in the suite; "" for a cell without any'] = ""
    attack_class: Annotated[Text, "ART's class of the attack"] = None
    attack_key: Annotated[Text, "its name with a hash of its arguments and examples"] = None
    attack_status: Annotated[Text, "ok, failed, not-applicable, or missing (also: damaged)"] = None
    attack_reason: Annotated[Text, "why, in words"] = None
    attack_norm: Annotated[Text, "norm of the attack's threat; unrestricted for none"] = None
    attack_eps: Annotated[Number, "its budget in pixel scale [0, 1]; NA where unrestricted"] = None
    attack_transferred: Annotated[YesNo, "whether it was made on another cell's model"] = None
    attack_claimed: Annotated[
        YesNo, "whether others made it elsewhere, so that it is of the cell and of no suite"
    ] = None
    attack_examples: Annotated[Whole, "how many examples this attack was run on"] = None
    robust_correct: Annotated[Whole, "how many of these are right before and after this attack"] = (
        None
    )
    robust_accuracy: Annotated[Number, "the same as a share of the examples it was run on"] = None
    silent_successes: Annotated[
        Whole, "examples that it broke on its way and returned unbroken; counted as broken"
    ] = None
    robust_outcomes: Annotated[
        Text, OUTCOMES.format("it is right before this attack, and after it if it was run on it")
    ] = None
    attack_ran: Annotated[Text, OUTCOMES.format("the attack was run on it")] = None
    attack_arguments: Annotated[Text, "its arguments as run, as JSON"] = None
    attack_seconds: Annotated[Number, "wall seconds of the attack"] = None
    forwards: Annotated[Number, "forward passes of single examples"] = None
    backwards: Annotated[Number, "backward passes of single examples"] = None
    violations_budget: Annotated[Whole, "examples outside the budget, never successes"] = None
    violations_box: Annotated[Whole, "examples outside [0, 1], never successes"] = None
    violations_non_finite: Annotated[Whole, "examples that are not finite, never successes"] = None


@functools.cache
def columns_of(row: type) -> Mapping[str, Column]:
    """The columns of a row's fields, which are annotated with what they mean."""
    found = {}
    for name, hint in get_type_hints(row, include_extras=True).items():
        if len(parts := get_args(hint)) == 2 and isinstance(parts[1], str):
            kind = next(iter(get_args(parts[0])), parts[0])  # of `int | None`, or `int`
            found[name] = Column(_DTYPES[kind], parts[1])
    return found


COLUMNS = columns_of(TidyRow)


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Column]) -> pd.DataFrame:
    """A frame of these columns and types, which explains them; what a row lacks is NA."""
    found = pd.DataFrame(
        {
            name: pd.array([row.get(name) for row in rows], dtype=cast(Any, column.dtype))
            for name, column in columns.items()
        }
    )
    found.attrs["columns"] = meanings(columns)
    return found


def meanings(columns: Mapping[str, Column]) -> dict[str, str]:
    """What each column means."""
    return {name: column.meaning for name, column in columns.items()}


def plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as plain Python values, with None for NA."""
    return [
        {str(name): None if value is pd.NA else value for name, value in row.items()}
        for row in frame.astype(object).to_dict("records")
    ]


def known(number: float | None) -> float:
    """A number of a row that is sure to have it."""
    assert number is not None
    return number


def tidy_rows(frame: pd.DataFrame) -> list[TidyRow]:
    """The rows of a frame that `reports.load` gave."""
    return [TidyRow(**{name: row[name] for name in COLUMNS}) for row in plain_rows(frame)]

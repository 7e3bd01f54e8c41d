"""The same defense in both frameworks, example by example."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from reports.board import TRAINING
from reports.groups import Group, page
from reports.paired import compare, pairs
from reports.records import Cell
from reports.rows import Row
from reports.styles import FRAMEWORKS
from reports.text import one_line, percent

_ONE_TRAINING = 1e-4  # a relative difference of losses that float32 explains within an epoch
Document = dict[str, Any]


def document(groups: list[Group]) -> Document:
    """For each group the rows that differ in nothing but the framework, compared."""
    found = []
    for group in groups:
        if pairs := _pairs(group.rows):
            found.append({**group.summary(), "pairs": pairs})
    return {"frameworks": list(FRAMEWORKS), "groups": found}


def _pairs(members: list[Row]) -> list[Document]:
    families: dict[tuple[Any, ...], dict[str, Row]] = {}
    names = [name for name in (*TRAINING, "seed") if name != "framework"]
    for row in members:
        key = tuple(getattr(row.values, name) for name in names)
        families.setdefault(key, {})[row.values.framework] = row
    both = [f for f in families.values() if all(name in f for name in FRAMEWORKS)]
    found = [pair for f in both if (pair := _pair(*(f[n] for n in FRAMEWORKS))) is not None]
    return sorted(found, key=lambda pair: -max(r["worst_case"] for r in pair["rows"]))


def _pair(first: Row, second: Row) -> Document | None:
    """None where a row has no rank: it is not the same measure of both then."""
    if None in (first.values.rank, second.values.rank):
        return None
    (clean, worst), (other_clean, other_worst) = map(_outcomes, (first, second))
    same = bool((clean == other_clean).all() and (worst == other_worst).all())
    found = compare(worst, other_worst, comparisons=pairs(first.values.group_rows or 0))
    return {
        "defense": first.values.defense,
        "seed": first.values.seed,
        "variant": first.variant,
        "attacked": len(worst),
        "rows": [_row(row) for row in (first, second)],
        "clean_agreement": float((clean == other_clean).mean()),
        "agreement": float((worst == other_worst).mean()),
        "only": [found.only_first, found.only_second],
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "p_corrected": found.p,
        "transfer": _transfer(first, second),
        "why": why(first.cell, second.cell, same=same),
    }


def why(first: Cell, second: Cell, *, same: bool = False) -> str:
    """Where two trainings from the same weights, batches and draws part, in a sentence.

    `same`: whether no outcome of an example differs, before or under the attacks.

    Float32 sums round differently in each framework, by 1e-7 of a loss; every update magnifies it.
    A difference that is larger in the first epoch already has another cause.
    """
    gaps = _gaps(first, second)
    elsewhere = (
        ""
        if first.record.device == second.record.device
        else (
            f" They were trained on different devices: {one_line(first.record.device)} and "
            f"{one_line(second.record.device)}."
        )
    )
    if not gaps:
        return f"What the trainings logged can't be compared.{elsewhere}"
    apart = next((place for place, gap in enumerate(gaps) if gap > _ONE_TRAINING), None)
    if apart is None:
        losses = f"losses of all {len(gaps)} epochs" if len(gaps) > 1 else "loss of the one epoch"
        agree = f"agree{'' if len(gaps) > 1 else 's'} to {max(gaps):.0e}"
        outcomes = "single examples at the edge of a class fall on either side"
        if same:
            outcomes = "no example has another outcome"
        return f"One training: the {losses} {agree}; {outcomes}.{elsewhere}"
    if apart == 0:
        return (
            f"The losses are {percent(gaps[0])} % apart in the first epoch already, more than "
            f"rounding makes: look for another cause.{elsewhere}"
        )
    return (
        f"One training up to epoch {apart}, where the losses agree to {max(gaps[:apart]):.0e}; "
        f"then rounding, which every update magnifies, parts them: {percent(gaps[-1])} % in the "
        f"last of {len(gaps)}.{elsewhere}"
    )


def _gaps(first: Cell, second: Cell) -> list[float]:
    """How far the losses of each epoch are apart, relative to the larger; empty if not logged."""
    histories = [one.training.history if one.training else [] for one in (first, second)]
    losses = [[row.get("loss") for row in history] for history in histories]
    if len(losses[0]) != len(losses[1]):
        return []
    pairs = list(zip(*losses, strict=True))
    if not all(isinstance(v, int | float) and math.isfinite(v) for pair in pairs for v in pair):
        return []
    return [abs(a - b) / max(abs(a), abs(b), 1e-12) for a, b in pairs]


def _transfer(first: Row, second: Row) -> Document | None:
    """How many adversarial examples fool each model: made on, tried on; None where not stored."""
    for cell, twin in ((first.cell, second.cell), (second.cell, first.cell)):
        for found in cell.transfers:
            if found.twin == twin.cell_id and found.success is not None:
                (own, crossing), (coming, others) = found.success
                turned = [[others, coming], [crossing, own]]
                success = found.success if cell is first.cell else turned
                return {"attack": found.attack, "examples": found.examples, "success": success}
    return None


def _row(row: Row) -> Document:
    values = row.values
    return {
        "cell_id": row.cell.cell_id,
        "page": page(row.cell.cell_id),
        "bound": values.upper_bound,
        **{name: getattr(values, name) for name in ("framework", "clean_accuracy", "worst_case")},
    }


def _outcomes(row: Row) -> tuple[np.ndarray, np.ndarray]:
    """Clean outcomes and worst case of the row's suite; ranked rows attacked the same examples."""
    found = [attack.outcomes for attack in row.attacks if attack.outcomes is not None]
    return found[0].clean_correct, np.all([one.robust for one in found], axis=0)

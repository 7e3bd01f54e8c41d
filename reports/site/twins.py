"""The same defense in both frameworks, example by example."""

from __future__ import annotations

from typing import Any

import numpy as np

from reports.board import TRAINING
from reports.groups import Group, page
from reports.paired import compare, pairs
from reports.rows import Row

FRAMEWORKS = ("torch", "tensorflow")
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
    }


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

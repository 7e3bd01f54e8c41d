"""Adaptation to another data set on the page of the meta-test: methods side by side over labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from markupsafe import Markup

from reports.domains import Domain
from reports.groups import Group, page
from reports.rows import Row, name_in_text
from reports.site.charts import Axis, Line, lines, told
from reports.statistics import across_seeds

MOST_ROWS = 6  # that a chart draws; the tables have all
Document = dict[str, Any]


def document(groups: Sequence[Group]) -> list[Document]:
    """For each group a part for each other data set and size; a JSON value."""
    found = []
    for group in groups:
        sizes = dict.fromkeys(one.record.size for row in group.rows for one in row.cell.domains)
        if sizes:
            parts = [_part(size, group.rows) for size in sizes]
            found.append({**group.summary(), "parts": parts})
    return found


def chart(part: Document) -> Markup | None:
    """Robust accuracy over labels; None where there is no curve to draw."""
    drawn = [row for row in part["rows"] if row["status"] == "ok"][:MOST_ROWS]
    if not drawn or len(part["shots"]) < 2:
        return None
    series = []
    for style, row in enumerate(drawn):
        points = [(n, one["mean"]) for n, one in zip(part["shots"], row["robust"], strict=True)]
        series.append(Line(f"{row['label']}, {row['method']}", points, style))
    words = f"Robust accuracy in per cent over labels a class: {told(series)}."
    up = Axis("accuracy in %", 0, 1, percent=True)
    across = Axis("labels a class", 0, part["shots"][-1], whole=True)
    return lines(across, up, series, words=words)


def _part(size: tuple[object, ...], members: Sequence[Row]) -> Document:
    """Methods of one size, the most robust with the most labels first."""
    found = [(row, one) for row in members for one in row.cell.domains if one.record.size == size]
    record = found[0][1].record
    rows = [_row(row, one) for row, one in found]
    rows.sort(key=lambda row: -row["robust"][-1]["mean"] if row["status"] == "ok" else 1.0)
    names = ("adapt_to", "resize", "classes", "episodes", "queries", "attack_steps")
    return {
        **{name: getattr(record, name) for name in names},
        "shots": list(record.shots),
        "rows": rows,
        "over_seeds": _over_seeds(found),
    }


def _row(row: Row, one: Domain) -> Document:
    record = one.record
    return {
        "cell_id": row.cell.cell_id,
        "page": page(row.cell.cell_id),
        "label": row.label,
        "method": record.method,
        "description": record.description,
        "status": record.status,
        "reason": record.reason,
        "setting": [dict(one) for one in record.setting],
        "labels_used": list(record.labels_used),
        "gradient_evaluations": [one.gradient_evaluations for one in record.cost],
        "clean": [value.model_dump() for value in record.clean],
        "robust": [value.model_dump() for value in record.robust],
    }


def _over_seeds(found: Sequence[tuple[Row, Domain]]) -> list[Document]:
    """Robust accuracy with the most labels over training seeds, which met the same episodes."""
    trainings: dict[tuple[Any, ...], list[tuple[Row, np.ndarray]]] = {}
    for row, one in found:
        if one.robust is not None:
            key = (*row.values.training, one.record.method)
            trainings.setdefault(key, []).append((row, one.robust[:, -1]))
    seeds = []
    for key, pairs in trainings.items():
        if len(pairs) > 1:
            row = pairs[0][0]
            name = name_in_text(row.values)
            label = f"{name}, {row.variant}" if row.variant else name
            values = np.stack([robust for _, robust in pairs])
            seeds.append({"label": label, "method": key[-1], **asdict(across_seeds(values))})
    return seeds

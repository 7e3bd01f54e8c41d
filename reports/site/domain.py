"""Adaptation to another data set on the page of the meta-test: methods side by side over labels."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reports.domains import Domain
from reports.groups import Group
from reports.rows import Row
from reports.site.charts import Axis, Line, lines, told
from reports.site.protocols import MOST_DRAWN, Document, Size, documents, of_row, over_seeds


def document(groups: Sequence[Group]) -> list[Document]:
    """For each group a part for each other data set and size; a JSON value."""
    return documents(groups, lambda row: (one.record.size for one in row.cell.domains), _part)


def chart(part: Document) -> Markup | None:
    """Robust accuracy over labels; None where there is no curve to draw."""
    drawn = [row for row in part["rows"] if row["status"] == "ok"][:MOST_DRAWN]
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


def _part(size: Size, members: Sequence[Row]) -> Document:
    """Methods of one size, the most robust with the most labels first, last those that guess."""
    found = [(row, one) for row in members for one in row.cell.domains if one.record.size == size]
    record = found[0][1].record
    rows = [_row(row, one) for row, one in found]
    rows.sort(key=_place)
    return {
        **{name: getattr(record, name) for name in ("version", "classes", *record.ALIKE)},
        "autoattack_episodes": max(one.record.autoattack_episodes for _, one in found),
        "is_replaced": record.is_replaced,
        "rows": rows,
        # With the most labels
        "over_seeds": over_seeds(
            (row, {"method": one.record.method}, one.robust[:, -1])
            for row, one in found
            if one.robust is not None
        ),
    }


def _place(row: Document) -> tuple[bool, float]:
    """Where a row stands; a constant answer is robust, and useless."""
    return row["guesses"][-1], -row["robust"][-1]["mean"] if row["status"] == "ok" else 1.0


def _row(row: Row, one: Domain) -> Document:
    record = one.record
    return {
        **of_row(row, record),
        "method": record.method,
        "setting": [dict(one) for one in record.setting],
        "labels_used": list(record.labels_used),
        "gradient_evaluations": [one.gradient_evaluations for one in record.cost],
        "clean": [value.model_dump() for value in record.clean],
        "robust": [value.model_dump() for value in record.robust],
        "autoattack": [value.model_dump() for value in record.autoattack],
        "robust_of_attacked": one.robust_of_attacked,
        "weakly_attacked": one.is_weakly_attacked,
        "guesses": one.guesses,
        "given_up": record.given_up,
    }

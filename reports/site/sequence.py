"""The sequence protocol on the page of the meta-test: learners side by side, and over arrivals."""

from __future__ import annotations

from collections.abc import Sequence as Several

from markupsafe import Markup

from reports.groups import Group
from reports.rows import Row
from reports.sequences import Sequence
from reports.site.charts import Axis, Line, lines, told
from reports.site.protocols import MOST_DRAWN, Document, Size, documents, of_row, over_seeds


def document(groups: Several[Group]) -> list[Document]:
    """For each group a part for each size of the protocol; a JSON value."""
    return documents(groups, lambda row: (one.record.size for one in row.cell.sequences), _part)


def chart(part: Document) -> Markup | None:
    """The worst over all that has arrived, over arrivals; None where nothing was measured."""
    drawn = [row for row in part["rows"] if row["status"] == "ok"][:MOST_DRAWN]
    if not drawn:
        return None
    series = [
        Line(
            f"{row['label']}, {row['learner']}",
            [(place, one["mean"]) for place, one in enumerate(row["worst"], 1)],
            style,
        )
        for style, row in enumerate(drawn)
    ]
    words = f"Worst over all families met, accuracy in per cent over arrivals: {told(series)}."
    up = Axis("accuracy in %", 0, 1, percent=True)
    return lines(
        Axis("families met", 1, len(part["families"]), whole=True), up, series, words=words
    )


def _part(size: Size, members: Several[Row]) -> Document:
    """Learners of one size, those first that keep most under all families together."""
    found = [(row, one) for row in members for one in row.cell.sequences if one.record.size == size]
    record = found[0][1].record
    rows = [_row(row, one) for row, one in found]
    rows.sort(key=lambda row: -row["worst"][-1]["mean"] if row["status"] == "ok" else 1.0)
    return {
        **{name: getattr(record, name) for name in ("version", *record.ALIKE)},
        "is_replaced": record.is_replaced,
        "rows": rows,
        "over_seeds": over_seeds(
            (row, {"learner": one.record.learner}, one.worst)
            for row, one in found
            if one.worst is not None
        ),
    }


def _row(row: Row, one: Sequence) -> Document:
    record = one.record
    forgetting = record.forgetting and record.forgetting.model_dump()
    return {
        **of_row(row, record),
        "learner": record.learner,
        "setting": dict(record.setting),
        "rounds": record.rounds,
        "steps": record.steps,
        "labels_used": record.labels_used,
        "gradient_evaluations": record.cost.gradient_evaluations,
        "roles": list(record.roles),
        "accuracy": [list(values) for values in record.accuracy],
        **{
            name: [value.model_dump() for value in getattr(record, name)]
            for name in ("clean", "mean", "worst")
        },
        "forgetting": forgetting,
        "given_up": record.given_up,
    }

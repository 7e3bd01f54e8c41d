"""The page that compares models: what its script can be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports import shown
from reports.groups import Group, title
from reports.rows import Row
from reports.site import render
from reports.text import amount, duration, one_line


def write(groups: Sequence[Group]) -> str:
    """The page for the rows of these groups; outcomes are loaded when asked for."""
    cells: dict[str, Any] = {}
    choices = []
    for number, group in enumerate(groups):
        suite = group.about["suite"]
        new = [row.cell.cell_id for row in group.rows if row.cell.cell_id not in cells]
        for row in group.rows:
            cell = cells.setdefault(row.cell.cell_id, _cell(row))
            cell["trust"][suite] = shown.trust(row.values)
            # A pair of one group is corrected for all pairs of its rows.
            cell["groups"][suite] = [number, row.values.group_rows]
        if new:
            choices.append({"title": one_line(title(group.about)), "cells": new})
    return render.page(
        "compare.html.j2", current="compare.html", cells={"cells": cells, "groups": choices}
    )


def _cell(row: Row) -> dict[str, Any]:
    return {
        "label": one_line(row.label),
        "cost": amount(row.values.training_gradient_evaluations),
        "training": duration(row.values.training_seconds),
        "labels_used": shown.labels(row.values),
        "trust": {},
        "groups": {},
    }

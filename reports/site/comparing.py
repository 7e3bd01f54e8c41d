"""The page that compares models: what its script can be asked for."""

from __future__ import annotations

from typing import Any

from reports import shown
from reports.site import render
from reports.text import amount, duration, one_line


def write(document: dict[str, Any]) -> str:
    """The page for the rows of a leaderboard's document; outcomes are loaded when asked for."""
    cells: dict[str, Any] = {}
    groups = []
    for number, group in enumerate(document["groups"]):
        new = [row["cell_id"] for row in group["rows"] if row["cell_id"] not in cells]
        for row in group["rows"]:
            cell = cells.setdefault(row["cell_id"], _cell(row))
            # A pair of one group is corrected for all pairs of its rows.
            cell["trust"][group["suite"]] = shown.trust(row)
            cell["groups"][group["suite"]] = [number, row["group_rows"]]
        if new:
            groups.append({"title": one_line(group["title"]), "cells": new})
    choices = {"cells": cells, "groups": groups}
    return render.page("compare.html.j2", current="compare.html", cells=choices)


def _cell(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "label": one_line(row["label"]),
        "cost": amount(row["training_gradient_evaluations"]),
        "training": duration(row["training_seconds"]),
        "labels_used": shown.labels(row),
        "trust": {},
        "groups": {},
    }

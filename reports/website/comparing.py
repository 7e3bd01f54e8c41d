"""The page that compares models: what its script can be asked for."""

from __future__ import annotations

from typing import Any

from reports.text import amount, duration, one_line
from reports.website import render


def write(document: dict[str, Any]) -> str:
    """The page for the rows of a leaderboard's document; outcomes are loaded when asked for."""
    cells: dict[str, Any] = {}
    groups = []
    for setting in document["settings"]:
        new = [row for row in setting["rows"] if row["cell_id"] not in cells]
        cells |= {row["cell_id"]: _cell(row) for row in new}
        if new:
            ids = [row["cell_id"] for row in new]
            groups.append({"title": one_line(setting["title"]), "cells": ids})
    choices = {"cells": cells, "groups": groups}
    return render.page("compare.html.j2", current="compare.html", cells=choices)


def _cell(row: dict[str, Any]) -> dict[str, Any]:
    labels = row["labels_used"]
    return {
        "label": one_line(row["label"]),
        "cost": amount(row["training_gradient_evaluations"]),
        "training": duration(row["training_seconds"]),
        "labels_used": "–" if labels is None else labels,
    }

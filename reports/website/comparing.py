"""The page that compares models: what its script can be asked for."""

from __future__ import annotations

from typing import Any

from reports import shown
from reports.text import amount, duration, one_line
from reports.website import render


def write(document: dict[str, Any]) -> str:
    """The page for the rows of a leaderboard's document; outcomes are loaded when asked for."""
    cells: dict[str, Any] = {}
    groups = []
    for number, setting in enumerate(document["settings"]):
        new = [row["cell_id"] for row in setting["rows"] if row["cell_id"] not in cells]
        for row in setting["rows"]:
            cell = cells.setdefault(row["cell_id"], _cell(row))
            # A pair of one setting is corrected for all pairs of its rows.
            cell["trust"][setting["suite"]] = shown.trust(row)
            cell["settings"][setting["suite"]] = [number, row["setting_rows"]]
        if new:
            groups.append({"title": one_line(setting["title"]), "cells": new})
    choices = {"cells": cells, "groups": groups}
    return render.page("compare.html.j2", current="compare.html", cells=choices)


def _cell(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "label": one_line(row["label"]),
        "cost": amount(row["training_gradient_evaluations"]),
        "training": duration(row["training_seconds"]),
        "labels_used": shown.labels(row),
        "trust": {},
        "settings": {},
    }

"""The leaderboard's page: its columns, its filters, and the values that it sorts by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from reports.accuracies import Point, series
from reports.board import ATTACK_PREFIX
from reports.groups import Board, Group
from reports.site import picking, render
from reports.site.charts import bands
from reports.text import one_line, percent

_FILTERS = {
    "dataset": "Data set",
    "threat": "Threat model",
    "model": "Model",
    "suite": "Suite",
    "framework": "Framework",
    "defense": "Defense",
}
_OF_GROUP = ("dataset", "threat", "model", "suite")
# Columns that sort from the lowest value up; all others from the highest down.
_ASCENDING = (
    *("rank", "defense", "framework", "seed", "extra_data", "labels_used", "cost", "seconds", "p"),
)
# Columns that are shown where a row has a value.
_OPTIONAL = (
    *("held_out_area", "clean_balanced", "corruption_accuracy", "certified_accuracy"),
    "extra_data",
)
_ADAPTED = "Accuracy under held-out attack families while the model adapts to them"
_CORRUPTED = "Mean accuracy over 15 common corruptions at five severities; no attack"
_CERTIFIED = "Right with an L2 certificate that covers the threat, behind Gaussian noise; no attack"
_EXTRA = "Training data beside the data set's own, and their share of each batch"
_LABELS = "Labels used to adapt the model before it was attacked"
_RANK = "1 + the number of rows that a paired test finds better"
_BALANCED = "Clean accuracy as the mean over the classes, where their sizes differ"
_COMMON = "Worst case on the examples that every attack was run on, with its 95 % interval"
_P = "Paired test against the best row of the group, corrected for all pairs of the group"


@dataclass(frozen=True)
class Head:
    """One column: `sort` is its name in the address, `key` the document's."""

    name: str
    kind: str
    key: str = ""
    sort: str = ""
    number: bool = False
    meaning: str = ""


def heads(attacks: list[str]) -> list[Head]:
    """The columns of the leaderboard; those of attacks, which may be many, come last."""
    return [
        Head("Rank", "rank", "rank", "rank", True, _RANK),
        Head("Defense", "defense", "defense", "defense"),
        Head("Framework", "text", "framework", "framework"),
        Head("Seed", "text", "seed", "seed", True),
        Head("Clean", "percent", "clean_accuracy", "clean", True, "Accuracy before any attack"),
        Head("Worst case", "worst", "worst_case", "worst_case", True),
        Head("95 % interval", "interval"),
        Head("Balanced", "percent", "clean_balanced", "balanced", True, _BALANCED),
        Head("Common", "common", "common_worst_case", "common", True, _COMMON),
        Head("p to best", "p", "best_p", "p", True, _P),
        Head("Adapted", "percent", "held_out_area", "adapted", True, _ADAPTED),
        Head("Corrupted", "percent", "corruption_accuracy", "corrupted", True, _CORRUPTED),
        Head("Extra data", "text", "extra_data", "extra_data", False, _EXTRA),
        Head("Certified", "percent", "certified_accuracy", "certified", True, _CERTIFIED),
        Head("Labels", "text", "labels_used", "labels_used", True, _LABELS),
        Head("Cost, GE", "amount", "training_gradient_evaluations", "cost", True),
        Head("Training", "duration", "training_seconds", "seconds", True),
        Head("Trust", "trust", "trust_passed", "trust", False, "Trust checks passed"),
        *(
            Head(name, "attack", f"{ATTACK_PREFIX}{name}", f"attack:{name}", True, name)
            for name in attacks
        ),
    ]


def write(whole: Board, document: dict[str, Any]) -> str:
    """The page of a leaderboard and its document."""
    columns = heads(whole.attacks)
    return render.page(
        "leaderboard.html.j2",
        current="index.html",
        board=document,
        heads=columns,
        filters=_filters(document),
        values=_values(document, columns) if document["groups"] else None,
        groups=list(zip(whole.groups, document["groups"], strict=True)),
        charts=[_chart(group) for group in whole.groups],
        picks=[picking.chart(one["recommendation"]) for one in document["groups"]],
        several_fingerprints=_several_fingerprints(document),
    )


def _chart(group: Group) -> Markup | None:
    """Accuracy by attack, None where there is none."""
    if not (drawn := series(group.rows, group.attacks)):
        return None
    columns = ["clean", *group.attacks, "worst case"]
    told = "; ".join(f"{one.label}: {', '.join(map(_told, columns, one.points))}" for one in drawn)
    return bands(columns, drawn, words=f"Accuracy by attack in per cent. {told}.")


def _told(name: str, point: Point | None) -> str:
    if point is None:
        return f"{name} –"
    return f"{name} {'≤ ' if point.bound else ''}{percent(point.value)}"


def _filters(document: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
    """For each filter its name, label and options; only of what differs between rows."""
    found = []
    for name, label in _FILTERS.items():
        options = sorted(
            {_filtered_by(one, row, name) for one in document["groups"] for row in one["rows"]}
        )
        if len(options) > 1:
            found.append((name, label, options))
    return found


def _filtered_by(group: dict[str, Any], row: dict[str, Any], name: str) -> str:
    """A row's value of a filter, as the filter and the address have it."""
    return one_line(group[name] if name in _OF_GROUP else row[name])


def _values(document: dict[str, Any], columns: list[Head]) -> dict[str, Any]:
    """What the page's script filters and sorts by, row by row in the order of the table."""
    sortable = [head for head in columns if head.sort and head.sort not in _FILTERS]
    rows = [
        [
            *(_filtered_by(one, row, name) for name in _FILTERS),
            row["cell_id"],
            row["label"],
            *(row.get(head.key) for head in sortable),
        ]
        for one in document["groups"]
        for row in one["rows"]
    ]
    optional = [
        place
        for place, head in enumerate(columns)
        if head.kind in ("attack", "common", "p") or head.key in _OPTIONAL
    ]
    return {
        "columns": [*_FILTERS, "cell", "label", *(head.sort for head in sortable)],
        "ascending": list(_ASCENDING),
        "optional": optional,
        "rows": [[_rounded(value) for value in row] for row in rows],
    }


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def _several_fingerprints(document: dict[str, Any]) -> bool:
    """Whether one data set's name stands for different data."""
    named = {(one["dataset"], one["dataset_fingerprint"]) for one in document["groups"]}
    return len(named) > len({name for name, _ in named})

"""What robustness costs: clean accuracy and compute against the worst case, with Pareto fronts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from reports.groups import Group, page
from reports.rows import Row
from reports.site import render
from reports.site.charts import Axis, Dot, filled_or_hollow, marker, scatter
from reports.styles import is_hollow, styles
from reports.text import amount, percent

Document = dict[str, Any]
Styles = dict[str, int]


def document(groups: list[Group]) -> Document:
    """For each group the points of its scatter plots; a JSON value."""
    found = []
    for group in groups:
        points = [_point(row) for row in group.rows if row.values.rank is not None]
        for name, key, sign in (("front_clean", "clean_accuracy", -1), ("front_cost", "cost", 1)):
            _mark_front(points, name, key, sign)
        if points:
            found.append({**group.summary(), "points": points})
    return {"groups": found}


def write(document: Document) -> str:
    """The page of such a document."""
    return render.page(
        "tradeoffs.html.j2",
        current="tradeoffs.html",
        groups=[
            (one, *_plots(one["points"], styles(one["defenses"])), _legend(one))
            for one in document["groups"]
        ],
    )


def _point(row: Row) -> Document:
    values = row.values
    return {
        "cell_id": row.cell.cell_id,
        "page": page(row.cell.cell_id),
        "label": row.label,
        "cost": values.training_gradient_evaluations,
        "bound": values.upper_bound,
        **{
            name: getattr(values, name)
            for name in ("defense", "framework", "clean_accuracy", "worst_case")
        },
    }


def _worst_case(point: Document) -> str:
    return ("≤ " if point["bound"] else "") + percent(point["worst_case"])


def _mark_front(points: list[Document], name: str, key: str, sign: int) -> None:
    """Marks the points that no other beats in both; lower `sign` times `key` is better."""
    known = [point for point in points if point[key] is not None]
    for point in points:
        point[name] = False
    best, reached = -1.0, None  # the highest so far, and where on the other axis it was reached
    for point in sorted(known, key=lambda p: (sign * p[key], -p["worst_case"])):
        higher = point["worst_case"] > best
        point[name] = higher or (point["worst_case"], point[key]) == (best, reached)
        if higher:
            best, reached = point["worst_case"], point[key]


def _plots(points: list[Document], known: Styles) -> tuple[Markup, Markup | None]:
    """Worst case over clean accuracy, and over training cost where that is known."""
    lowest = min(point["clean_accuracy"] for point in points)
    low = max(0.0, math.floor(20 * lowest - 0.2) / 20)
    clean = Axis("clean accuracy in %", min(low, 0.95), 1, percent=True)
    first = _plot(points, known, clean, "clean_accuracy", lambda share: f"clean {percent(share)}")
    costs = [point["cost"] for point in points if point["cost"]]
    if not costs:
        return first, None
    name = "training cost in gradient evaluations"
    cost = Axis(name, min(costs) / 1.5, max(costs) * 1.5, log=True)
    return first, _plot(points, known, cost, "cost", lambda spent: f"{amount(spent)} GE")


def _plot(
    points: list[Document], known: Styles, x: Axis, key: str, tell: Callable[[float], str]
) -> Markup:
    drawn = [point for point in points if point[key]]
    dots = [
        Dot(
            point[key],
            point["worst_case"],
            known[point["defense"]],
            is_hollow(point["framework"]),
            f"{point['label']}: {tell(point[key])}, worst case {_worst_case(point)}",
            point["page"],
        )
        for point in drawn
    ]
    name = "front_cost" if key == "cost" else "front_clean"
    front = sorted((p[key], p["worst_case"]) for p in drawn if p[name])
    words = f"Worst case against {x.label}, {len(drawn)} models; the front is in the table below."
    sign = " (≤, upper bounds)" if any(point["bound"] for point in drawn) else ""
    up = Axis(f"worst case in %{sign}", 0, 1, percent=True)
    return scatter(x, up, dots, _stairs(front), words=words)


def _stairs(front: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The front with its corners: what is below is beaten by a point of it."""
    path = front[:1]
    for (before_x, before_y), (x, y) in itertools.pairwise(front):
        path += [(x, before_y) if y > before_y else (before_x, y), (x, y)]
    return path


def _legend(group: Document) -> list[tuple[Markup, str]]:
    points, known = group["points"], styles(group["defenses"])
    entries = [(marker(known[name]), name) for name in sorted({p["defense"] for p in points})]
    return entries + filled_or_hollow({point["framework"] for point in points})

"""What a page shows beside attacks: security curves, and adaptation to other attacks."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from reports.adaptations import Adaptation, summary
from reports.records import Cell
from reports.text import norm, percent
from reports.website.charts import Axis, Line, lines

Document = dict[str, Any]
_ACCURACY = Axis("accuracy in %", 0, 1, percent=True)


def documents(cell: Cell) -> Document:
    """Security curves and adaptation as JSON values; adaptation is None where there is none."""
    return {
        "security_curves": [curve.document() for curve in cell.curves],
        "adaptation_to_attacks": _adaptation(cell.adaptations),
    }


def security_charts(curves: list[Document]) -> list[tuple[str, Markup]]:
    """For each norm its name and a chart with a line for each attack."""
    ran = [curve for curve in curves if curve["status"] == "ok"]
    found = []
    for name in dict.fromkeys(curve["norm"] for curve in ran):
        mine = [curve for curve in ran if curve["norm"] == name]
        series = [
            Line(
                curve["attack"],
                list(zip(curve["eps"], curve["robust_accuracy"], strict=True)),
                style,
            )
            for style, curve in enumerate(mine)
        ]
        label = f"perturbation in {norm(name)}, ε"
        told = "; ".join(
            f"{one.label} from {percent(one.points[0][1])} to {percent(one.points[-1][1])}"
            for one in series
        )
        chart = lines(
            Axis(label, 0, max(curve["eps"][-1] for curve in mine)),
            _ACCURACY,
            series,
            words=f"Robust accuracy in per cent over {label}: {told}.",
        )
        found.append((norm(name), chart))
    return found


def family_charts(adaptation: Document | None) -> list[tuple[Document, Markup]]:
    """For each family with a result a chart over steps, with a line for each number of labels."""
    if adaptation is None:
        return []
    ran = [family for family in adaptation["families"] if family["status"] == "ok"]
    return [(family, _family_chart(family)) for family in ran]


def _family_chart(family: Document) -> Markup:
    series = [
        Line(f"{shots} labels", list(zip(family["steps"], curve, strict=True)), style)
        for style, (shots, curve) in enumerate(
            zip(family["shots"], family["accuracy"], strict=True)
        )
    ]
    told = "; ".join(
        f"{one.label} from {percent(one.points[0][1])} to {percent(one.points[-1][1])}"
        for one in series
    )
    return lines(
        Axis("steps of adaptation", 0, family["steps"][-1], whole=True),
        _ACCURACY,
        series,
        words=f"Accuracy in per cent under {family['family']} over steps: {told}.",
    )


def _adaptation(families: tuple[Adaptation, ...]) -> Document | None:
    if not families:
        return None
    first, held = families[0].record, summary(families)
    return {
        "rate": first.rate,
        "tuned_steps": first.tuned_steps,
        "episodes": first.episodes,
        "queries": first.queries,
        "largest_support": first.shots[-1],
        "held_out": None
        if held is None
        else {
            "families": list(held.families),
            "before": held.before,
            "after": held.after,
            "area": held.area.mean,
            "area_low": held.area.low,
            "area_high": held.area.high,
            "forgetting": held.forgetting,
        },
        "families": [_family(one) for one in families],
    }


def _family(one: Adaptation) -> Document:
    """A family's record, with its ends at the largest support: before and after the tuned steps."""
    record = one.record
    document: Document = record.model_dump(exclude={"files"})
    if record.status == "ok":
        tuned = record.steps.index(record.tuned_steps)
        document |= {
            "before": record.accuracy[-1][0],
            "after": record.accuracy[-1][tuned],
            "after_low": record.low[-1][tuned],
            "after_high": record.high[-1][tuned],
        }
    return document

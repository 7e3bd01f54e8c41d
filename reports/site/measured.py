"""What a page shows beside attacks: security curves, and adaptation to other attacks."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from benchmark.results.records import CertificationRecord, CorruptionsRecord
from reports.adaptations import FamilyResult, summary
from reports.records import Cell
from reports.site.charts import Axis, Line, lines, told
from reports.text import norm

Document = dict[str, Any]
_ACCURACY = Axis("accuracy in %", 0, 1, percent=True)


def documents(cell: Cell) -> Document:
    """Curves, corruptions, certificates and the meta-test as JSON; None where there is none."""
    return {
        "security_curves": [curve.document() for curve in cell.curves],
        "corruptions": _corruptions(cell.corruptions),
        "certifications": [_certification(one) for one in cell.certifications],
        "metatest": metatest(cell.adaptations),
    }


def _corruptions(record: CorruptionsRecord | None) -> Document | None:
    return None if record is None else record.model_dump(exclude={"files", "status", "reason"})


def _certification(record: CertificationRecord) -> Document:
    return record.model_dump(exclude={"files"})


def security_charts(
    curves: list[Document], certifications: list[Document]
) -> list[tuple[str, Markup]]:
    """For each norm its name and a chart with a line for each attack.

    Certified accuracy over radii is a line of the chart in L2, below those of attacks.
    """
    ran = [curve for curve in curves if curve["status"] == "ok"]
    ran += [_as_curve(one) for one in certifications if one["status"] == "ok"]
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
        chart = lines(
            Axis(label, 0, max(curve["eps"][-1] for curve in mine)),
            _ACCURACY,
            series,
            words=f"Robust accuracy in per cent over {label}: {told(series)}.",
        )
        found.append((norm(name), chart))
    return found


def _as_curve(one: Document) -> Document:
    return {
        "attack": f"certified, noise of σ = {one['sigma']:g}",
        "norm": "l2",
        "eps": one["radii"],
        "robust_accuracy": one["certified_accuracy"],
    }


def family_charts(found: Document | None) -> list[tuple[Document, Markup]]:
    """For each family with a result a chart over steps, with a line for each number of labels."""
    ran = [family for family in found["families"] if family["status"] == "ok"] if found else []
    return [(family, _family_chart(family)) for family in ran]


def _family_chart(family: Document) -> Markup:
    series = [
        Line(f"{shots} labels", list(zip(family["steps"], curve, strict=True)), style)
        for style, (shots, curve) in enumerate(
            zip(family["shots"], family["accuracy"], strict=True)
        )
    ]
    return lines(
        Axis("steps of adaptation", 0, family["steps"][-1], whole=True),
        _ACCURACY,
        series,
        words=f"Accuracy in per cent under {family['family']} over steps: {told(series)}.",
    )


def metatest(families: tuple[FamilyResult, ...]) -> Document | None:
    """What a cell's families say alone and together; None where it has none."""
    if not families:
        return None
    first, held = families[0].record, summary(families)
    return {
        "rate": first.rate,
        "tuned_steps": first.tuned_steps,
        "episodes": first.episodes,
        "queries": first.queries,
        "shots": first.shots,
        "steps": first.steps,
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
            "seen_families": list(held.seen_families),
            "over_steps": held.over_steps,
            "over_shots": held.over_shots,
            "seen": held.seen,
        },
        "families": [_family(one) for one in families],
    }


def _family(one: FamilyResult) -> Document:
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

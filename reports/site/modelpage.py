"""One model's page: its charts, and what its template needs from the document."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from markupsafe import Markup

from reports.groups import view
from reports.pictures import Example
from reports.site import measured, render
from reports.site.charts import Axis, Line, lines, told
from reports.text import norm

_MOST_CLASSES = 12  # of a confusion matrix
_MOST_PAIRS = 15  # of the list that stands in its place
_MOST_CLASS_ROWS = 60
Document = dict[str, Any]


def write(
    document: Document, pictures: dict[str, list[Example]], taken: Collection[str] = ()
) -> str:
    """The page of a model's document; `taken` are further files that it offers."""
    return render.page(
        "model.html.j2",
        root="../../",
        model=document,
        taken=sorted(taken),
        histories=[
            (stage, _history(document[stage]["history"], stage))
            for stage in ("training", "adaptation")
            if document[stage]
        ],
        suites=[
            _suite(one, document["about"], pictures[one["suite"]]) for one in document["suites"]
        ],
        security=measured.security_charts(document["security_curves"], document["certifications"]),
        families=measured.family_charts(document["metatest"]),
    )


def _suite(suite: Document, about: Document, samples: list[Example]) -> Document:
    """What the template shows of a suite beside its document."""
    found: Document = {
        "document": suite,
        "view": view({**about, "suite": suite["suite"]}),
        "samples": list(zip(suite["examples"]["samples"], samples, strict=True)) if samples else [],
    }
    if "attacked" not in suite:
        return found
    names = {one["key"]: one["name"] for one in suite["attacks"]}
    moved = f"perturbation in {norm(about['norm'])}"
    return found | {
        "classes": _classes(suite["classes"]),
        "confusion": _confusion(suite["confusion"]["pairs"]),
        "curve": _curve(suite["security_curve"], "budgets", names, moved),
        "queries": _curve(suite["queries"], "queries", names, "queries to the model", log=True),
    }


def _classes(rows: list[Document]) -> list[Document]:
    """All classes, or of very many those that hold least."""
    if len(rows) <= _MOST_CLASS_ROWS:
        return rows
    return sorted(rows, key=lambda one: float(one["worst_case"]["accuracy"]))[:_MOST_CLASS_ROWS]


def _confusion(pairs: list[Document]) -> Document:
    """The matrix of few classes, or the most frequent mistakes of many."""
    labels = sorted({p["label"] for p in pairs} | {p["prediction"] for p in pairs})
    if len(labels) > _MOST_CLASSES:
        wrong = [p for p in pairs if p["label"] != p["prediction"]]
        return {"labels": [], "rows": [], "pairs": wrong[:_MOST_PAIRS]}
    counts = {(p["label"], p["prediction"]): p["count"] for p in pairs}
    names = {p[key]: p[f"{key}_name"] for p in pairs for key in ("label", "prediction")}
    rows = []
    for place, label in enumerate(labels):
        row = [counts.get((label, other), 0) for other in labels]
        rows.append({"name": names[label], "place": place, "counts": row, "total": sum(row)})
    shown = [row for row in rows if row["total"]]
    return {"labels": [names[label] for label in labels], "rows": shown, "pairs": []}


def _curve(
    curve: Document | None, across: str, names: dict[str, str], label: str, *, log: bool = False
) -> Markup | None:
    """Accuracy over budgets or queries, one line an attack and one for the worst case."""
    if curve is None:
        return None
    xs = curve[across]
    series = [
        Line(names[key], list(zip(xs, ys, strict=True)), style)
        for style, (key, ys) in enumerate(curve["attacks"].items())
    ]
    if "worst_case" in curve:
        series.append(Line("worst case", list(zip(xs, curve["worst_case"], strict=True)), -1))
    return lines(
        Axis(label, xs[0], xs[-1], log=log),
        Axis("accuracy in %", 0, 1, percent=True),
        series,
        words=f"Accuracy in per cent over {label}: {told(series)}.",
    )


def _history(history: Sequence[Document], stage: str) -> list[Markup]:
    """A chart of the accuracies of each epoch and one of everything else that was logged."""
    across = "epoch" if all("epoch" in row for row in history) else "step"
    names = list(dict.fromkeys(n for row in history for n in row if n not in ("epoch", "step")))
    groups = [[n for n in names if "accuracy" in n], [n for n in names if "accuracy" not in n]]
    drawn = [group for group in groups if group] if len(history) > 1 else []
    return [_history_chart(history, group, across, stage) for group in drawn]


def _history_chart(
    history: Sequence[Document], names: list[str], across: str, stage: str
) -> Markup:
    series = []
    for style, name in enumerate(names):
        logged = [(n, row) for n, row in enumerate(history, 1) if name in row]
        points = [(row.get(across, n), row[name]) for n, row in logged]
        series.append(Line(name.replace("_", " "), points, style))
    values = [y for one in series for _, y in one.points]
    xs = [x for one in series for x, _ in one.points]
    ends = "; ".join(
        f"{one.label} from {one.points[0][1]:.3g} to {one.points[-1][1]:.3g}" for one in series
    )
    shares = all("accuracy" in name for name in names) and all(0 <= y <= 1 for y in values)
    return lines(
        _axis(across, min(xs), max(xs), whole=True),
        _value_axis(series[0].label if len(series) == 1 else "value", values, shares=shares),
        series,
        words=f"History of {stage}, {across} {min(xs):g} to {max(xs):g}: {ends}.",
    )


def _value_axis(label: str, values: list[float], *, shares: bool) -> Axis:
    if shares:
        return Axis(f"{label} in %", 0, 1, percent=True)
    return _axis(label, min(0.0, *values), max(values))


def _axis(label: str, low: float, high: float, *, whole: bool = False) -> Axis:
    return Axis(label, low, high if high > low else low + 1, whole=whole)

"""The document of one model's page."""

from __future__ import annotations

import math
from typing import Any

from benchmark.results import SCHEMA_VERSION
from benchmark.results.records import ClaimsRecord, SupportRecord, TrainingRecord
from reports.attacked import expected_draw
from reports.checks import checks
from reports.details import Detail
from reports.groups import threat
from reports.nearness import QUERIES, shares
from reports.pictures import Example, common_magnification, examples, has_pictures
from reports.records import Attack, Cell
from reports.site import breakdown, downloads, measured
from reports.site.reproduce import UNKNOWN, command

_PICTURES = 6
Document = dict[str, Any]


Pictures = dict[str, list[Example]]
Standing = dict[str, dict[str, Any]]


def document(
    cell: Cell, details: dict[str, Detail], related: list[Document], standing: Standing
) -> tuple[Document, Pictures]:
    """Everything that the page shows but for the pictures, as a JSON value, and those by suite.

    `standing` holds what `Board.standing` has of the cell.
    """
    record = cell.record
    ran = {
        name: [details[one.key] for one in cell.under(name) if one.key in details]
        for name in sorted(record.suites)
    }
    shown = [pictured.arrays for mine in ran.values() if (pictured := _pictured(mine))]
    magnification = common_magnification(shown, limit=_PICTURES)
    suites, pictures = [], {}
    stated = record.config.threat
    near = shares(list(details.values()), stated.norm, stated.eps)
    for name, mine in ran.items():
        suite, pictures[name] = _suite(cell, name, mine, standing[name], magnification)
        suites.append(suite | {"optimality": _optimality(mine, near)})
    return {
        "schema_version": SCHEMA_VERSION,
        "cell_id": cell.cell_id,
        "about": _about(cell),
        "config": cell.config,
        "status": record.status,
        "reason": record.reason,
        "versions": record.versions,
        "git": record.git,
        "device": record.device,
        "threads": record.threads,
        "seconds": record.seconds,
        "gradient_evaluations": record.gradient_evaluations,
        "started": record.started,
        "training": _stage(cell.training),
        "adaptation": _stage(cell.adaptation),
        "published": None if cell.published is None else cell.published.model_dump(),
        "suites": suites,
        **measured.documents(cell),
        "related": related,
        "reproduce": [command(cell, one["suite"], cell.runs.get(one["suite"])) for one in suites]
        or [command(cell, "", None)],
        "suite_files": [name for name, _ in downloads.suites(cell).values()],
        "reproduce_note": "" if all(one["suite"] in cell.runs for one in suites) else UNKNOWN,
    }, pictures


def outcomes(
    cell: Cell, loaded: dict[str, Detail], standing: Standing
) -> tuple[Document, Document]:
    """The outcomes per example: whole, to be downloaded, and as short as the comparison needs."""
    norm = cell.record.config.threat.norm
    details = list(loaded.values())
    if not details:
        return {"cell_id": cell.cell_id, "attacks": {}}, {"suites": {}}
    first = details[0]
    shared: dict[str, Any] = {"test_index": first.test_index, "clean_correct": first.clean_correct}
    shared |= {"label": first.label, "clean_prediction": first.clean_prediction}
    whole = {
        "cell_id": cell.cell_id,
        "classes": cell.record.classes,
        **{name: _listed(array) for name, array in shared.items()},
        "attacks": {d.attack.key: _attack_outcomes(d, norm) for d in details},
    }
    short = {
        "fingerprint": cell.record.config.dataset.fingerprint,
        "test_index": _listed(first.test_index),
        "clean": _bits(first.clean_correct),
        "suites": {
            name: _suite_outcomes(cell.under(name), loaded, standing[name])
            for name in sorted(cell.record.suites)
        },
    }
    return whole, short


def _suite_outcomes(
    attacks: list[Attack], loaded: dict[str, Detail], values: dict[str, Any]
) -> Document:
    """What the comparison needs of a suite.

    A worst case can be compared with that of another model where both have the same `exposure`:
    which examples each attack was run on, "" for all, null for one that is not applicable. It is
    null itself where an attack has no result.
    """
    ran = {one.name: loaded[one.key] for one in attacks if one.key in loaded}
    # What others claim makes a model no harder to compare: anybody may claim of any.
    exposure = {one.name: _exposed(ran.get(one.name)) for one in attacks if not one.claimed}
    lost = any(one.status != "not-applicable" and one.name not in ran for one in attacks)
    return {
        "bound": values["bound"],
        "exposure": None if lost else exposure,
        "attacks": [[name, _bits(one.robust), _exposed(one)] for name, one in ran.items()],
        "without": {one.name: one.status for one in attacks if one.name not in ran},
    }


def _exposed(one: Detail | None) -> str | None:
    if one is None:
        return None
    return "" if one.attacked.all() else _bits(one.attacked)


def _about(cell: Cell) -> Document:
    config = cell.record.config
    return {
        "defense": config.defense.name,
        "framework": config.framework,
        "dataset": config.dataset.name,
        "classes": config.dataset.classes,
        "model": config.model,
        "norm": config.threat.norm,
        "eps": config.threat.eps,
        "seed": config.seed,
        "threat": threat(
            {
                "norm": config.threat.norm,
                "eps": config.threat.eps,
                "features": config.threat.of_features,
            }
        ),
    }


def _attack_outcomes(one: Detail, norm: str) -> Document:
    return {
        "name": one.attack.name,
        "attacked": _listed(one.attacked),
        "success": _listed(one.success),
        "adversarial_prediction": _listed(one.adversarial_prediction),
        f"distance_{norm}": _listed(one.distance),
        "first_query": _listed(one.first_query),
    }


def _suite(
    cell: Cell, name: str, ran: list[Detail], values: dict[str, Any], magnification: float
) -> tuple[Document, list[Example]]:
    attacks = cell.under(name)
    found: Document = {
        "suite": name,
        "attacks": [_attack(attack) for attack in attacks],
        "checks": checks(cell, [a for a in attacks if not a.claimed], cell.trust.get(name)),
        "bound": values["bound"],
        "bound_reason": values["bound_reason"],
        "unranked_reason": values["unranked_reason"],
    }
    if not ran:
        return found, []
    strongest = min(ran, key=lambda one: one.accuracy)
    pictured = _pictured(ran)
    samples = (
        examples(pictured.arrays, limit=_PICTURES, magnification=magnification) if pictured else []
    )
    worst, stated = breakdown.worst_case(ran), cell.record.config.threat
    return found | {
        "attacked": len(worst),
        "expected": expected_draw([one.outcomes for one in attacks if one.outcomes is not None]),
        "clean": breakdown.share(int(ran[0].clean_correct.sum()), len(worst)),
        "worst_case": breakdown.worst_share(ran, bound=values["bound"]),
        "common": breakdown.common_share(ran) if values["common_examples"] else None,
        "classes": [
            {**row, "name": cell.class_name(row["label"])}
            for row in breakdown.by_class(ran, bound=values["bound"])
        ],
        "confusion": {
            "attack": strongest.attack.name,
            "pairs": [_named(cell, pair) for pair in breakdown.confusion(strongest)],
        },
        "security_curve": breakdown.security_curve(ran, stated.norm, stated.eps),
        "queries": breakdown.queries(ran),
        "examples": {
            "attack": pictured.attack.name if pictured else "",
            "magnification": magnification,
            "samples": [_sample(cell, one) for one in samples],
        },
    }, samples


def _sample(cell: Cell, one: Example) -> Document:
    """An example that has pictures, without them."""
    about = {"index": one.index, "label": one.label, "prediction": one.prediction}
    return _named(cell, about)


def _optimality(ran: list[Detail], near: dict[str, Document]) -> Document:
    """What share each attack has of the best known; "attacks" is empty where all are alone."""
    rows = [(one.attack, near[one.attack.key]) for one in ran if one.attack.key in near]
    found = [{"name": attack.name, "key": attack.key, **shares} for attack, shares in rows]
    return {"queries": list(QUERIES), "attacks": found}


def _named(cell: Cell, one: Document) -> Document:
    """The same with the names of both classes."""
    names = {f"{key}_name": cell.class_name(one[key]) for key in ("label", "prediction")}
    return one | names


def _pictured(ran: list[Detail]) -> Detail | None:
    """The strongest attack that has stored pictures."""
    strongest = sorted(ran, key=lambda one: one.accuracy)
    return next((one for one in strongest if has_pictures(one.arrays)), None)


def _attack(attack: Attack) -> Document:
    record = attack.record
    found: Document = {
        "name": attack.name,
        "key": attack.key,
        "status": attack.status,
        "reason": attack.reason,
    }
    if record is not None:
        counts = record.violations
        found |= {
            "attack": record.attack,
            "arguments": record.arguments,
            "norm": record.norm,
            "eps": record.eps,
            "silent_successes": record.silent,
            "seconds": record.seconds,
            "forwards": record.forwards,
            "backwards": record.backwards,
            "violations": {
                "budget": counts.budget,
                "box": counts.box,
                "non_finite": counts.non_finite,
            },
        }
        if isinstance(record, ClaimsRecord):
            found |= {"claimed": record.claimed, "text": record.text}
        if record.made_on:
            found["made_on"] = record.made_on
    if attack.outcomes is not None:
        robust = attack.outcomes.robust[attack.outcomes.attacked]
        found["examples"] = len(robust)
        found["robust"] = breakdown.share(int(robust.sum()), len(robust))
    return found


def _stage(stage: TrainingRecord | SupportRecord | None) -> Document | None:
    if stage is None:
        return None
    history = stage.history if isinstance(stage, TrainingRecord) else []
    return {
        "seconds": stage.seconds,
        "steps": stage.steps,
        "labels_used": stage.labels_used if isinstance(stage, SupportRecord) else None,
        "cost": stage.cost.model_dump(exclude_none=True),
        "history": [{k: v for k, v in row.items() if _is_number(v)} for row in history],
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _listed(array: Any) -> list[Any] | None:
    if array is None:
        return None
    listed: list[Any] = array.astype(int).tolist() if array.dtype.kind in "bu" else array.tolist()
    return [x if math.isfinite(x) else None for x in listed] if array.dtype.kind == "f" else listed


def _bits(array: Any) -> str:
    return "".join(map(str, array.astype(int).tolist()))

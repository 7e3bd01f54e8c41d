"""The few-shot protocol on the page of the meta-test: read-outs side by side, and over shots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from benchmark.results.records import FewShotRecord
from reports.fewshots import FewShot, chosen
from reports.groups import Group
from reports.rows import Row
from reports.site import wins
from reports.site.charts import Axis, Line, lines, told
from reports.site.protocols import MOST_DRAWN, Document, Size, documents, of_row, over_seeds

_ESTIMATES = ("clean", "robust", "stored_queries", "autoattack")


def document(groups: Sequence[Group]) -> list[Document]:
    """For each group a part for each ways and shots; a JSON value. White-box numbers are sorted."""
    return documents(groups, lambda row: (one.record.size for one in row.cell.few_shot), _part)


def charts(parts: Sequence[Document]) -> list[tuple[str, Markup]]:
    """Over shots for each number of ways, and over ways for each of shots, where there are two."""
    found = []
    labels = dict.fromkeys(one["label"] for part in parts for one in part["judged"])
    known = {label: style for style, label in enumerate(list(labels)[:MOST_DRAWN])}
    for over, fixed, text in (("shots", "ways", "{}-way"), ("ways", "shots", "{}-shot")):
        alike = ["version", *(name for name in FewShotRecord.ALIKE if name != over)]
        for values in dict.fromkeys(tuple(part[name] for name in alike) for part in parts):
            mine = [part for part in parts if tuple(part[name] for name in alike) == values]
            if len({part[over] for part in mine}) < 2:
                continue
            series = _series(mine, over, known)
            version, episodes = (mine[0][name] for name in ("version", "episodes"))
            protocol = f"version {version}, " if mine[0]["is_replaced"] else ""
            size = f"{text.format(mine[0][fixed])}, {protocol}{episodes} episodes"
            title = f"{size}, the read-out that is best on validation classes"
            words = f"{title}: robust accuracy in per cent over {over}: {told(series)}."
            up = Axis("robust accuracy in %", 0, 1, percent=True)
            across = Axis(over, 0, max(part[over] for part in mine), whole=True)
            found.append((title, lines(across, up, series, words=words)))
    return found


def _series(parts: Sequence[Document], over: str, known: Mapping[str, int]) -> list[Line]:
    """The trainings that are known by their style."""
    points: dict[str, list[tuple[float, float]]] = {label: [] for label in known}
    for part in parts:
        for one in part["judged"]:
            if one["label"] in known:
                points[one["label"]].append((part[over], one["mean"]))
    return [Line(label, line, known[label]) for label, line in points.items() if line]


def _part(size: Size, members: Sequence[Row]) -> Document:
    """Read-outs of one size, the most robust first, and last those that guess."""
    every = [one.record for row in members for one in row.cell.few_shot]
    record = next(one for one in every if one.size == size)
    rows, judged = [], []
    for row in members:
        mine = [one for one in row.cell.few_shot if one.record.size == size]
        best = chosen(mine)
        rows += [_row(row, one, is_chosen=one is best) for one in mine]
        judged += [] if best is None else [(row, best.record.readout, best.shares["robust"])]
    rows.sort(key=lambda one: (one["guesses"], -one["robust"]["mean"] if one["robust"] else 1.0))
    guessing = {one["cell_id"] for one in rows if one["chosen"] and one["guesses"]}
    return {
        **{name: getattr(record, name) for name in ("version", *record.ALIKE)},
        "classes": members[0].cell.record.config.dataset.classes,
        "is_replaced": record.is_replaced,
        "rows": rows,
        "judged": wins.document(
            judged, "readout", queries=record.ways * record.queries, guessing=guessing
        ),
        "over_seeds": over_seeds(
            (row, {"readout": one.record.readout}, one.shares["robust"])
            for row in members
            for one in row.cell.few_shot
            if one.record.size == size and one.shares
        ),
        # Columns that any row has something in
        "has": [name for name in _ESTIMATES if any(row[name] for row in rows)],
    }


def _row(row: Row, one: FewShot, *, is_chosen: bool) -> Document:
    record = one.record
    estimates = {name: getattr(record, name) for name in _ESTIMATES}
    return {
        **of_row(row, record),
        "readout": record.readout,
        "chosen": is_chosen,
        "setting": dict(record.setting),
        "labels_used": record.labels_used,
        "gradient_evaluations": record.cost.gradient_evaluations,
        "robust_of_attacked": record.robust_of_attacked,
        "weakly_attacked": one.is_weakly_attacked,
        "guesses": one.guesses,
        "given_up": record.given_up,
        **{name: value and value.model_dump() for name, value in estimates.items()},
    }

"""The meta-test: what models keep under other attacks while they adapt to them, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from markupsafe import Markup

from reports.adaptations import HELD_OUT, most_of, summary
from reports.groups import Group, page
from reports.rows import Row
from reports.site import domain, fewshot, measured, render, sequence
from reports.site.charts import Axis, Line, lines, told
from reports.site.protocols import MOST_DRAWN, Document, Size, by_split, over_seeds
from reports.styles import is_hollow, styles

MOST_ROWS = 8  # that the charts draw; the table has all
_ROLES = ("seen", "validation", HELD_OUT)


def document(groups: Sequence[Group]) -> Document:
    """For each group its rows by size of the protocol, the largest first; a JSON value.

    What is of new classes, families in a row and other data sets stands beside it.
    """
    found = []
    for about, rows in by_split(groups):
        sizes: dict[Size, list[Row]] = {}
        for row in rows:
            if row.cell.adaptations:
                sizes.setdefault(row.cell.adaptations[0].size, []).append(row)
        if sizes:
            parts = [_part(sizes[size]) for size in sorted(sizes, reverse=True)]
            found.append({**about, "parts": parts})
    return {
        "groups": found,
        "few_shot": fewshot.document(groups),
        "sequences": sequence.document(groups),
        "domains": domain.document(groups),
    }


def write(document: Document) -> str:
    """The page of such a document."""
    return render.page(
        "metatest.html.j2",
        current="metatest.html",
        most_drawn=MOST_ROWS,
        most_lines=MOST_DRAWN,
        groups=[
            (group, [(part, _charts(part, styles(group["defenses"]))) for part in group["parts"]])
            for group in document["groups"]
        ],
        few_shot=[(group, fewshot.charts(group["parts"])) for group in document["few_shot"]],
        sequences=[
            (group, [(part, sequence.chart(part)) for part in group["parts"]])
            for group in document["sequences"]
        ],
        domains=[
            (group, [(part, domain.chart(part)) for part in group["parts"]])
            for group in document["domains"]
        ],
    )


def _part(members: Sequence[Row]) -> Document:
    """Rows that were adapted in the same way."""
    every = [one.record for row in members for one in row.cell.adaptations]
    rates, episodes = members[0].cell.adaptations[0].tuned or ((), 0)
    # A family's role for most: held out where it is so for any.
    roles = {r.family: r.role for r in sorted(every, key=lambda r: _ROLES.index(r.role))}
    held = [(row, found) for row in members if (found := summary(row.cell.adaptations))]
    most = {name for _, found in held for name in found.families}
    seen = most_of(found.seen_families for _, found in held) if held else ()
    return {
        **{name: getattr(every[0], name) for name in ("version", *every[0].ALIKE)},
        "rates": list(rates),
        "tuning_episodes": episodes,
        "is_replaced": every[0].is_replaced,
        "roles": roles,
        "rows": [_row(row, roles, most, seen) for row in members],
        # The held-out area, of models that have it of the same families
        "over_seeds": over_seeds(
            (row, {"families": ", ".join(found.families)}, found.area_of_each)
            for row, found in held
        ),
    }


def _row(row: Row, roles: Mapping[str, str], most: Set[str], seen: Sequence[str]) -> Document:
    """`most` are the held-out families that any row has a result of, `seen` those most keep."""
    found = measured.metatest(row.cell.adaptations)
    assert found is not None
    families = {one["family"]: one for one in found["families"]}
    return {
        "cell_id": row.cell.cell_id,
        "page": page(row.cell.cell_id),
        "label": row.label,
        "defense": row.values.defense,
        "framework": row.values.framework,
        **{name: found[name] for name in ("rate", "tuned_steps", "held_out")},
        # One was trained on, has failed, or was not reached yet
        "fewer": bool(found["held_out"]) and set(found["held_out"]["families"]) != most,
        # It was trained on another besides, or was run beside others: no forgetting of the same
        "keeps_others": bool(found["held_out"]) and found["held_out"]["seen_families"] != [*seen],
        "families": [_family(families.get(name)) for name in roles],
    }


def _family(one: Document | None) -> Document | None:
    names = ("family", "role", "status", "reason", "before", "after", "given_up")
    return one and {name: one[name] for name in names if name in one}


def _charts(part: Document, known: Mapping[str, int]) -> list[tuple[str, Markup]]:
    """Held-out families over steps and over labels, and what the seen families keep."""
    drawn = [row for row in part["rows"] if row["held_out"]][:MOST_ROWS]
    labels = f"{part['shots'][-1]} labels"
    kinds = (
        (f"Held-out families, {labels}", "steps", "over_steps"),
        ("Held-out families, tuned steps", "shots", "over_shots"),
        (f"Seen families, {labels}", "steps", "seen"),
    )
    found = []
    for title, points, curve in kinds if drawn else ():
        series = []
        for row in drawn:
            if curve == "seen" and row["keeps_others"]:
                continue
            pairs = list(zip(part[points], row["held_out"][curve], strict=True))
            outline = is_hollow(row["framework"])
            series.append(Line(row["label"], pairs, known[row["defense"]], hollow=outline))
        across = "labels" if points == "shots" else points
        words = f"{title}, accuracy in per cent over {across}: {told(series)}."
        up = Axis("accuracy in %", 0, 1, percent=True)
        found.append((title, lines(Axis(across, 0, part[points][-1]), up, series, words=words)))
    return found

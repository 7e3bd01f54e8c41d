"""Groups of rows that are ranked together, what did not finish, and both as a JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote, urlencode

from benchmark.results import SCHEMA_VERSION
from reports import recommendation, shown
from reports.accuracies import MOST_ROWS, series
from reports.board import ATTACK_PREFIX, GROUP, BoardRow, columns
from reports.columns import meanings
from reports.notes import notes
from reports.paired import LEVEL
from reports.ranking import Leaderboard, leaderboard
from reports.records import Results
from reports.rows import Row, rows
from reports.seeds import over_seeds
from reports.text import budget, norm, one_line, percent

EXTRA_COLUMNS = {
    "label": "a name of the row that no other row of the group has",
    "variant": "what tells the row from others of its defense",
    "attack_states": "status of each attack of the suite",
    "page": "the model's page, relative to the site",
}
_MOST_NAMED = 3  # rows that the headline names; more are counted


@dataclass(frozen=True)
class Group:
    """Rows that are ranked together: the same data, model, threat model, suite and examples."""

    about: dict[str, Any]
    attacks: list[str]
    rows: list[Row]

    def summary(self) -> dict[str, Any]:
        """What the rows share, as a JSON value."""
        return {
            **self.about,
            "title": title(self.about),
            "threat": threat(self.about),
            "attacks": self.attacks,
            "defenses": sorted({row.values.defense for row in self.rows}),
            "attacked": sorted({r.values.attacked for r in self.rows if r.values.attacked}),
        }

    def document(self) -> dict[str, Any]:
        """The group with its rows, as a JSON value."""
        seeds = over_seeds([r.values for r in self.rows], [r.variant for r in self.rows])
        return {
            **self.summary(),
            "headline": headline(self.rows),
            "recommendation": recommendation.document(self.rows),
            "over_seeds": [asdict(one) for one in seeds],
            "rows": [_row(row) for row in self.rows],
            "notes": [asdict(note) for note in notes(self.rows)],
            "series": [asdict(one) for one in series(self.rows, self.attacks)],
            "more_rows": max(0, len(self.rows) - MOST_ROWS),
        }


@dataclass(frozen=True)
class Board:
    """All groups, a row of each cell that failed, and the leaderboard that both are from."""

    groups: list[Group]
    failed: list[BoardRow]
    leaderboard: Leaderboard

    def standing(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Cell id and suite to what a model's page shows of its row.

        Its rank and its differences are not among it: one more cell would change all pages.
        """
        names = ("bound_reason", "unranked_reason", "common_examples")
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for row in self.leaderboard.rows:
            mine = {"bound": row.upper_bound, **{name: getattr(row, name) for name in names}}
            found.setdefault(row.cell_id, {})[row.suite] = mine
        return found

    def document(self) -> dict[str, Any]:
        """The leaderboard as a JSON value: everything that the site's first page shows."""
        return {
            "schema_version": SCHEMA_VERSION,
            "columns": meanings(columns()) | EXTRA_COLUMNS,
            "attacks": self.attacks,
            "groups": [one.document() for one in self.groups],
            "failed": [
                {**row.plain(()), "title": title(vars(row)), "page": page(row.cell_id)}
                for row in self.failed
            ],
            "left_out": self.leaderboard.left_out,
        }

    @property
    def attacks(self) -> list[str]:
        """Those of all groups."""
        return list(dict.fromkeys(name for one in self.groups for name in one.attacks))


def board(results: Results) -> Board:
    """The leaderboard of everything that could be read."""
    ranked = leaderboard(results)
    cells = {cell.cell_id: cell for cell in results.cells}
    grouped: dict[tuple[Any, ...], list[BoardRow]] = {}
    failed: dict[str, BoardRow] = {}
    for row in ranked.rows:
        if row.status != "ok":
            failed.setdefault(row.cell_id, row)
        elif row.suite:
            grouped.setdefault(row.group, []).append(row)
    groups = [_group(rows(members, cells)) for members in grouped.values()]
    return Board(groups, list(failed.values()), ranked)


def page(cell_id: str) -> str:
    """A model's page, relative to the site."""
    return f"models/{quote(cell_id)}/index.html"


def threat(about: dict[str, Any]) -> str:
    """The threat model in short."""
    of_features = f" ({about['features']})" if about.get("features") else ""
    return f"{norm(about['norm'])} ε = {budget(about['eps'])}{of_features}"


def view(about: dict[str, Any]) -> str:
    """The address of the leaderboard that shows one group, relative to the site."""
    names = ("dataset", "threat", "model", "suite")
    return "index.html?" + urlencode({n: one_line(about[n]) for n in names if n in about})


def _group(members: Sequence[Row]) -> Group:
    about = dict(zip(GROUP, members[0].values.group, strict=True))
    attacks = list(dict.fromkeys(attack.name for row in members for attack in row.attacks))
    return Group(about, attacks, list(members))


def _row(row: Row) -> dict[str, Any]:
    return {
        **{name: value for name, value in row.values.plain(()).items() if name not in GROUP},
        **{f"{ATTACK_PREFIX}{one.name}": row.accuracy(one.name) for one in row.attacks},
        "attack_states": {name: one.status for name, one in row.values.results.items()},
        "label": row.label,
        "variant": row.variant,
        "page": page(row.cell.cell_id),
    }


def title(values: dict[str, Any]) -> str:
    """A group's data set, model and threat model in one line."""
    return f"{values['dataset']}, {values['model']}, {threat(values)}"


def _named(labels: Sequence[str], separator: str, kind: str) -> str:
    return separator.join(labels) if len(labels) <= _MOST_NAMED else f"{len(labels)} {kind}"


def headline(members: Sequence[Row]) -> str:
    """The best worst case of a group, beside the undefended twin's, in a sentence."""
    ranked = [row for row in members if row.values.rank is not None]
    if not ranked:
        return "No row has a rank."
    best = ranked[0].values
    first = [row for row in ranked if row.values.worst_case == best.worst_case]
    names = _named([row.label for row in first], " and ", "rows")
    told = f"Best worst case: {names} with {shown.worst_case(best)} % ({_certainty(best)})."
    others = [row for row in ranked if row not in first]
    if tied := [row.label for row in others if (row.values.best_p or 0) > LEVEL]:
        told += f" The data can't tell {_named(tied, ', ', 'other rows')} from the best."
    bare = [row.values for row in ranked if row.undefended]
    if bare and not all(row.undefended for row in first):
        shares = [row.worst_case for row in bare if row.worst_case is not None]
        least, most = percent(min(shares)), percent(max(shares))
        bound = "≤ " if any(r.values.upper_bound for r in members if r.undefended) else ""
        told += f" Undefended: {bound}{least if least == most else f'{least} to {most}'} %."
    return told


def _certainty(values: BoardRow) -> str:
    """The interval of a worst case, or what is known where it is only an upper bound."""
    if not values.upper_bound:
        low, high = percent(values.worst_case_low), percent(values.worst_case_high)
        return f"95 % interval {low} to {high} %"
    told = "an upper bound: not every attack ran on every example"
    if values.common_examples:
        told += f"; {shown.common(values)} that all ran on"
    return told

"""The leaderboard's document: settings with their ranked rows, and what has no place in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pandas as pd

from benchmark.results import SCHEMA_VERSION
from reports.board import ATTACK_PREFIX, COLUMNS, GROUP, STATUS_PREFIX, leaderboard, upper_bound
from reports.columns import meanings, plain_rows
from reports.frame import frame
from reports.page import headline, title
from reports.records import Results
from reports.rows import Row, rows
from reports.seeds import over_seeds
from reports.text import budget, norm, one_line

EXTRA_COLUMNS = {
    "label": "a name of the row that no other row of the setting has",
    "variant": "what tells the row from others of its defense",
    "attack_states": "status of each attack of the suite",
    "page": "the model's page, relative to the site",
}


@dataclass(frozen=True)
class Setting:
    """Rows that can be compared: the same data, model, threat model, suite and examples."""

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
            "attacked": sorted({r.values["attacked"] for r in self.rows if r.values["attacked"]}),
        }

    def document(self) -> dict[str, Any]:
        """The setting with its rows, as a JSON value."""
        seeds = over_seeds([r.values for r in self.rows], [r.variant for r in self.rows])
        return {
            **self.summary(),
            "headline": headline(self.rows),
            "over_seeds": [asdict(one) for one in seeds],
            "rows": [_row(row) for row in self.rows],
        }


@dataclass(frozen=True)
class Board:
    """All settings, what did not finish, and the frame that both are from."""

    settings: list[Setting]
    failed: list[dict[str, Any]]
    frame: pd.DataFrame

    def standing(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Cell id and suite to what a model's page shows of its row.

        Its rank and its differences are not among it: one more cell would change all pages.
        """
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for values in plain_rows(self.frame):
            names = ("bound_reason", "unranked_reason", "common_examples")
            mine = {"bound": upper_bound(values), **{name: values[name] for name in names}}
            found.setdefault(values["cell_id"], {})[values["suite"]] = mine
        return found

    def document(self) -> dict[str, Any]:
        """The leaderboard as a JSON value: everything that the site's first page shows."""
        attacks = list(dict.fromkeys(name for one in self.settings for name in one.attacks))
        return {
            "schema_version": SCHEMA_VERSION,
            "columns": meanings(COLUMNS) | EXTRA_COLUMNS,
            "attacks": attacks,
            "settings": [one.document() for one in self.settings],
            "failed": self.failed,
            "left_out": self.frame.attrs["left_out"],
        }


def board(results: Results) -> Board:
    """The leaderboard of everything that could be read."""
    ranked = leaderboard(frame(results))
    cells = {cell.cell_id: cell for cell in results.cells}
    grouped: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    failed: dict[str, dict[str, Any]] = {}
    for values in plain_rows(ranked):
        if values["status"] != "ok":
            told = {**values, "title": title(values), "page": page(values["cell_id"])}
            failed.setdefault(values["cell_id"], told)
        elif values["suite"]:
            grouped.setdefault(tuple(values[name] for name in GROUP), []).append(values)
    settings = [_setting(rows(members, cells)) for members in grouped.values()]
    return Board(settings, list(failed.values()), ranked)


def page(cell_id: str) -> str:
    """A model's page, relative to the site."""
    return f"models/{quote(cell_id)}/index.html"


def threat(about: dict[str, Any]) -> str:
    """The threat model in short."""
    return f"{norm(about['norm'])} ε = {budget(about['eps'])}"


def view(about: dict[str, Any]) -> str:
    """The address of the leaderboard that shows one setting, relative to the site."""
    names = ("dataset", "threat", "model", "suite")
    return "index.html?" + urlencode({n: one_line(about[n]) for n in names if n in about})


def _setting(members: Sequence[Row]) -> Setting:
    about = {name: members[0].values[name] for name in GROUP}
    attacks = list(dict.fromkeys(attack.name for row in members for attack in row.attacks))
    return Setting(about, attacks, list(members))


def _row(row: Row) -> dict[str, Any]:
    return {
        **{
            k: v
            for k, v in row.values.items()
            if k not in GROUP and not k.startswith((ATTACK_PREFIX, STATUS_PREFIX))
        },
        **{f"{ATTACK_PREFIX}{name}": row.accuracy(name) for name in (a.name for a in row.attacks)},
        "attack_states": {
            name.removeprefix(STATUS_PREFIX): status
            for name, status in row.values.items()
            if name.startswith(STATUS_PREFIX) and status is not None
        },
        "label": row.label,
        "variant": row.variant,
        "page": page(row.cell.cell_id),
    }

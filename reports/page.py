"""What the page shows, as values: groups of comparable rows, their notes, plots and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.errors import StoreError
from benchmark.results import Store
from reports import plot
from reports.adaptation_section import Section, sections
from reports.board import GROUP, leaderboard
from reports.frame import frame, plain_rows
from reports.notes import Note, notes
from reports.pictures import Example, examples
from reports.records import read
from reports.rows import Row, rows
from reports.seeds import OverSeeds, over_seeds
from reports.text import budget, norm, percent

_PICTURE_ROWS = 8
_PICTURES = 4


@dataclass(frozen=True)
class Gallery:
    """Adversarial examples against one row."""

    label: str
    attack: str
    examples: list[Example]
    name: Callable[[int | None], str | None]  # of a class


@dataclass(frozen=True)
class Group:
    """Rows that can be compared: the same data, model, threat model, suite and examples."""

    title: str
    about: dict[str, Any]  # the values that all rows share
    attacked: list[int]
    attacks: list[str]
    rows: list[Row]
    headline: str
    over_seeds: list[OverSeeds]
    notes: list[Note]
    galleries: list[Gallery]
    plot: str  # an SVG element, "" where there is nothing to plot
    plot_in_words: str
    rows_not_in_plot: int
    adaptations: list[Section]


@dataclass(frozen=True)
class Page:
    """The whole report."""

    groups: list[Group]
    failed: list[dict[str, Any]]
    left_out: list[dict[str, str]]
    board: pd.DataFrame


def build(out: Path | str) -> Page:
    """Reads a results folder into a page; raises `StoreError` if it isn't one."""
    results = read(out)
    store = Store.open(out)
    board = leaderboard(frame(results))
    cells = {cell.cell_id: cell for cell in results.cells}
    grouped: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    failed: dict[str, dict[str, Any]] = {}
    for values in plain_rows(board):
        if values["status"] != "ok":
            failed.setdefault(values["cell_id"], {**values, "title": title(values)})
        elif values["suite"]:
            grouped.setdefault(tuple(values[name] for name in GROUP), []).append(values)
    groups = [
        _group(store, rows(members, cells), number)
        for number, members in enumerate(grouped.values(), 1)
    ]
    return Page(groups, list(failed.values()), results.left_out.as_list(), board)


def _group(store: Store, members: list[Row], number: int) -> Group:
    about = {name: members[0].values[name] for name in GROUP}
    attacks = list(dict.fromkeys(attack.name for row in members for attack in row.attacks))
    return Group(
        title=title(about),
        about=about,
        attacked=sorted({row.values["attacked"] for row in members if row.values["attacked"]}),
        attacks=attacks,
        rows=members,
        headline=headline(members),
        over_seeds=over_seeds([row.values for row in members], [row.variant for row in members]),
        notes=notes(members),
        galleries=_galleries(store, members),
        plot=plot.draw(members, attacks, prefix=f"plot-{number}"),
        plot_in_words=plot.tell(members, attacks),
        rows_not_in_plot=max(0, len(members) - plot.MOST_ROWS),
        adaptations=sections(members),
    )


def title(values: dict[str, Any]) -> str:
    """A setting's data set, model and threat model in one line."""
    threat = f"{norm(values['norm'])} ε = {budget(values['eps'])}"
    return f"{values['dataset']}, {values['model']}, {threat}"


# Rows that the headline names; more are counted.
_MOST_NAMED = 3


def _named(labels: Sequence[str], separator: str, kind: str) -> str:
    return separator.join(labels) if len(labels) <= _MOST_NAMED else f"{len(labels)} {kind}"


def headline(members: Sequence[Row]) -> str:
    """The best worst case of a group, beside the undefended twin's, in a sentence."""
    leading = [row for row in members if row.values["rank"] == 1]
    if not leading:
        return "No row has a complete worst case."
    best = leading[0].values
    first = [row for row in leading if row.values["worst_case"] == best["worst_case"]]
    names = _named([row.label for row in first], " and ", "rows")
    interval = f"{percent(best['worst_case_low'])} to {percent(best['worst_case_high'])} %"
    told = (
        f"Best worst case: {names} with {percent(best['worst_case'])} % (95 % interval {interval})."
    )
    if tied := [row.label for row in leading if row not in first]:
        told += f" The data can't tell {_named(tied, ', ', 'other rows')} from the best."
    bare = [r.values["worst_case"] for r in members if r.undefended and r.values["rank"]]
    if bare and not all(row.undefended for row in first):
        least, most = percent(min(bare)), percent(max(bare))
        told += f" Undefended: {least if least == most else f'{least} to {most}'} %."
    return told


def _galleries(store: Store, members: Sequence[Row]) -> list[Gallery]:
    """Examples of the strongest attack that has pictures, for the first rows."""
    found = [_gallery(store, row) for row in members[:_PICTURE_ROWS]]
    return [gallery for gallery in found if gallery is not None]


def _gallery(store: Store, row: Row) -> Gallery | None:
    ran = [(attack, attack.outcomes) for attack in row.attacks if attack.outcomes is not None]
    for attack, _ in sorted(ran, key=lambda one: one[1].accuracy):
        stage = f"attacks/{attack.key}"
        try:
            arrays = store.read_arrays(row.cell.cell_id, stage, f"{attack.key}.npz")
        except StoreError:  # removed a moment ago
            continue
        if pictures := examples(arrays, limit=_PICTURES):
            return Gallery(row.label, attack.name, pictures, row.cell.class_name)
    return None

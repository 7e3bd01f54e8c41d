"""The rows of one group as the site shows them, each with its cell and a name of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.results.records import TrustRecord
from reports.attacked import Outcomes
from reports.board import BoardRow
from reports.records import Attack, Cell


@dataclass(frozen=True)
class Row:
    """One row of a leaderboard: the numbers, and the cell that they are from."""

    values: BoardRow
    cell: Cell
    attacks: tuple[Attack, ...]  # of the group's suite
    label: str
    variant: str  # what tells this row from others of the same defense

    @property
    def undefended(self) -> bool:
        return self.values.undefended

    @property
    def trust(self) -> TrustRecord | None:
        """The trust checks under the group's suite; None where none were made."""
        return self.cell.trust.get(self.values.suite)

    def state(self, attack: str) -> str:
        """The status of an attack by name; "missing" if this cell knows nothing of it."""
        return {a.name: a.status for a in self.attacks}.get(attack, "missing")

    def outcomes(self, attack: str) -> Outcomes | None:
        """An attack's outcomes by its name, None where it has none."""
        return {a.name: a.outcomes for a in self.attacks}.get(attack)

    def accuracy(self, attack: str) -> float | None:
        """The accuracy left under an attack, None where it has no result."""
        result = self.values.results.get(attack)
        return result and result.accuracy


def rows(members: Sequence[BoardRow], cells: dict[str, Cell]) -> list[Row]:
    """The rows of one group, in its order."""
    differences = variants(members)
    labels = _labels(members, differences)
    found = []
    for values, variant, label in zip(members, differences, labels, strict=True):
        cell = cells[values.cell_id]
        found.append(Row(values, cell, tuple(cell.under(values.suite)), label, variant))
    return found


def variants(members: Sequence[BoardRow]) -> list[str]:
    """What differs between the rows of one defense: parameters, epochs, budget."""
    configured = [
        {
            "epochs": values.epochs,
            "budget": values.budget_ge,
            "extra data": values.extra_data,
            "precision": values.precision,
            "origin": values.origin,
            **json.loads(values.parameters),
        }
        for values in members
    ]
    differing: dict[str, list[str]] = {}
    for defense in {values.defense for values in members}:
        twins = [
            mine
            for values, mine in zip(members, configured, strict=True)
            if values.defense == defense
        ]
        names = sorted({name for mine in twins for name in mine})
        differing[defense] = [n for n in names if len({json.dumps(o.get(n)) for o in twins}) > 1]
    return [
        ", ".join(
            f"{n}={json.dumps(mine[n])}"
            for n in differing[values.defense]
            if mine.get(n) is not None
        )
        for values, mine in zip(members, configured, strict=True)
    ]


def name_in_text(values: BoardRow) -> str:
    """A row's defense and framework; a defense that is called "none" would read as no row."""
    defense = "undefended" if values.undefended else values.defense
    return f"{defense} ({values.framework})"


def _labels(members: Sequence[BoardRow], variants: list[str]) -> list[str]:
    """Names of rows for text: the seed and the variant are told only where they vary."""
    seeds = {values.seed for values in members}
    return [
        ", ".join(
            [
                name_in_text(values),
                *([f"seed {values.seed}"] if len(seeds) > 1 else []),
                *([variant] if variant else []),
            ]
        )
        for values, variant in zip(members, variants, strict=True)
    ]

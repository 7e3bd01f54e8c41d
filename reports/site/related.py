"""Which models belong together: the undefended twin, the other framework, the other seeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reports.board import UNDEFENDED
from reports.groups import page
from reports.records import Cell


def related_cells(cells: tuple[Cell, ...]) -> dict[str, list[dict[str, Any]]]:
    """For each cell its relations, as {"relation", "cell_id", "page"}."""
    twins: dict[str, Cell] = {}
    family: dict[str, list[Cell]] = {}
    for cell in cells:
        family.setdefault(_key(cell, "seed", "framework"), []).append(cell)
        if cell.record.config.defense.name == UNDEFENDED:
            twins.setdefault(_key(cell, "defense"), cell)
    found = {}
    for cell in cells:
        twin, others = twins.get(_key(cell, "defense")), family[_key(cell, "seed", "framework")]
        found[cell.cell_id] = [
            {"relation": how, "cell_id": other.cell_id, "page": page(other.cell_id)}
            for how, other in _relations(cell, twin, others)
        ]
    return found


def _relations(cell: Cell, twin: Cell | None, family: list[Cell]) -> Iterator[tuple[str, Cell]]:
    if twin is not None and cell.record.config.defense.name != UNDEFENDED:
        yield "undefended twin", twin
    mine = cell.record.config
    for other in family:
        its = other.record.config
        if mine.seed == its.seed and mine.framework != its.framework:
            yield its.framework, other
        if mine.framework == its.framework and mine.seed != its.seed:
            yield f"seed {its.seed}", other


def _key(cell: Cell, *without: str) -> str:
    """What two cells must share to be related, as text."""
    config = cell.record.config.model_dump(exclude={"source"})
    return repr(sorted((k, v) for k, v in config.items() if k not in without))

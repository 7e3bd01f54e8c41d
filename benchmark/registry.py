"""Which parts of a cell other distributions contribute, and whether they are installed here."""

from __future__ import annotations

from collections.abc import Iterator

import defenses
from benchmark import datasets
from benchmark.cells import Cell
from benchmark.errors import ConfigError
from benchmark.models import entry as models
from defenses.contributed import ContributionError


def check_installed(cell: Cell) -> None:
    """Raises `ConfigError` where a part of the cell is not the one that is installed here.

    Workers on other machines ask this before they begin, and so does who makes a stored cell again:
    another version of a contributed part is other code.
    """
    for kind, name, told, here in _parts(cell):
        if told == here:
            continue
        theirs, ours = told or "this project", here or "not installed"
        raise ConfigError(f"{kind} {name!r} of this cell is that of {theirs}; here it is {ours}")


def _parts(cell: Cell) -> Iterator[tuple[str, str, str | None, str | None]]:
    """Kind and name of a part, whose it is by the cell, and whose by what is installed."""
    try:
        yield "dataset", cell.dataset, cell.dataset_from, datasets.distribution(cell.dataset)
        if cell.source is None:
            name = cell.trained_by
            yield "defense", name, cell.defense_from, defenses.distribution(name)
            told = (cell.origin or {}).get("distribution")
            yield "model", cell.model, told, models.distribution(cell.model)
    except ContributionError as error:
        raise ConfigError(str(error)) from error

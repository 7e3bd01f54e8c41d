"""How near each stored attack comes to the best that is known, as a frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd

from benchmark.results import Store
from reports.columns import Number, columns_of, table
from reports.details import load_details
from reports.nearness import QUERIES, shares, threat
from reports.records import Cell, read


@dataclass(frozen=True, kw_only=True)
class ShareRow:
    """An attack on a cell that is not alone under its threat."""

    cell_id: Annotated[str, "the cell's id"]
    dataset: Annotated[str, "name of the data set"]
    defense: Annotated[str, "name of the defense"]
    framework: Annotated[str, "torch or tensorflow"]
    seed: Annotated[int, "training seed"]
    attack: Annotated[str, "name of the attack in its suite"]
    attack_key: Annotated[str, "its name with a hash of its arguments and examples"]
    attack_norm: Annotated[str, "norm of its threat"]
    attack_eps: Annotated[Number, "its budget; NA where unrestricted"]
    within_10: Annotated[
        Number,
        "share that it breaks with at most 10 queries each, of what it was run on and any attack "
        "of the same threat breaks; NA where its queries are not known",
    ]
    within_100: Annotated[Number, "the same with at most 100"]
    within_1000: Annotated[Number, "the same with at most 1,000"]
    broken: Annotated[Number, "the same with all that it asked; NA where none is broken"]
    nearness: Annotated[
        Number,
        "of a minimal-norm attack: the area that its distances cut off the clean accuracy over "
        "budgets, as a share of what the nearest points of all attacks of its norm cut off",
    ]


def frame(out: Path | str) -> pd.DataFrame:
    """A row for each; see `reports.optimality`."""
    results = read(out)
    rows = [row for cell in results.cells for row in _rows(results.store, cell)]
    return table([vars(row) for row in rows], columns_of(ShareRow))


def _rows(store: Store, cell: Cell) -> list[ShareRow]:
    config, details = cell.record.config, load_details(store, cell)
    stated = config.threat.norm, config.threat.eps
    rows = []
    for key, share in shares(list(details.values()), *stated).items():
        norm, eps = threat(details[key], *stated)
        within = dict(zip(QUERIES, share["within"], strict=True))
        rows.append(
            ShareRow(
                cell_id=cell.cell_id,
                dataset=config.dataset.name,
                defense=config.defense.name,
                framework=config.framework,
                seed=config.seed,
                attack=details[key].attack.name,
                attack_key=key,
                attack_norm=norm,
                attack_eps=eps,
                within_10=within[10],
                within_100=within[100],
                within_1000=within[1000],
                broken=share["broken"],
                nearness=share["distance"],
            )
        )
    return rows

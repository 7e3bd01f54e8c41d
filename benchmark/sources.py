"""Which cell's model an attack with `from:` is made on: decided before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmark.cells import BASELINE, Cell
from benchmark.digest import digest
from benchmark.errors import SuiteError
from benchmark.results import Store

Configs = Mapping[str, Mapping[str, Any]]
# What cells must share for one to be made on the other's model, to those that share it.
Index = Mapping[str, Configs]

# What such a cell shares with the one that is attacked.
SHARED = (
    *("dataset", "model", "framework", "seed", "threat", "epochs", "budget_ge"),
    *("origin", "extra_data", "precision"),
)


def stored_configs(out: Path) -> dict[str, dict[str, Any]]:
    """Id to configuration of the cells in a folder whose training is done; none without one."""
    if not (out / "bench.json").exists():
        return {}
    store = Store.open(out)
    records = {cell_id: store.read_cell(cell_id) for cell_id in store.cell_ids()}
    return {
        cell_id: record["config"]
        for cell_id, record in records.items()
        if record is not None and store.read_stage(cell_id, "training") is not None
    }


def index_of(configs: Configs) -> Index:
    """The configurations of trained cells by what an attacked one has to share with them."""
    found: dict[str, dict[str, Any]] = {}
    for cell_id, config in sorted(configs.items()):
        if config.get("source") is None:
            name = config.get("defense", {}).get("name")
            found.setdefault(_shared(name, config), {})[cell_id] = config
    return found


def _shared(defense: str, config: Mapping[str, Any]) -> str:
    return digest([defense, *(config.get(name) for name in SHARED)])


def chosen(
    cell: Cell, defense: str, run: Index, stored: Callable[[], Index], *, attack: str
) -> str:
    """The id of the cell on whose model an attack on `cell` is made.

    It is of this defense, and of the same data, model, framework, seed, threat and length; of the
    run, or else of its folder. Cells that differ only in how many examples are attacked hold the
    same model: one of as many examples, or the first, stands for them.

    Args:
        cell: that is attacked.
        defense: that trained the model.
        run: all cells of the run, by `index_of`.
        stored: gives what the folder holds in the same way; see `stored_configs`.
        attack: its name, for errors.

    Raises:
        SuiteError: there is none, or more than one.
    """
    wanted = _shared(defense, cell.config())
    fitting = run.get(wanted) or stored().get(wanted)
    if not fitting:
        fix = "leave --no-baseline out" if defense == BASELINE else f"add --defense {defense}"
        raise SuiteError(
            f"attack {attack!r} is made on the model of {defense!r} (from), but neither this run "
            f"nor its folder has that with the data, model, threat and length of {cell.label}; "
            f"{fix}"
        )
    models = {repr({**config, "examples": None}) for config in fitting.values()}
    if len(models) > 1:
        raise SuiteError(
            f"attack {attack!r} is made on the model of {defense!r} (from), but "
            f"{len(models)} of them fit {cell.label}: {', '.join(list(fitting)[:4])}; give another "
            "--out folder, or train the one that is meant in this run"
        )
    same = [name for name, config in fitting.items() if config["examples"] == cell.examples]
    return (same or list(fitting))[0]

"""A stored cell as a configuration that makes it again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from benchmark import datasets
from benchmark.errors import ConfigError
from benchmark.portable import dataset_name
from benchmark.results import Record, Store
from defenses import wrappers

_AROUND = ("attacks", "protocol", "split", "adaptation", "attack_timeout", "batch_size")


def configuration(store: Store, cell_id: str) -> Iterator[str]:
    """Lines of YAML for `bench run --config`, with everything said that the cell was made with.

    Raises `ConfigError` for a cell that hasn't ended, and for a model that someone else trained.
    """
    record = store.read_cell(cell_id)
    if record is None:
        raise ConfigError(f"cell {cell_id!r} hasn't ended, so that its configuration isn't stored")
    config = record["config"]
    if config.get("source"):
        raise ConfigError(
            f"cell {cell_id!r} is a model that someone else trained, which bench attack measures "
            "and no --config; its command is on its page, see bench report --publish"
        )
    suites = sorted(record["suites"]) or ["quick"]
    runs = {name: run for name in suites if (run := _run(store, cell_id, name)) is not None}
    suite = next(iter(runs), suites[0])
    yield f"# {cell_id}"
    if ":" in config["dataset"]["name"]:
        yield "# the data set's path is the one it has here"
    yield from (f"# measured under suite {other!r} too" for other in suites if other != suite)
    if not runs:
        yield "# of an earlier version: a suite file, changed attacks and adaptation aren't known"
    whole = _whole(config) | _around(store, cell_id, suite, runs.get(suite))
    yield from yaml.safe_dump(whole, sort_keys=False, width=100).splitlines()


def _run(store: Store, cell_id: str, suite: str) -> tuple[str, Record] | None:
    """The key and the record of what was asked for under a suite."""
    for key in store.stage_keys(cell_id, "runs"):
        stage = store.read_stage(cell_id, f"runs/{key}")
        if stage is not None and stage.get("suite") == suite:
            return key, stage
    return None


def _whole(config: Record) -> Record:
    """What the cell's own configuration says."""
    dataset, defense = config["dataset"], config["defense"]
    budgets = config["threat"].get("features")
    found = {
        "defense": [defense["name"]],
        "framework": [config["framework"]],
        "dataset": dataset_name(dataset["name"]),
        "image_size": dataset["image_size"],
        "split_seed": dataset["split_seed"],
        "label": dataset.get("label"),
        "group": dataset.get("group"),
        "model": config["model"],
        "init": (config.get("origin") or {}).get("init"),
        "new_head": (config.get("origin") or {}).get("new_head"),
        "precision": config.get("precision"),
        "extra_data": (config.get("extra_data") or {}).get("name"),
        "extra_share": (config.get("extra_data") or {}).get("share"),
        "norm": config["threat"]["norm"],
        "eps": config["threat"]["eps"],
        "features": None if budgets is None else {"budget": budgets},
        "seed": [config["seed"]],
        "epochs": config["epochs"],
        "budget_ge": config["budget_ge"],
        "examples": config["examples"],
        "parameters": _parameters(defense["name"], defense["parameters"], dataset["name"]),
    }
    return {name: value for name, value in found.items() if value is not None}


def _parameters(name: str, parameters: Record, dataset: str) -> dict[str, Any]:
    """By name; None turns off what the data set turns on, as leaving it out would not."""
    base, attached = wrappers.split(name)
    own: dict[str, Any] = dict.fromkeys(datasets.defaults(dataset).augmentation())
    own |= {key: value for key, value in parameters.items() if key not in attached}
    return {base: own, **{wrapper: parameters[wrapper] for wrapper in attached}}


def _around(
    store: Store, cell_id: str, suite: str, run: tuple[str, Record] | None
) -> dict[str, Any]:
    """The suite, and what was asked of it and of adaptation."""
    if run is None:
        return {"suite": suite}
    key, asked = run
    file = store.cell_folder(cell_id) / "runs" / f"{key}.yaml"
    found = {name: asked[name] for name in _AROUND if asked.get(name)}
    return {"suite": str(file) if f"{key}.yaml" in asked["files"] else suite, **found}

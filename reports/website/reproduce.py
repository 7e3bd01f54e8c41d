"""The exact command that makes a cell again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from reports.records import Cell
from reports.schema import DefenseConfig


def command(cell: Cell, suite: str) -> str:
    """All that the cell's configuration holds as a command for a shell, an option a line."""
    source = cell.config.get("source")
    if isinstance(source, dict):
        return _shell("bench attack", _given(cell, source) | _setting(cell, suite), [])
    config = cell.record.config
    options = {
        "defense": config.defense.name,
        "framework": config.framework,
        "model": config.model,
        **_setting(cell, suite),
        "epochs": config.epochs,
        "budget-ge": None if config.budget_ge is None else round(config.budget_ge),
    }
    flags = [f"--set={one}" for one in _parameters(config.defense)]
    return _shell("bench run", options, [*flags, "--no-baseline"])


def _setting(cell: Cell, suite: str) -> dict[str, Any]:
    """Data, threat model and suite."""
    config, stored = cell.record.config, cell.config.get("dataset", {})
    return {
        "dataset": config.dataset.name,
        "image-size": stored.get("image_size"),
        "split-seed": stored.get("split_seed") or 0,
        "norm": config.threat.norm,
        "eps": repr(config.threat.eps),
        "seed": config.seed,
        "examples": config.examples,
        "suite": suite or None,
    }


def _given(cell: Cell, source: dict[str, Any]) -> dict[str, Any]:
    """A model that someone else trained; its files are named without their folders."""
    options = {
        "name": cell.record.config.defense.name,
        "weights": source.get("weights"),
        "model": source.get("architecture") or source.get("builder"),
        "channels": source.get("channels"),
        "outputs": source.get("outputs"),
    }
    ends = source.get("input_range")
    options["input-range"] = "..".join(map(str, ends)) if isinstance(ends, list) and ends else None
    for name in ("mean", "std"):
        values = source.get(name)
        options[name] = ",".join(map(str, values)) if isinstance(values, list) and values else None
    return options


def _shell(start: str, options: dict[str, Any], flags: list[str]) -> str:
    words = [f"--{name}={value}" for name, value in options.items() if value is not None]
    return " \\\n    ".join([start, *map(shlex.quote, [*words, *flags])])


def _parameters(defense: DefenseConfig) -> Iterator[str]:
    """The defense's parameters; a wrapper's arguments are stored and given under its own name."""
    base, *wrappers = defense.name.split("+")
    for name, value in sorted(defense.parameters.items()):
        if name in wrappers and isinstance(value, dict):
            for argument, given in sorted(value.items()):
                yield f"parameters.{name}.{argument}={_yaml(given)}"
        else:
            yield f"parameters.{base}.{name}={_yaml(value)}"


def _yaml(value: Any) -> str:
    """JSON, which the command line reads as the YAML it expects."""
    return json.dumps(value)

"""The exact command that makes a cell again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from reports.records import Cell, DefenseConfig


def command(cell: Cell, suite: str) -> str:
    """`bench run` with all that the cell's configuration holds, an option a line, for a shell."""
    config, stored = cell.record.config, cell.config.get("dataset", {})
    options: dict[str, Any] = {
        "defense": config.defense.name,
        "framework": config.framework,
        "dataset": config.dataset.name,
        "image-size": stored.get("image_size"),
        "split-seed": stored.get("split_seed") or 0,
        "model": config.model,
        "norm": config.threat.norm,
        "eps": repr(config.threat.eps),
        "seed": config.seed,
        "epochs": config.epochs,
        "budget-ge": None if config.budget_ge is None else round(config.budget_ge),
        "examples": config.examples,
        "suite": suite or None,
    }
    words = [f"--{name}={value}" for name, value in options.items() if value is not None]
    words += [f"--set={one}" for one in _parameters(config.defense)]
    return " \\\n    ".join(["bench run", *map(shlex.quote, words), "--no-baseline"])


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

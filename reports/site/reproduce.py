"""The command that makes a cell again: what is not a default, an option a line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from benchmark.results.records import DefenseConfig
from reports.records import Cell
from reports.runs import Run
from reports.site.downloads import claims_file

_CHANNELS = {"torch": "first", "tensorflow": "last"}  # that a framework's models have by custom
_SUITE, _PROTOCOL = "quick", "none"  # where none is named

UNKNOWN = (
    "These results are of an earlier version, which did not store what was asked for: every option "
    "is named, and a suite file, changed attacks or an adaptation protocol would be missing."
)


def command(cell: Cell, suite: str, run: Run | None) -> str:
    """The command for a shell. Where `run` is unknown it names everything, defaults too."""
    source = cell.config.get("source")
    external = isinstance(source, dict)
    options = _given(cell, source) if isinstance(source, dict) else _trained(cell)
    words = {name: f"--{name}={value}" for name, value in options.items() if value is not None}
    needed = set(words)
    words |= {
        name: f"--{name}" if value is True else f"--{name}={value}"
        for name, value in _data_and_length(cell).items()
    }
    if not external:
        words |= {f"parameters.{k}": f"--set=parameters.{k}={v}" for k, v in _parameters(cell)}
        words |= {name: word for name, word in _turned_off(run).items() if name not in words}
    if (features := cell.record.config.threat.features) is not None:
        words["features"] = f"--set=features.budget={_yaml(features)}"
    claimed = [claims_file(one) for one in cell.attacks.values() if one.claimed]
    kept = [word for name, word in words.items() if _names(run, name, needed)]
    start = "bench attack" if external else "bench run"
    parts = [*kept, *_around(suite, run)]
    # A command takes one such file; where there are more it is given again with each.
    commands = [[*parts, f"--claims={name}"] for name in claimed] or [parts]
    return "\n".join(" \\\n    ".join([start, *map(shlex.quote, one)]) for one in commands)


def _names(run: Run | None, name: str, needed: set[str]) -> bool:
    return run is None or name in needed or name in run.asked.given


def _trained(cell: Cell) -> dict[str, Any]:
    config = cell.record.config
    return {"defense": config.defense.name, "framework": config.framework}


def _data_and_length(cell: Cell) -> dict[str, Any]:
    """Data, threat model and length, whatever the defaults are."""
    config, stored = cell.record.config, cell.config.get("dataset", {})
    whole = {
        "dataset": config.dataset.name,
        "model": None if "source" in cell.config else config.model,
        "init": (config.origin or {}).get("init"),
        "new-head": (config.origin or {}).get("new_head"),
        "precision": config.precision,
        "extra-data": config.extra_data and config.extra_data.name,
        "extra-share": config.extra_data and config.extra_data.share,
        "image-size": stored.get("image_size"),
        "split-seed": stored.get("split_seed") or 0,
        "label": config.dataset.label,
        "group": config.dataset.group,
        "norm": config.threat.norm,
        "eps": repr(config.threat.eps),
        "seed": config.seed,
        "epochs": config.epochs,
        "budget-ge": None if config.budget_ge is None else round(config.budget_ge),
        "examples": config.examples,
    }
    return {name: value for name, value in whole.items() if value is not None}


def _given(cell: Cell, source: dict[str, Any]) -> dict[str, Any]:
    """A model that someone else trained; its files are named without their folders."""
    channels = source.get("channels")
    options = {
        "name": cell.record.config.defense.name,
        "weights": source.get("weights"),
        "model": source.get("architecture") or source.get("builder"),
        "channels": None if channels == _CHANNELS.get(cell.record.config.framework) else channels,
        "outputs": source.get("outputs"),
    }
    ends = source.get("input_range")
    options["input-range"] = "..".join(map(str, ends)) if isinstance(ends, list) and ends else None
    for name in ("mean", "std"):
        values = source.get(name)
        options[name] = ",".join(map(str, values)) if isinstance(values, list) and values else None
    return options


def _around(suite: str, run: Run | None) -> Iterator[str]:
    """The suite, and what is asked of it and of adaptation."""
    name = suite if run is None or run.suite_file is None else run.suite_file
    if name and (run is None or name != _SUITE):
        yield f"--suite={name}"
    if run is None:
        return
    asked = run.asked
    if asked.protocol != _PROTOCOL:
        yield f"--protocol={asked.protocol}"
    if asked.split is not None:
        seed = isinstance(asked.split, int)
        yield f"--split={asked.split}" if seed else f"--set=split={_yaml(asked.split)}"
    if asked.attack_timeout is not None:
        yield f"--attack-timeout={asked.attack_timeout:g}"
    if asked.batch_size is not None:
        yield f"--batch-size={asked.batch_size}"
    for attack, arguments in sorted(asked.attacks.items()):
        for argument, value in sorted(arguments.items()):
            yield f"--set=attacks.{attack}.{argument}={_yaml(value)}"
    for name, value in sorted(asked.adaptation.items()):
        yield f"--set=adaptation.{name}={_yaml(value)}"


def _turned_off(run: Run | None) -> dict[str, str]:
    """What was asked for and is not stored: null gives a parameter the defense's own default."""
    given = () if run is None else run.asked.given
    return {name: f"--set={name}=null" for name in given if name.startswith("parameters.")}


def _parameters(cell: Cell) -> Iterator[tuple[str, str]]:
    """The defense's parameters; a wrapper's arguments are stored and given under its own name."""
    defense: DefenseConfig = cell.record.config.defense
    base, *wrappers = defense.name.split("+")
    for name, value in sorted(defense.parameters.items()):
        if name in wrappers and isinstance(value, dict):
            for argument, given in sorted(value.items()):
                yield f"{name}.{argument}", _yaml(given)
        else:
            yield f"{base}.{name}", _yaml(value)


def _yaml(value: Any) -> str:
    """JSON, which the command line reads as the YAML it expects."""
    return json.dumps(value)

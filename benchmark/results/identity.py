"""What a cell is called: a readable name that ends with the hash of its configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from benchmark.digest import digest

SCHEMA_VERSION = 1

# Of how models are attacked, adapted and judged: numbers of different versions are not compared.
# Records that were written before they told are of the first.
FIRST_PROTOCOL, PROTOCOL_VERSION = 1, 5
# Of the trust checks, which take the attacks as they are stored; likewise.
FIRST_CHECKS, CHECKS_VERSION = 1, 3


def protocol_of(record: Mapping[str, Any]) -> Any:
    """The version of the protocol that a stored record is of, which may be anything."""
    return record.get("protocol_version", FIRST_PROTOCOL)


def checks_of(record: Mapping[str, Any]) -> Any:
    """The version of the trust checks that a stored record of them is of, likewise."""
    return record.get("checks_version", FIRST_CHECKS)


def cell_id_of(config: Mapping[str, Any]) -> str:
    """The id of the cell with this configuration, as `cell.json` holds it.

    Raises `KeyError`, `TypeError`, `AttributeError` or `ValueError` for what is none.
    """
    name, model, framework = config["dataset"]["name"], config["model"], config["framework"]
    begins = id_begins(name, model, framework, config["defense"]["name"])
    whole = {"schema_version": SCHEMA_VERSION, **config}
    return "-".join([begins, f"s{config['seed']}", digest(whole)[:10]])


def id_begins(dataset: str, model: str, framework: str, defense: str) -> str:
    """What the ids of cells begin with, before the seed."""
    safe = defense.replace("+", "_")  # no name of a folder on every system
    return "-".join([_slug(dataset), _safe(model), framework, safe])


def made_of(record: Mapping[str, Any]) -> object:
    """The files that a stage was made of and their checksums; earlier versions told nothing."""
    return record.get("made_of", {})


def fits(cell_id: str, config: Mapping[str, Any]) -> bool:
    """Whether the cell of this configuration, which may be anything, is called so."""
    try:
        return cell_id == cell_id_of(config)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        return False


def _safe(model: str) -> str:
    """A model's name in safe characters: "wrn-16-2(norm=group)" is "wrn-16-2-norm-group"."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-")[:80]


def _slug(dataset: str) -> str:
    """A data set's name in safe characters: "npz:some/My Data.npz" is "npz-my-data"."""
    kind, _, path = dataset.partition(":")
    stem = re.sub(r"[^a-z0-9]+", "-", PurePath(path).stem.lower()).strip("-")[:40]
    return f"{kind}-{stem}".strip("-")

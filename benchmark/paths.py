"""Paths as people write them."""

from __future__ import annotations

import os
from pathlib import Path

from benchmark.errors import ConfigError


def expanded(path: Path | str) -> Path:
    """The path with "~" and "~user" at its beginning replaced; raises `ConfigError` for no user."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"{str(path)!r} begins with a user that this machine doesn't know; "
            f"write {'./' + str(path)!r} for a file of that name"
        ) from error


def data_folder(given: Path | str | None) -> Path | None:
    """The folder of the data: what was given, or else the environment's BENCH_DATA_DIR."""
    found = given or os.environ.get("BENCH_DATA_DIR")
    return expanded(found) if found else None

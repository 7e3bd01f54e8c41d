"""Cells named by the beginning of their ids."""

from __future__ import annotations

import difflib

from benchmark.errors import ConfigError
from benchmark.results import Store


def find_cell(store: Store, given: str) -> str:
    """The one cell whose id begins with `given`; ConfigError if there is none, or more than one."""
    known = store.cell_ids()
    if given in known:
        return given
    found = [cell_id for cell_id in known if given and cell_id.startswith(given)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"cell {given!r} is not unique in {store.path}: {_some(found)}")
    if not known:
        raise ConfigError(f"unknown cell {given!r}; {store.path} holds no cells yet")
    close = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"{store.path} holds {_some(known)}"
    raise ConfigError(f"unknown cell {given!r}; {hint}")


def _some(cell_ids: list[str]) -> str:
    rest = f" and {len(cell_ids) - 3} more" if len(cell_ids) > 3 else ""
    return ", ".join(cell_ids[:3]) + rest

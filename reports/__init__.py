"""Stored results to a tidy DataFrame, a leaderboard and a page that works from a file.

Nothing here changes what is stored. Importing this package is cheap: the functions below load
pandas, matplotlib and the rest when they are called.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

    from reports.terminal import TerminalTable

__all__ = ["leaderboard", "load", "publish", "terminal_table", "write"]


def load(out: Path | str) -> DataFrame:
    """All stored results, one row per (cell, suite, attack); `reports.frame.COLUMNS` explains each.

    What could not be read is in `.attrs["left_out"]`: a list of {"path", "reason"}.
    Raises `StoreError` if `out` is not a results folder.
    """
    from reports.frame import load

    return load(out)


def leaderboard(source: DataFrame | Path | str) -> DataFrame:
    """One row per (cell, suite), ranked on the worst case within each comparable group.

    `source` is a results folder or the frame that `load` gave.
    `reports.leaderboard.COLUMNS` explains each column.
    """
    from reports.frame import load
    from reports.leaderboard import leaderboard

    return leaderboard(load(source) if isinstance(source, str | Path) else source)


def write(out: Path | str, to: Path | str | None = None) -> Path:
    """Writes index.html, leaderboard.csv and leaderboard.json; returns the path of index.html.

    They go to the folder `to`, by default OUT/report. The same results give the same bytes.
    Raises `StoreError` if `out` is not a results folder or `to` can't be written.
    """
    from reports.site import write

    return write(out, to)


def publish(out: Path | str, site: Path | str) -> Path:
    """Writes the site of static pages to the folder `site`; returns the path of its index.html.

    Files whose content is the same are left alone, and files of an earlier publication that have no
    place any more are removed. The same results give the same bytes. Raises `StoreError` if `out`
    is not a results folder, or if `site` can't be written or holds something else.
    """
    from reports.website.publish import publish

    return publish(out, site)


def terminal_table(out: Path | str, cell_ids: Collection[str] | None = None) -> TerminalTable:
    """The leaderboard as text cells for a terminal, of all cells or only of those given."""
    from reports.terminal import terminal_table

    return terminal_table(out, cell_ids)

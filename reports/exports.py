"""The leaderboard as files for other programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import StoreError
from benchmark.results import SCHEMA_VERSION, make_folder, make_root, sweep, write_text
from reports.board import columns
from reports.columns import meanings
from reports.formats import WRITERS
from reports.ranking import Leaderboard
from reports.terminal import table_of
from reports.text import spreadsheet


def formatted(board: Leaderboard, form: str) -> str:
    """The leaderboard as csv, json, markdown or latex."""
    if form in WRITERS:
        return WRITERS[form](table_of(board))
    return as_json(board) if form == "json" else as_csv(columns(board.attacks), board.plain())


def as_csv(names: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Numbers in full precision; texts so that no spreadsheet takes them for formulas."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([spreadsheet(str(name)) for name in names])
    for row in rows:
        writer.writerow([_csv_value(value) for value in row.values()])
    return stream.getvalue()


def as_json(board: Leaderboard) -> str:
    """The rows, what their columns mean, and what was left out; texts exactly as stored."""
    rows = [{**row, "parameters": json.loads(row["parameters"])} for row in board.plain()]
    content = {
        "schema_version": SCHEMA_VERSION,
        "columns": meanings(columns()),
        "rows": rows,
        "left_out": board.left_out,
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def write_files(out: Path | str, to: Path | str, contents: Mapping[str, str | bytes]) -> list[Path]:
    """Writes each text to its path below the folder `to`, whole or not at all.

    Raises `StoreError` if it can't be written, is where the results folder `out` has its cells, or
    would go through a link inside of `to` or `out`.
    """
    folder = Path(to)
    root = root_of(Path(out), folder)
    paths = [folder / name for name in contents]
    try:
        make_root(root)
        for path in paths:
            make_folder(path.parent, root=root)
        for parent in {path.parent for path in paths}:
            sweep(parent)
        for path, content in zip(paths, contents.values(), strict=True):
            write_text(path, content, root=root)
    except OSError as error:
        raise StoreError(
            f"can't write to {folder}: {error.strerror or error}; give another folder"
        ) from error
    return paths


def root_of(out: Path, folder: Path) -> Path:
    """The folder below which nothing may be written through a link, to write to `folder`.

    A link in the results folder `out` came with it; one that leads to `folder` is the user's own.
    Raises `StoreError` where the cells of `out` are.
    """
    cells = (out / "cells").resolve()
    if cells == folder.resolve() or cells in folder.resolve().parents:
        raise StoreError(f"can't write to {folder}: stored results are in there")
    return out if folder.is_relative_to(out) else folder


def _csv_value(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return spreadsheet(value) if isinstance(value, str) else value

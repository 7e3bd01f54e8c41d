"""The leaderboard as files for other programs."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pandas as pd

from benchmark.results import SCHEMA_VERSION
from reports.board import COLUMNS
from reports.formats import WRITERS
from reports.frame import meanings, plain_rows
from reports.terminal import table_of
from reports.text import spreadsheet


def formatted(board: pd.DataFrame, form: str) -> str:
    """The leaderboard as csv, json, markdown or latex."""
    if form in WRITERS:
        return WRITERS[form](table_of(board))
    return as_csv(board) if form == "csv" else as_json(board)


def as_csv(board: pd.DataFrame) -> str:
    """Numbers in full precision; texts so that no spreadsheet takes them for formulas."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([spreadsheet(str(name)) for name in board.columns])
    for row in plain_rows(board):
        writer.writerow([_csv_value(value) for value in row.values()])
    return stream.getvalue()


def as_json(board: pd.DataFrame) -> str:
    """The rows, what their columns mean, and what was left out; texts exactly as stored."""
    rows = [{**row, "parameters": json.loads(row["parameters"])} for row in plain_rows(board)]
    content = {
        "schema_version": SCHEMA_VERSION,
        "columns": meanings(COLUMNS),
        "rows": rows,
        "left_out": board.attrs["left_out"],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _csv_value(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return spreadsheet(value) if isinstance(value, str) else value

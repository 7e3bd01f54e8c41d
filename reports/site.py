"""Writes the report: one page that needs nothing else, and the leaderboard as CSV and JSON."""

from __future__ import annotations

import json
from pathlib import Path

from markupsafe import Markup

from reports.exports import as_csv, as_json, write_files
from reports.page import Page, build
from reports.templating import templates


def write(out: Path | str, to: Path | str | None = None) -> Path:
    """Writes the report of a results folder; see `reports.write`."""
    out = Path(out)
    folder = out / "report" if to is None else Path(to)
    page = build(out)
    contents = {
        "leaderboard.csv": as_csv(page.board),
        "leaderboard.json": as_json(page.board),
        "index.html": render(page),
    }
    write_files(out, folder, contents)
    return folder / "index.html"


def render(page: Page) -> str:
    """The page as HTML. Everything that was stored is escaped; only our own SVG is not."""
    environment = templates()
    environment.filters |= {
        "pretty": lambda value: json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False),
        "compact": lambda value: json.dumps(value, sort_keys=True, ensure_ascii=False),
        "svg": Markup,
    }
    return environment.get_template("index.html.j2").render(page=page)

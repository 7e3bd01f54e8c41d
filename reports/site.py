"""Writes the report: one page that needs nothing else, and the leaderboard as CSV and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from reports import text
from reports.exports import as_csv, as_json, write_files
from reports.page import Page, build


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
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "percent": text.percent,
        "points": text.points,
        "amount": text.amount,
        "duration": text.duration,
        "budget": text.budget,
        "norm": text.norm,
        "pretty": lambda value: json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False),
        "compact": lambda value: json.dumps(value, sort_keys=True, ensure_ascii=False),
        "svg": Markup,
    }
    return environment.get_template("index.html.j2").render(page=page)


def shown(value: Any) -> Any:
    """What a page shows of a value: a dash for None, and no control characters."""
    if value is None:
        return "–"
    return text.plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value

"""What the page and the site ask of jinja2 alike. Everything that was stored is escaped."""

from __future__ import annotations

from typing import Any

import jinja2
from markupsafe import Markup

from reports import shown as told
from reports import text
from reports.board import upper_bound


def templates() -> jinja2.Environment:
    """The packaged templates, with the filters that write numbers."""
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
    }
    environment.globals |= {"told": told, "upper_bound": upper_bound}
    return environment


def shown(value: Any) -> Any:
    """What a page shows of a value: a dash for None, and no control characters."""
    if value is None:
        return "–"
    return text.plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value

"""Documents to pages. Everything that was stored is escaped; only our own SVG is not."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import jinja2
from markupsafe import Markup, escape

from reports import shown as told
from reports import text

_SCRIPT_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def page(template: str, *, root: str = "", current: str = "", **values: Any) -> str:
    """A page of the site; `root` leads from it to the site's first folder."""
    found = _environment().get_template(template)
    return found.render(root=root, current=current, **values)


def asset(name: str) -> str:
    """The text of a style sheet or a script of the site."""
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def document(value: Any) -> str:
    """A document as a JSON file."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")) + "\n"


def shown(value: Any) -> Any:
    """What a page shows of a value: a dash for None, and no control characters."""
    if value is None:
        return "–"
    return text.plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def breakable(name: str) -> Markup:
    """The name of a class, escaped, that may be broken where a word of it begins."""
    return Markup(re.sub("(?<=[a-z])(?=[A-Z])", "<wbr>", str(escape(shown(name)))))


def css_string(value: str) -> Markup:
    """A text as a string of a style sheet: every character but letters and digits is escaped."""
    escaped = "".join(
        c if c.isascii() and c.isalnum() else f"\\{ord(c):06x}" for c in text.one_line(value)
    )
    return Markup(f'"{escaped}"')


def json_script(value: Any) -> Markup:
    """A value as JSON that can stand in a script element: no `<` can end it."""
    encoded = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(encoded.translate(_SCRIPT_ESCAPES))


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    names = ("counted", "percent", "points", "amount", "duration", "budget", "norm", "p_value")
    environment.filters |= {name: getattr(text, name) for name in names}
    environment.filters |= {
        "breakable": breakable,
        "css_string": css_string,
        "json_script": json_script,
        "pretty": lambda value: json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False),
        "compact": lambda value: json.dumps(value, sort_keys=True, ensure_ascii=False),
    }
    environment.globals |= {"told": told}
    return environment

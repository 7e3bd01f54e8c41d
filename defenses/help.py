"""What a defense's parameters are, as its class documents them."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

_ARGUMENT = re.compile(r"^    (\w+): (.*)$")


def parameter_help(owner: type[Any]) -> dict[str, str]:
    """Parameter to its default and its line in the class's documentation, in the class's order.

    Args:
        owner: a defense, or another dataclass that documents its fields so.
    """
    documented, lines = _documented(owner), {}
    if presets := getattr(owner, "presets", None):
        lines["preset"] = f"(none) a published recipe: {', '.join(presets)}"
    for field in dataclasses.fields(owner):
        if field.name != "threat":
            lines[field.name] = (
                f"({_shown(field.default)}) {documented.get(field.name, '')}".strip()
            )
    return lines


def undocumented(owner: type[Any]) -> list[str]:
    """The parameters that the class's documentation says nothing of."""
    documented = _documented(owner)
    fields = [field.name for field in dataclasses.fields(owner) if field.name != "threat"]
    return [name for name in fields if not documented.get(name)]


def _documented(owner: type[Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for base in reversed(owner.__mro__):
        found |= dict(_arguments(inspect.cleandoc(base.__dict__.get("__doc__") or "")))
    return found


def _arguments(documentation: str) -> Iterator[tuple[str, str]]:
    """Names and sentences of the section "Args"; a sentence may go on in lines further in."""
    name, words = "", ""
    _, _, section = documentation.partition("Args:\n")
    for line in section.splitlines():
        if found := _ARGUMENT.match(line):
            if name:
                yield name, words
            name, words = found.groups()
        elif line.startswith("        "):
            words += " " + line.strip()
        else:
            break
    if name:
        yield name, words


def _shown(default: object) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default)) or "none"
    return "none" if default is None else str(default).lower()

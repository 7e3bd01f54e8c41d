"""How models are named with their parameters: "preact-resnet18(width=8,norm=group)"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from benchmark import documents
from benchmark.errors import ConfigError, shortened

# Without a colon, which stands in the names of builders.
_NAME = re.compile(r"(?P<base>[^():]*?)\s*(?:\((?P<inside>[^:]*)\))?")
# Between a parameter and its value.
_EQUALS = re.compile(r"\s*=\s*")


def parsed(text: str) -> tuple[str, dict[str, Any]]:
    """The name without its parameters, and these; values are what YAML makes of them.

    Raises:
        ConfigError: what stands between the parentheses is not "name=value, ...".
    """
    found = _NAME.fullmatch(text.strip())
    if found is None or found["inside"] is None:
        return text.strip(), {}
    try:
        given = documents.parse("{" + _EQUALS.sub(": ", found["inside"]) + "}")
    except documents.NotYaml:
        given = None
    if not isinstance(given, dict) or None in given.values():
        raise ConfigError(
            f"model {shortened(text)}: write its parameters as name=value with commas between "
            "them, such as preact-resnet18(width=8,mean=[0.49,0.48,0.45])"
        )
    return found["base"], {str(name): value for name, value in given.items()}


def joined(base: str, given: Mapping[str, Any]) -> str:
    """The inverse of `parsed`, in one form."""
    inside = ",".join(f"{name}={_shown(value)}" for name, value in given.items())
    return f"{base}({inside})" if inside else base


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return _shown(value[0]) if len(value) == 1 else f"[{','.join(map(_shown, value))}]"
    if isinstance(value, float):
        return re.sub(r"^(-?\d+)e", r"\1.0e", str(value))  # YAML reads 1e-05 as a text
    return str(value).lower() if isinstance(value, bool) else str(value)

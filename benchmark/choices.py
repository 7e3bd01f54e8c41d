"""Names in a configuration that are one of a few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BeforeValidator

from benchmark.errors import UnknownName


def one_of(kind: str, allowed: Sequence[str]) -> BeforeValidator:
    """Takes a name in any case, and refuses all that are not `allowed` by `UnknownName`."""

    def check(value: Any) -> str:
        name = str(value).strip().lower()
        if name not in allowed:
            raise UnknownName(kind, str(value), allowed)
        return name

    return BeforeValidator(check)

"""Options that stand in tables, given to a command."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any


def collected(
    **tables: Mapping[str, Any],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the options of tables before its own.

    Its argument of a table's name is what was given of them, option to value.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def call(**values: Any) -> None:
            for name, table in tables.items():
                chosen = {one: values.pop(one) for one in table}
                values[name] = {one: value for one, value in chosen.items() if value is not None}
            command(**values)

        signature = inspect.signature(command, eval_str=True)
        own = [one for one in signature.parameters.values() if one.name not in tables]
        options = {one: kind for table in tables.values() for one, kind in table.items()}
        taken = [
            inspect.Parameter(one, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for one, kind in options.items()
        ]
        parameters = [*taken, *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own)]
        call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {one.name: one.annotation for one in parameters}
        return call

    return decorate

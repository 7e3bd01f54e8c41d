"""Names and paths in a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from benchmark.errors import ConfigError, UnknownName, shortened
from benchmark.paths import expanded


def one_of(kind: str, allowed: Sequence[str]) -> BeforeValidator:
    """Takes a name in any case, and refuses all that are not `allowed` by `UnknownName`."""

    def check(value: Any) -> str:
        name = str(value).strip().lower()
        if name not in allowed:
            raise UnknownName(kind, str(value), allowed)
        return name

    return BeforeValidator(check)


def check_of_run(norm: Any) -> Any:
    """Raises `ConfigError` for the norm that single attacks have, and that no run or training has.

    Gives back everything else as it is.
    """
    from defenses.threat import of_single_attacks

    if told := of_single_attacks(norm):
        raise ConfigError(told)
    return norm


def _named(path: Any) -> Any:
    if not isinstance(path, str | Path):
        raise ValueError(f"{shortened(path)} is no path; put it in quotes if it is a name")
    if isinstance(path, str) and not path.strip():
        raise ConfigError("an empty path was given; give one, such as '.' for the current folder")
    return path


UserPath = Annotated[Path, BeforeValidator(_named), AfterValidator(expanded)]

"""`bench list`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from benchmark.cli.output import tell
from benchmark.errors import UnknownName


def list_names(
    what: Annotated[
        str,
        typer.Argument(metavar="defenses|attacks|suites|datasets|models|families|DEFENSE|MODEL"),
    ],
) -> None:
    """List what can be named on the command line, or the parameters of a defense or model."""
    found = descriptions(what)
    width = max(map(len, found), default=0)
    for name, description in found.items():
        tell(f"{name:<{width}}  {description}")


def descriptions(what: str) -> dict[str, str]:
    """Name to one line, of everything of one kind: "defenses", "attacks" and so on.

    Of a defense or a model by its own name, the parameters.
    """
    import defenses
    from benchmark import models

    if what in defenses.names():
        return defenses.parameter_help(what)
    if what in models.names():
        return models.parameters(what)
    tables: dict[str, Callable[[], dict[str, str]]] = {
        "defenses": _defenses,
        "attacks": _attacks,
        "suites": _suites,
        "datasets": _datasets,
        "models": _models,
        "families": _families,
    }
    if what not in tables:
        raise UnknownName("list", what, tables)
    return tables[what]()


def _defenses() -> dict[str, str]:
    import defenses
    from defenses import wrappers

    trained = {name: defenses.describe(name) for name in defenses.names()}
    attached = {f"+{name}": wrappers.describe(name) for name in wrappers.WRAPPERS}
    return trained | attached


def _attacks() -> dict[str, str]:
    from benchmark.attacks.left_out import LEFT_OUT
    from benchmark.attacks.table import ATTACKS

    held = {
        name: f"{entry.description} ({', '.join(entry.norms)}; {', '.join(entry.families)}; "
        f"{' and '.join(entry.frameworks)})"
        for name, entry in ATTACKS.items()
    }
    return held | {name: f"left out: {reason}" for name, reason in LEFT_OUT.items()}


def _suites() -> dict[str, str]:
    from benchmark.attacks.suites import list_suites

    return list_suites()


def _datasets() -> dict[str, str]:
    from benchmark.datasets import DESCRIPTIONS

    return DESCRIPTIONS


def _models() -> dict[str, str]:
    from benchmark import models

    return {name: models.describe(name) for name in models.names()}


def _families() -> dict[str, str]:
    from benchmark.metatest.families import FAMILIES, role

    return {name: f"{one.description} ({role(name, 'linf')})" for name, one in FAMILIES.items()}

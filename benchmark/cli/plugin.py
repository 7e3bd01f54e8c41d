"""`bench check-plugin`: the conformance tests of a part, as a table."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from benchmark.cli import options
from benchmark.cli.output import tell
from benchmark.errors import CheckError, ConfigError, UnknownName
from benchmark.paths import data_folder


def check_plugin(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A defense, an attack, a data set or a contributed model."
        ),
    ],
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """Check that a part, contributed or this project's, does what the benchmark expects of it.

    Of a defense: equal steps in both frameworks, gradients against finite differences, its budget,
    determinism, its declared cost, saving and loading. It ends with exit code 1 where one fails.
    """
    from benchmark.conformance import report

    found, folder = [], data_folder(data_dir)
    for kind in _kinds(name):
        given = {"data_dir": str(folder)} if kind == "datasets" and folder else {}
        for row in report.checked(kind, name, **given):
            found.append(row)
            if not as_json:
                tell(f"{row.name:<13}  {row.status:<14}  {row.text}")
    if as_json:
        print(json.dumps(list(map(dataclasses.asdict, found)), indent=2))
    failed = [row.name for row in found if row.status == report.FAILED]
    if failed:
        raise CheckError(f"{name} fails {len(failed)} of {len(found)} checks: {', '.join(failed)}")


def _kinds(name: str) -> list[str]:
    """What there is of this name; several parts of different kinds may share it."""
    import defenses
    from benchmark.attacks import lookup
    from benchmark.attacks.suites import suite_names
    from benchmark.datasets import table
    from benchmark.models.entry import contributions

    tables = {
        "defenses": defenses.names(),
        "attacks": lookup.names(),
        "datasets": table.names(),
        "models": list(contributions()),
    }
    kinds = [kind for kind, names in tables.items() if name.partition(":")[0] in names]
    if not kinds and name in suite_names():
        told = f"bench list {name} reads it, and bench run --suite {name} --dry-run tries it"
        raise ConfigError(f"{name!r} is a suite, and such have no checks of their own; {told}")
    if not kinds:
        every = [one for names in tables.values() for one in names]
        raise UnknownName("part", name, every, "bench list defenses (attacks, datasets, models)")
    return kinds

"""`bench check`: a gate for continuous integration."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.cli import options
from benchmark.cli.collecting import collected
from benchmark.cli.output import tell
from benchmark.errors import CheckError, ConfigError
from benchmark.paths import expanded


def _share(help: str) -> Any:
    return options.option("SHARE", help, float, min=0, max=1)


LIMITS: Mapping[str, Any] = {
    "min_worst_case": _share("Least worst case, such as 0.4."),
    "min_clean": _share("Least clean accuracy, such as 0.9."),
    "max_drop": _share("How far a worst case may be below that of --against, such as 0.02."),
}
WHERE: Mapping[str, Any] = {
    "against": options.option("BASE", "Folder with results from before a change.", Path),
    "junit": options.option("FILE.xml", "Write JUnit XML there, too.", Path),
    "sarif": options.option("FILE.sarif", "Write SARIF there, too: what failed.", Path),
}


@collected(limits=LIMITS, where=WHERE)
def check(
    folder: options.ResultsArgument,
    limits: dict[str, float],
    where: dict[str, Path],
    defense: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Look at this one only; repeatable."),
    ] = None,
    allow_flags: Annotated[
        bool, typer.Option("--allow-flags", help="Let flagged trust checks pass.")
    ] = False,
    as_json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print what failed alone.")] = False,
) -> None:
    """Check that stored results hold what is asked of every defended model.

    It ends with exit code 1 where a cell or a stage of it failed or is still to come, something
    can't be read, a trust check is flagged or none was made, or a number is below its limit; a
    worst case that is only an upper bound holds none, and where attacks ran on some of the
    examples, that of those that all ran on is judged. The undefended twins are left out.
    """
    import reports
    from benchmark.status import status
    from reports.gate import Verdict

    if ("max_drop" in limits) != ("against" in where):
        raise ConfigError("--max-drop and --against belong together; give both or none")
    folder, places = expanded(folder), {name: expanded(path) for name, path in where.items()}
    against = places.pop("against", None)
    found = reports.check(
        folder, against=against, defenses=defense or (), allow_flags=allow_flags, **limits
    )
    now = status(folder)
    to_come = [*now.waiting, *(one.cell_id for one in now.running)]
    told = "the last run has not measured it yet"
    found = [*(Verdict("finished", name, "", "failed", told) for name in to_come), *found]
    for form, path in places.items():
        reports.write_verdicts(found, path, form, out=folder)
    failed = [one for one in found if one.state == "failed"]
    summary = f"{len(failed)} of {len(found)} checks failed"
    if as_json:
        print(json.dumps({"passed": not failed, "checks": list(map(dataclasses.asdict, found))}))
    else:
        for one in failed if quiet else found:
            tell(f"{one.state}: {one.cell_id} {one.suite} {one.rule}: {one.text}")
    if failed:
        raise CheckError(f"{summary} in {folder}")
    if not (as_json or quiet):
        tell(summary)

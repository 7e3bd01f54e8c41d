"""`bench run`, and how any plan is carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli import options
from benchmark.cli.collecting import collected
from benchmark.cli.execution import Stopped, endings_as_interrupts, execute, fail_for
from benchmark.cli.output import say, told_if_slow
from benchmark.errors import ConfigError

if TYPE_CHECKING:
    from benchmark.cli.display import Detail
    from benchmark.plans.run import Plan

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the cells and what they cost; write nothing.")
]


@collected(flags=options.RUN)
def run(
    context: typer.Context,
    flags: dict[str, Any],
    config: options.Config = None,
    assignment: options.Assignment = None,
    dry_run: DryRun = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the dry run as JSON.")] = False,
) -> None:
    """Train defenses, attack them, and write the leaderboard."""
    if words := context.args:
        names = " ".join(f"--defense {word}" for word in [*flags.get("defense", []), *words])
        raise ConfigError(f"{words[0]!r} belongs to no option; did you mean bench run {names}?")
    if as_json and not dry_run:
        raise ConfigError("--json prints a plan; give it with --dry-run")

    def planned() -> Plan:
        with told_if_slow("loading, and checking the configuration", quiet=quiet):
            from benchmark.config import read
            from benchmark.plans.run import make_plan

            settings = read(flags, file=config, assignments=assignment or [])
        with told_if_slow(f"loading {PurePath(settings.dataset).name}", quiet=quiet):
            return make_plan(settings, dry_run=dry_run)

    detail = options.detail(quiet=quiet, verbose=verbose)
    if not dry_run:
        carry_out(planned, detail)
        return
    from benchmark.cli.dry_run import print_plan

    with _interrupts_told():
        plan = planned()
    _tell_notices(plan, detail)
    print_plan(plan, as_json=as_json)


def carry_out(planned: Callable[[], Plan], detail: Detail) -> None:
    """Makes a plan, which checks everything, and does it; raises `CellError` where a cell failed.

    What the user should know beforehand is told.
    """
    with _interrupts_told():
        plan = planned()
        _tell_notices(plan, detail)
        # There may be more shards than work.
        outcomes = execute(plan, detail) if plan.jobs else []
    fail_for(outcomes, plan.config.out / "logs")


@contextmanager
def _interrupts_told() -> Iterator[None]:
    """An interrupt, of whatever kind, ends the command with a line that says how to go on."""
    try:
        with endings_as_interrupts():
            yield
    except KeyboardInterrupt as interrupt:
        raise Stopped(interrupt) from None


def _tell_notices(plan: Plan, detail: Detail) -> None:
    for notice in () if detail == "quiet" else plan.notices:
        say(notice)

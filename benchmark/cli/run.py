"""`bench run`, and how any plan is carried out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli import options
from benchmark.cli.output import say, tell, told_if_slow
from benchmark.execution import endings_as_interrupts, execute, fail_for, stopped

if TYPE_CHECKING:
    from benchmark.cli.display import Detail
    from benchmark.plans.run import Plan

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the cells and what they cost; write nothing.")
]


@options.collected(flags=options.RUN)
def run(
    flags: dict[str, Any],
    config: options.Config = None,
    assignment: options.Assignment = None,
    dry_run: DryRun = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Train defenses, attack them, and write the leaderboard."""

    def planned() -> Plan:
        with told_if_slow("loading, and checking the configuration", quiet=quiet):
            from benchmark.config import read
            from benchmark.plans.run import make_plan

            settings = read(flags, file=config, assignments=assignment or [])
        with told_if_slow(f"loading {PurePath(settings.dataset).name}", quiet=quiet):
            return make_plan(settings, dry_run=dry_run)

    carry_out(planned, options.detail(quiet=quiet, verbose=verbose), dry_run=dry_run)


def carry_out(planned: Callable[[], Plan], detail: Detail, *, dry_run: bool = False) -> None:
    """Makes a plan, which checks everything, and does it; raises `CellError` where a cell failed.

    What the user should know beforehand is told. A dry run prints the plan instead.
    """
    try:
        with endings_as_interrupts():
            plan = planned()
            for notice in () if detail == "quiet" else plan.notices:
                say(notice)
            outcomes = [] if dry_run else execute(plan, detail)
    except KeyboardInterrupt as interrupt:
        raise stopped(interrupt) from None
    if dry_run:
        _print_plan(plan)
    fail_for(outcomes, plan.config.out / "logs")


def _print_plan(plan: Plan) -> None:
    from benchmark.cli.display import print_table
    from benchmark.results import Store
    from benchmark.resume import pending, training_left

    out = plan.config.out
    store = Store.open(out) if (out / "bench.json").exists() else None
    to_do = pending(plan.jobs, store) if store else plan.jobs
    waiting = {job.cell.cell_id: training_left(job, store) for job in to_do}
    rows = [
        [
            cell_id,
            f"{waiting.get(cell_id, job.training):,.0f}",
            f"{plan.memory[cell_id] / 1e6:,.0f} MB" if cell_id in plan.memory else "",
            "to do" if cell_id in waiting else "done",
        ]
        for cell_id, job in ((job.cell.cell_id, job) for job in plan.jobs)
    ]
    columns = ["cell", "training GE", "memory", "state"]
    print_table(columns, rows, right_aligned=[False, True, True, False])
    total = sum(waiting.values())
    protocols = [job.adaptation for job in to_do if job.adaptation is not None]
    adapting = sum(protocol.gradient_evaluations() for protocol in protocols)
    tell(
        f"{len(waiting)} of {len(plan.jobs)} cells to do, about {total:,.0f} gradient evaluations "
        f"of training and {adapting:,.0f} of the adaptation protocol; nothing was written"
    )

"""Carrying out a plan before the user's eyes. Part of `benchmark.cli`: it prints, imports late."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from benchmark.errors import CellError
from benchmark.text import clean

if TYPE_CHECKING:
    from benchmark.events import CellFinished
    from benchmark.plan import Plan


def execute(plan: Plan) -> list[CellFinished]:
    """Does what is pending, writes the report and prints the table; returns how the cells ended."""
    import reports
    from benchmark import runner
    from benchmark.display import display, print_table
    from benchmark.progress import Progress
    from benchmark.results import Store
    from benchmark.resume import pending

    store = Store.create(plan.config.out)
    with store.lock():
        jobs = pending(plan.jobs, store)
        if done := len(plan.jobs) - len(jobs):
            say(f"{done} of {len(plan.jobs)} cells are done already and are not done again")
        with display(Progress(jobs, workers=plan.workers)) as shown:
            outcomes = runner.run(
                jobs,
                store,
                workers=plan.workers,
                device=plan.config.device,
                threads=plan.config.threads,
                on_event=shown.show,
            )
        index = reports.write(store.path)
    table = reports.terminal_table(store.path, [job.cell.cell_id for job in plan.jobs])
    optional = ["training", *([] if len(plan.config.seed) > 1 else ["seed"])]
    print_table(table.columns, table.rows, right_aligned=table.right_aligned, optional=optional)
    for note in table.notes:
        typer.echo(clean(note))
    typer.echo(f"report: {clean(index)}")
    return outcomes


def fail_for(outcomes: list[CellFinished], logs: Path) -> None:
    """Raises `CellError` that names the cells that failed, if any did."""
    failed = [outcome for outcome in outcomes if outcome.status != "ok"]
    if failed:
        named = "; ".join(f"{o.job.cell.label}: {o.status}, {o.reason}" for o in failed[:3])
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise CellError(
            f"{len(failed)} of {len(outcomes)} cells failed (logs in {logs}): {named}{more}"
        )


@contextmanager
def endings_as_interrupts() -> Iterator[None]:
    """SIGTERM and SIGHUP end a run as orderly as Ctrl-C does."""

    def interrupt(number: int, _: Any) -> NoReturn:
        raise KeyboardInterrupt(number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def stopped(interrupt: KeyboardInterrupt) -> typer.Exit:
    """Tells the user how to go on; returns the exit that the interrupt asks for."""
    say("stopped; the same command goes on where this one stopped")
    number = interrupt.args[0] if interrupt.args else signal.SIGINT
    return typer.Exit(128 + number)


def say(line: str) -> None:
    """One line to the user, on standard error."""
    print(f"bench: {clean(line)}", file=sys.stderr, flush=True)

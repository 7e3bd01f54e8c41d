"""Carrying out a plan before the user's eyes. Part of `benchmark.cli`: it prints, imports late."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from benchmark.errors import BenchError, CellError, ReportError
from benchmark.output import say, tell

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
        with display(Progress(jobs, plan.estimates, workers=plan.workers)) as shown:
            outcomes = runner.run(
                jobs,
                store,
                workers=plan.workers,
                device=plan.config.device,
                on_event=shown.show,
            )
        index = _attempt(lambda: write_report(store.path))
    table = reports.terminal_table(store.path, [job.cell.cell_id for job in plan.jobs])
    optional = ["training", *([] if len(plan.config.seed) > 1 else ["seed"])]
    print_table(table.columns, table.rows, right_aligned=table.right_aligned, optional=optional)
    for note in table.notes:
        tell(note)
    if isinstance(index, ReportError):
        if all(outcome.status == "ok" for outcome in outcomes):
            raise index
        say(f"error: {index}")  # the exit is that of the cells which failed
    else:
        tell(f"report: {index}")
    return outcomes


def write_report(folder: Path) -> Path:
    """The report of results that are stored; returns its path.

    Raises `ReportError` with the command that writes it again, whatever went wrong: the work before
    it is done.
    """
    import reports

    try:
        return reports.write(folder)
    except Exception as error:
        reason = error if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
        raise ReportError(
            f"the results in {folder} are whole, but their report can't be written ({reason}); "
            f"write it with: bench report {shlex.quote(str(folder))}"
        ) from error


def _attempt(write: Callable[[], Path]) -> Path | ReportError:
    """What came of it, for a caller that has more to do first."""
    try:
        return write()
    except ReportError as error:
        return error


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

"""Carrying out a plan before the user's eyes. It imports late."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from benchmark.cli.output import OutputError, ReaderGoneError, say, tell, told_if_slow
from benchmark.errors import BenchError, CellError, ReportError
from benchmark.text import counted

if TYPE_CHECKING:
    from benchmark.cli.display import Detail
    from benchmark.events import CellFinished, Event
    from benchmark.executors.interface import Executor
    from benchmark.job import Job
    from benchmark.journal import Journal
    from benchmark.plans.run import Plan
    from benchmark.results import Store
    from reports.records import Results

_MOST_NAMED = 3  # cells or stages that failed


def execute(plan: Plan, detail: Detail = "usual") -> list[CellFinished]:
    """Does what is pending, writes the report and prints what was found.

    Returns how the cells ended. With `detail` "quiet" the last line alone is printed. Raises
    `ReportError` after all else if the report can't be written.
    """
    failures: list[ReportError] = []
    with _held(plan, quiet=detail == "quiet") as (store, hired):
        outcomes = _work(plan, store, hired, detail)
        results, index = _reported(store.path, failures)
    if detail != "quiet" and results is not None:
        with _collected(failures), _told_again(store.path):
            _print_table(plan, results)
        if index is not None:
            tell(f"report: {index}")
            if plan.config.protocol != "none":
                tell(f"adaptation: {index.with_name('metatest.html')}")
    if results is not None:
        with _collected(failures), _told_again(store.path):
            _print_finding(plan, results)
    # Where cells failed too, the exit is theirs.
    last = failures.pop() if failures and all(one.status == "ok" for one in outcomes) else None
    for failure in failures:
        say(f"error: {failure}")
    if last is not None:
        raise last
    return outcomes


@contextmanager
def _held(plan: Plan, *, quiet: bool) -> Iterator[tuple[Store, Callable[[Store], Executor]]]:
    """The plan's folder, held, and what makes its executor, once that is sure to work."""
    from benchmark.executors import ready
    from benchmark.results import Store

    with ExitStack() as stack:
        with told_if_slow("looking for somebody to do the work", quiet=quiet):
            hired = stack.enter_context(ready(plan.config, workers=plan.workers))
        store = Store.create(plan.config.out)
        with told_if_slow(f"waiting for a sign of another run in {store.path}", quiet=quiet):
            store = stack.enter_context(store.lock())
        yield store, hired


def _work(
    plan: Plan, store: Store, hired: Callable[[Store], Executor], detail: Detail
) -> list[CellFinished]:
    """Runs the cells that are not done."""
    from benchmark.journal import Journal
    from benchmark.order import in_turns
    from benchmark.resume import pending

    jobs, again = in_turns(pending(plan.jobs, store))
    if (done := len(plan.jobs) - len(jobs)) and detail != "quiet":
        say(f"{done} of {counted(len(plan.jobs), 'cell')} done already, and not done again")
    about = {"executor": plan.config.executor, "shard": plan.config.shard}
    with Journal(store, jobs, about) as journal:
        found = _run(jobs, store, hired(store), journal, detail)
        outcomes = {one.job.cell.cell_id: one for one in found}
        again = [job for job in again if outcomes[job.cell.cell_id].status == "ok"]
        if again:
            found = _run(again, store, hired(store), journal, detail)
            outcomes |= {one.job.cell.cell_id: one for one in found}
    return list(outcomes.values())


def _run(
    jobs: list[Job], store: Store, executor: Executor, journal: Journal, detail: Detail
) -> list[CellFinished]:
    from benchmark.cli.display import display
    from benchmark.cli.progress import Progress
    from benchmark.executors import scheduler

    progress = Progress(jobs, workers=min(executor.room(), max(1, len(jobs))))
    with display(progress, detail=detail) as shown:

        def tell_all(event: Event) -> None:
            journal.write(event)
            shown.show(event)

        return scheduler.run(jobs, store, executor, on_event=tell_all)


def _reported(folder: Path, failures: list[ReportError]) -> tuple[Results | None, Path | None]:
    """What is stored, read once for all that is shown of it, and the first page of its site."""
    import reports
    from reports.records import read

    results, index = None, None
    with _collected(failures), _told_again(folder):
        results = read(folder)
        index = reports.publish(results)
    return results, index


def _print_table(plan: Plan, results: Results) -> None:
    import reports
    from benchmark.cli.display import print_table

    table = reports.terminal_table(results, [job.cell.cell_id for job in plan.jobs])
    optional = ["training", *([] if len(plan.config.seed) > 1 else ["seed"])]
    print_table(table.columns, table.rows, right_aligned=table.right_aligned, optional=optional)
    for note in table.notes:
        tell(note)


def _print_finding(plan: Plan, results: Results) -> None:
    import reports

    cells, suite = [job.cell.cell_id for job in plan.jobs], plan.jobs[0].suite
    tell(reports.finding(results, cells, suite))


def write_report(folder: Path) -> Path:
    """The site of results that are stored, beside them; returns the path of its first page.

    Raises `ReportError` with the command that writes it again, whatever went wrong: the work before
    it is done.
    """
    import reports

    with _told_again(folder):
        return reports.publish(folder)


@contextmanager
def _told_again(folder: Path) -> Iterator[None]:
    """Whatever fails in showing results is a `ReportError` with the command that tries again."""
    try:
        yield
    except (OutputError, ReaderGoneError):
        raise
    except Exception as error:
        reason = error if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
        raise ReportError(
            f"the results in {folder} are whole, but can't be reported ({reason}); "
            f"once more: bench report {shlex.quote(str(folder))}"
        ) from error


@contextmanager
def _collected(failures: list[ReportError]) -> Iterator[None]:
    """Keeps a failure for later: there is more to show."""
    try:
        yield
    except ReportError as error:
        if str(error) not in map(str, failures):
            failures.append(error)


def fail_for(outcomes: list[CellFinished], logs: Path) -> None:
    """Raises `CellError` that names the cells and the attacks that failed, if any did."""
    cells = [o for o in outcomes if o.status != "ok"]
    stages = [stage for o in outcomes if o.status == "ok" for stage in o.failed]
    told = []
    if cells:
        named = [f"{o.job.cell.label}: {o.status}, {o.reason}" for o in cells]
        some = f"{len(cells)} of {counted(len(outcomes), 'cell')} failed"
        told.append(f"{some} (logs in {logs}): {_few(named)}")
    if stages:
        named = [f"{one.job.cell.label}: {one.stage}: {one.reason}" for one in stages]
        told.append(
            f"{counted(len(stages), 'stage')} failed, which the same command tries again "
            f"(logs in {logs}): {_few(named)}"
        )
    if told:
        raise CellError("; ".join(told))


def _few(named: list[str]) -> str:
    more = f"; and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return "; ".join(named[:_MOST_NAMED]) + more


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


class Stopped(Exception):
    """An interrupt, of whatever kind, ended a run that goes on when it is started again.

    code: the exit code that the interrupt asks for.
    """

    def __init__(self, interrupt: KeyboardInterrupt) -> None:
        super().__init__()
        self.code = 128 + int(interrupt.args[0] if interrupt.args else signal.SIGINT)

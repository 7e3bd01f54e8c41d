"""Shows a run while it goes on: bars in a terminal, lines elsewhere, or nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Protocol, Self, TextIO

from rich import box
from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from benchmark.cli.progress import Left, Progress
from benchmark.events import (
    DATA,
    STARTING,
    CellFinished,
    CellNotice,
    CellPaused,
    CellProgress,
    CellStarted,
    Event,
    StageFailed,
)
from benchmark.text import clean, duration

Detail = Literal["quiet", "usual", "verbose"]
QUIET: Detail = "quiet"
USUAL: Detail = "usual"
VERBOSE: Detail = "verbose"


class Display(Protocol):
    """Takes a run's events between entering and leaving."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
    def show(self, event: Event) -> None: ...


def display(progress: Progress, stream: TextIO | None = None, *, detail: Detail = USUAL) -> Display:
    """Bars if the stream (standard error by default) is a terminal, else lines; nothing if quiet.

    Only a real terminal is redrawn, whatever FORCE_COLOR says. A notebook's (`!bench run`) takes
    the beginning of a line for what it is, and no other movement: it gets one bar.
    """
    stream = stream or sys.stderr
    if detail == QUIET:
        return QuietDisplay()
    console = Console(file=stream, highlight=False)
    if stream.isatty() and not console.is_dumb_terminal:
        if _KERNEL in os.environ:
            return OneLineDisplay(progress, stream)
        return LiveDisplay(progress, console, detail=detail)
    return PlainDisplay(progress, stream, detail=detail)


_KERNEL = "JPY_PARENT_PID"  # is set for what a Jupyter kernel starts
_BAR, _LINE = 30, 100  # characters
_MINUTE, _SILENCE = 60.0, 300.0  # seconds without a line at most: in detail, and else


class OneLineDisplay:
    """A bar for the whole run that is written over; lines above it tell what is over."""

    def __init__(self, progress: Progress, stream: TextIO) -> None:
        self._progress, self._stream = progress, stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        print(file=self._stream, flush=True)

    def show(self, event: Event) -> None:
        """Moves the bar; a notice and a finished cell leave a line above it."""
        self._progress.update(event)
        label = clean(event.job.cell.label)
        match event:
            case CellNotice():
                self._above(f"{label}: {clean(event.text)}")
            case StageFailed():
                self._above(failure(event))
            case CellFinished():
                self._above(ending(event))
        fraction = self._progress.fraction()
        done = round(_BAR * fraction)
        bar = f"{'█' * done}{'░' * (_BAR - done)} {fraction:4.0%} {label}"
        print(f"\r{bar:{_LINE}.{_LINE}}", end="", file=self._stream, flush=True)

    def _above(self, text: str) -> None:
        print(f"\r{text:{_LINE}}", file=self._stream)


class QuietDisplay:
    """Shows nothing: what failed is named when the run is over."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, event: Event) -> None:
        """Leaves the event alone."""


class PlainDisplay:
    """One line when a cell begins, when a stage of it is over, at a notice, and when it ends.

    And in a long stage, now and then, how far it is; in detail also when a stage begins.
    """

    def __init__(self, progress: Progress, stream: TextIO, *, detail: Detail = USUAL) -> None:
        self._progress = progress
        self._stream = stream
        self._detail = detail
        self._told = 0.0  # when the last line was, in seconds of the run
        self._at: dict[int, tuple[str, str]] = {}  # the cell and stage of each slot

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.flush()

    def show(self, event: Event) -> None:
        """Prints a line if the event is worth one."""
        over = self._progress.update(event)
        if over is not None and (self._detail == VERBOSE or over[0] not in (STARTING, DATA)):
            self._line(stage_over(event, *over))
        label = clean(event.job.cell.label)
        if isinstance(event, CellStarted):
            loading = f", {clean(doing(event, STARTING))}" if event.fresh else ""
            if event.begins or event.part is None:
                self._line(f"{label}: started{loading}")
            elif event.fresh or len(event.part) == 1:  # what goes on where it was isn't news
                self._line(f"{label}: started {clean(', '.join(event.part))}{loading}")
        if isinstance(event, CellProgress):
            self._going_on(event)
        if isinstance(event, CellNotice):
            self._line(f"{label}: {clean(event.text)}")
        if isinstance(event, StageFailed):
            self._line(failure(event))
        if isinstance(event, CellFinished):
            self._line(ending(event))

    def _going_on(self, event: CellProgress) -> None:
        at, verbose = (event.job.cell.cell_id, event.stage), self._detail == VERBOSE
        begins, self._at[event.slot] = self._at.get(event.slot) != at, at
        what = clean(f"{event.job.cell.label}: {doing(event, event.stage)}")
        if verbose and begins:
            self._line(f"{what} started")
        elif self._progress.elapsed() - self._told >= (_MINUTE if verbose else _SILENCE):
            self._line(f"{what} {event.fraction:.0%} done")

    def _line(self, text: str) -> None:
        self._told = self._progress.elapsed()
        left = _left(self._progress.guess())
        when = ", ".join(part for part in (duration(self._told), left) if part)
        print(f"[{when}] {text}", file=self._stream, flush=True)


class LiveDisplay:
    """A bar for the whole run, and one for each worker with its cell and stage.

    Bars, percentages and the time that is left are all in time, of the whole run or of a cell.
    """

    def __init__(self, progress: Progress, console: Console, *, detail: Detail = USUAL) -> None:
        self._progress = progress
        self._detail = detail
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            console=console,
            expand=True,
        )
        self._whole = self._bars.add_task("whole run", total=1.0, left="")
        self._workers: dict[int, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, event: Event) -> None:
        """Moves the bars; a notice and a finished cell leave a line above them."""
        over = self._progress.update(event)
        if over is not None and self._detail == VERBOSE:
            self._bars.console.print(Text(stage_over(event, *over)))
        cell = event.job.cell
        match event:
            case CellStarted():
                if (old := self._workers.pop(event.slot, None)) is not None:
                    self._bars.remove_task(old)
                self._workers[event.slot] = self._bars.add_task(
                    clean(f"{cell.label}: {doing(event, STARTING)}"), total=1.0, left=""
                )
            case CellProgress():
                self._bars.update(
                    self._workers[event.slot],
                    description=clean(f"{cell.label}: {doing(event, event.stage)}"),
                    completed=self._progress.cell_fraction(event.slot),
                    left=_left(self._progress.cell_guess(event.slot)),
                )
            case CellNotice():
                self._bars.console.print(Text(clean(f"{cell.label}: {event.text}")))
            case CellPaused():
                self._bars.remove_task(self._workers.pop(event.slot))
            case StageFailed():
                self._bars.console.print(Text(failure(event)))
            case CellFinished():
                self._bars.remove_task(self._workers.pop(event.slot))
                self._bars.console.print(Text(ending(event)))
        self._bars.update(
            self._whole,
            completed=self._progress.fraction(),
            left=_left(self._progress.guess()),
        )


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right_aligned: Sequence[bool],
    optional: Sequence[str] = (),
) -> None:
    """Prints a table to standard output, never cutting a cell short.

    The columns named `optional` are left out one after the other, from the first, as long as the
    terminal is too narrow.
    """
    console = Console(highlight=False)
    unlimited = console.options.update(width=10_000)
    for count in range(len(optional) + 1):
        chosen = [i for i, name in enumerate(columns) if name not in optional[:count]]
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
        for index in chosen:
            justify: JustifyMethod = "right" if right_aligned[index] else "left"
            table.add_column(_lines(columns[index]), justify=justify, no_wrap=True)
        for row in rows:
            table.add_row(*(Text(clean(row[index])) for index in chosen))
        width = console.measure(table, options=unlimited).maximum
        if not sys.stdout.isatty() or width <= console.width:
            break
    Console(highlight=False, width=max(width, console.width)).print(table)


def _lines(head: str) -> Text:
    """A column's head, one word a line."""
    return Text("\n".join(clean(head).split()))


def doing(event: Event, stage: str) -> str:
    """What a stage does, in words."""
    loading = {STARTING: event.job.cell.framework, DATA: event.job.cell.dataset}
    return f"loading {loading[stage]}" if stage in loading else stage


def stage_over(event: Event, stage: str, seconds: float) -> str:
    """That a stage is over, in one line."""
    return clean(f"{event.job.cell.label}: {doing(event, stage)} done in {duration(seconds)}")


def failure(event: StageFailed) -> str:
    """Which stage gave no result and why, in one line."""
    return clean(f"{event.job.cell.label}: {event.stage} failed: {event.reason}")


def ending(event: CellFinished) -> str:
    """How a cell ended, in one line."""
    label = clean(event.job.cell.label)
    if event.status == "ok":
        stages = ", ".join(clean(one.stage) for one in event.failed)
        without = f" without {stages}" if stages else ""
        return f"{label}: done in {duration(event.seconds)}{without}"
    return f"{label}: {event.status} after {duration(event.seconds)}: {clean(event.reason)}"


def _left(guess: Left) -> str:
    if guess.least is None:
        return ""
    return f"{'' if guess.whole else 'at least '}{duration(guess.least)} left"

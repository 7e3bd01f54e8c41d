"""What is printed while a run goes on: lines, bars, or nothing."""

from __future__ import annotations

import io
import re

import pytest
from progressing import Clock, few_shot_job, follow, make_job
from rich.console import Console

from benchmark.cli.display import LiveDisplay, PlainDisplay, display
from benchmark.events import (
    CellFinished,
    CellNotice,
    CellProgress,
    CellStarted,
    Event,
    StageFailed,
)
from benchmark.job import Job


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def events(job: Job, reason: str = "killed\x1b[31m [red]here[/red]") -> list[Event]:
    return [
        CellStarted(job, 0),
        *(CellProgress(job, 0, "training", step / 100) for step in range(101)),
        *(CellProgress(job, 0, "attack pgd", step / 100) for step in range(101)),
        CellFinished(job, 0, "failed", reason, 8.0),
    ]


def test_plain_display_prints_a_line_a_stage(clock: Clock) -> None:
    stream = io.StringIO()
    job = make_job()
    shown = display(follow([job], clock), stream)
    assert isinstance(shown, PlainDisplay)
    with shown:
        for event in events(job):
            shown.show(event)

    assert [line.partition("] ")[2] for line in stream.getvalue().splitlines()] == [
        "none torch seed 0: started",
        "none torch seed 0: training done in 0 s",
        "none torch seed 0: failed after 8 s: killed\\x1b[31m [red]here[/red]",
    ]


def test_plain_display_tells_now_and_then_how_far_a_long_stage_is(clock: Clock) -> None:
    """With what is known of the time left; else a log had no line of it for hours."""
    stream, job = io.StringIO(), few_shot_job()
    progress = follow([job], clock)
    with display(progress, stream) as shown:
        shown.show(CellStarted(job, 0))
        for step in range(60):
            shown.show(CellProgress(job, 0, "centroid 2-way 1-shot", step / 100))
            clock.now += 20

    where = "none torch seed 0: centroid 2-way 1-shot"
    # The seconds are of how much longer fitting takes with more labels
    lines = [
        re.sub(r"(at least .*):\d\d ", r"\1 ", line) for line in stream.getvalue().splitlines()
    ]
    assert lines == [
        "[0 s] none torch seed 0: started",
        f"[5:00 min, at least 1:01 h left] {where} 15% done",
        f"[10:00 min, at least 56 min left] {where} 30% done",
        f"[15:00 min, at least 51 min left] {where} 45% done",
    ]


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"])
def test_only_a_terminal_is_redrawn(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    stream, job = io.StringIO(), make_job()
    with display(follow([job], clock), stream) as shown:
        for event in events(job):
            shown.show(event)

    assert not {"\x1b", "\r"} & set(stream.getvalue())
    assert len(stream.getvalue().splitlines()) == 3


def test_silent_start_says_what_is_loaded(clock: Clock) -> None:
    job, plain, live = make_job(), io.StringIO(), io.StringIO()
    console = Console(file=live, force_terminal=True, width=200, color_system=None)
    for shown in (
        display(follow([job], clock), plain, detail="verbose"),
        LiveDisplay(follow([job], clock), console, detail="verbose"),
    ):
        with shown:
            shown.show(CellStarted(job, 0, fresh=True))
            clock.now += 20
            shown.show(CellProgress(job, 0, "data", 0.0))
            clock.now += 10
            shown.show(CellProgress(job, 0, "training", 0.0))
    for stream in (plain, live):
        assert "none torch seed 0: loading torch done in 20 s" in stream.getvalue()
        assert "none torch seed 0: loading digits done in 10 s" in stream.getvalue()
    assert "none torch seed 0: started, loading torch" in plain.getvalue()


def test_a_long_stage_tells_in_detail_what_is_done_and_how_much(clock: Clock) -> None:
    job = make_job()
    for detail, told in {
        "verbose": [
            *("started", "training started", "training 30% done", "training 60% done"),
            "pgd started",
        ],
        "usual": ["started"],
    }.items():
        stream = io.StringIO()
        with display(follow([job], clock), stream, detail=detail) as shown:  # type: ignore[arg-type]
            shown.show(CellStarted(job, 0))
            for fraction in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6):
                shown.show(CellProgress(job, 0, "training", fraction))
                clock.now += 25
            shown.show(CellProgress(job, 0, "pgd", 0.0))
        lines = [line.partition("seed 0: ")[2] for line in stream.getvalue().splitlines()]
        assert [line for line in lines if " done in " not in line] == told


def test_quiet_display_shows_nothing(clock: Clock) -> None:
    stream, job = io.StringIO(), make_job()
    with display(follow([job], clock), stream, detail="quiet") as shown:
        for event in events(job):
            shown.show(event)

    assert stream.getvalue() == ""


def test_live_display_leaves_a_line_a_cell(clock: Clock) -> None:
    stream = io.StringIO()
    job = make_job()
    console = Console(file=stream, force_terminal=True, width=200, color_system=None)
    shown = LiveDisplay(follow([job], clock), console)
    with shown:
        for event in events(job):
            shown.show(event)

    assert (
        "none torch seed 0: failed after 8 s: killed\\x1b[31m [red]here[/red]" in stream.getvalue()
    )
    last = re.split(r"\r|\n", stream.getvalue().strip())[-1]
    assert "whole run" in stream.getvalue()
    assert "attack pgd" not in last


def test_both_displays_show_a_notice(clock: Clock) -> None:
    job, plain, live = make_job(), io.StringIO(), io.StringIO()
    console = Console(file=live, force_terminal=True, width=200, color_system=None)
    for shown in (
        PlainDisplay(follow([job], clock), plain),
        LiveDisplay(follow([job], clock), console),
    ):
        with shown:
            shown.show(CellStarted(job, 0))
            shown.show(CellNotice(job, 0, "it overfits\x1b[31m [red]here[/red]"))
    for stream in (plain, live):
        assert "none torch seed 0: it overfits\\x1b[31m [red]here[/red]" in stream.getvalue()


def test_a_failed_stage_is_never_called_done(clock: Clock) -> None:
    job, plain, live = make_job(), io.StringIO(), io.StringIO()
    console = Console(file=live, force_terminal=True, width=200, color_system=None)
    failed = StageFailed(job, 0, "attack pgd", "ValueError: \x1b[31m [red]no[/red]")
    happened = [
        CellStarted(job, 0),
        CellProgress(job, 0, "attack pgd", 0.5),
        failed,
        CellProgress(job, 0, "trust checks", 0.0),
        CellFinished(job, 0, "ok", "", 8.0, (failed,)),
    ]
    for shown in (
        PlainDisplay(follow([job], clock), plain),
        LiveDisplay(follow([job], clock), console),
    ):
        with shown:
            for event in happened:
                shown.show(event)
    for stream in (plain, live):
        text = stream.getvalue()
        assert "none torch seed 0: attack pgd failed: ValueError: \\x1b[31m [red]no" in text
        assert "none torch seed 0: done in 8 s without attack pgd" in text
        assert "attack pgd done" not in text

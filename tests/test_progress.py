"""How far, how long, and what is printed of it."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from benchmark import progress as estimates
from benchmark.attacks.suites import AttackSpec, SecurityCurve
from benchmark.cells import Cell
from benchmark.display import LiveDisplay, PlainDisplay, display, print_table
from benchmark.events import CellFinished, CellNotice, CellProgress, CellStarted, Event
from benchmark.job import Job
from benchmark.progress import Progress
from benchmark.text import clean, duration

CELL = Cell(
    dataset="digits",
    dataset_fingerprint="0123456789abcdef",
    image_size=None,
    split_seed=0,
    model="cnn",
    framework="torch",
    defense="none",
    parameters={},
    norm="linf",
    eps=0.15,
    seed=0,
    epochs=1,
    budget_ge=None,
    examples=100,
)


def spec(name: str = "pgd", attack: str = "pgd", **arguments: Any) -> AttackSpec:
    return AttackSpec(name, attack, arguments)


def make_job(**changes: Any) -> Job:
    """Training costs 3000 by the estimate below, pgd 1000."""
    attacks = (spec(max_iter=10),)
    return Job(replace(CELL, **changes), "quick", attacks, "out", None)


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _free_trust_checks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "counts" not in request.node.name:
        monkeypatch.setattr(estimates, "_TRUST_EACH", 0.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def follow(jobs: list[Job], clock: Clock, workers: int = 1) -> Progress:
    estimates = {job.cell.cell_id: 3000.0 for job in jobs}
    return Progress(jobs, estimates, workers=workers, clock=clock)


def train_and_attack(progress: Progress, job: Job, clock: Clock) -> None:
    """3 s of training and 5 s of attack."""
    progress.update(CellStarted(job, 0))
    progress.update(CellProgress(job, 0, "training", 0.0))
    clock.now += 3
    progress.update(CellProgress(job, 0, "attack pgd", 0.0))
    clock.now += 5
    progress.update(CellFinished(job, 0, "ok", "", 8.0))


def test_nothing_is_known_at_first(clock: Clock) -> None:
    progress = follow([make_job()], clock)
    progress.update(CellStarted(make_job(), 0))

    assert (progress.fraction(), progress.left()) == (0.0, None)


def test_the_estimate_counts_trust_checks_curves_and_attacks_on_some_examples(clock: Clock) -> None:
    attack = AttackSpec("pgd", "pgd", {"max_iter": 10}, examples=50)
    curve = SecurityCurve("pgd", (0.5, 1.0), examples=20)
    job = replace(make_job(), attacks=(attack,), curve=curve)
    progress = follow([job], clock)
    progress.update(CellStarted(job, 0))
    progress.update(CellProgress(job, 0, "attack pgd", 0.0))

    # Training 3000, the attack 50 x 10, the curve 20 x 10 at two budgets.
    checks = estimates._TRUST_EXAMPLES * estimates._TRUST_EACH
    assert checks > 0
    assert progress.fraction() == pytest.approx(3000 / (3000 + 500 + checks + 400))


def test_time_left_follows_the_gradient_evaluations_of_each_stage(clock: Clock) -> None:
    job = make_job()
    progress = follow([job], clock)
    progress.update(CellStarted(job, 0))
    progress.update(CellProgress(job, 0, "training", 0.0))
    clock.now = 6.0
    progress.update(CellProgress(job, 0, "training", 0.5))

    assert progress.cell_fraction(job.cell.cell_id) == pytest.approx(1500 / 4000)
    assert progress.left() == pytest.approx(6.0 + 4.0)


def test_measured_stages_replace_the_estimate(clock: Clock) -> None:
    jobs = [make_job(), make_job(seed=1)]
    progress = follow(jobs, clock)
    train_and_attack(progress, jobs[0], clock)

    assert progress.fraction() == pytest.approx(0.5)
    assert progress.left() == pytest.approx(8.0)


def test_waiting_cells_are_shared_by_the_workers(clock: Clock) -> None:
    jobs = [make_job(seed=seed) for seed in range(5)]
    progress = follow(jobs, clock, workers=2)
    train_and_attack(progress, jobs[0], clock)

    assert progress.left() == pytest.approx(16.0)


def test_stages_found_done_count_as_done(clock: Clock) -> None:
    job = make_job()
    progress = follow([job], clock)
    progress.update(CellStarted(job, 0))
    progress.update(CellProgress(job, 0, "data", 1.0))
    progress.update(CellProgress(job, 0, "attack pgd", 0.5))

    assert progress.cell_fraction(job.cell.cell_id) == pytest.approx(3500 / 4000)


def test_stage_that_ends_is_told_once_with_its_seconds(clock: Clock) -> None:
    job = make_job()
    progress = follow([job], clock)
    progress.update(CellStarted(job, 0))
    clock.now = 2.0
    assert progress.update(CellProgress(job, 0, "training", 0.0)) is None
    clock.now = 5.0
    assert progress.update(CellProgress(job, 0, "training", 1.0)) is None
    assert progress.update(CellProgress(job, 0, "attack pgd", 0.0)) == ("training", 3.0)


def test_failed_cell_counts_as_ended(clock: Clock) -> None:
    job = make_job()
    progress = follow([job], clock)
    progress.update(CellStarted(job, 0))
    progress.update(CellFinished(job, 0, "failed", "killed", 1.0))

    assert (progress.fraction(), progress.left()) == (1.0, 0.0)


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


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 28 columns."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "28")


TABLE: dict[str, Any] = {
    "columns": ["defense", "worst case %", "seed", "training"],
    "rows": [["pgd-at", "81.4", "0", "1:02 min"], ["[b]none", "0.0", "1", "8 s\x1b[2J"]],
    "right_aligned": [False, True, True, True],
}


@pytest.mark.usefixtures("narrow")
def test_table_leaves_out_what_is_optional_in_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(**TABLE, optional=["training", "seed"])
    printed = capsys.readouterr().out

    assert "training" not in printed
    assert all(word in printed for word in ("seed", "worst", "case", "pgd-at", "[b]none", "81.4"))


@pytest.mark.parametrize("terminal", [True, False])
def test_table_never_cuts_a_cell_short(
    capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest, terminal: bool
) -> None:
    if terminal:
        request.getfixturevalue("narrow")
    print_table(**TABLE)
    printed = capsys.readouterr().out

    assert all(word in printed for word in ("training", "1:02 min", "8 s\\x1b[2J", "pgd-at"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (3599, "59:59 min"), (3725, "1:02:05 h")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("plain [bold] ü", "plain [bold] ü"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\u202etxt", "\\u202etxt"),
        ("bad\udcffname", "bad\\udcffname"),
    ],
)
def test_clean_leaves_nothing_that_a_terminal_obeys(text: str, harmless: str) -> None:
    assert clean(text) == harmless

"""Tables and lines as a terminal, a pipe and hostile text get them."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
from progressing import make_job

from benchmark.cli.display import display, print_table
from benchmark.cli.progress import Progress
from benchmark.events import CellFinished, CellNotice, CellStarted
from benchmark.text import clean, duration


class Terminal(io.StringIO):
    """What is printed to a terminal."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 28 columns, as standard output from here on."""
    stream = Terminal()
    monkeypatch.setenv("COLUMNS", "28")
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


TABLE: dict[str, Any] = {
    "columns": ["defense", "worst case %", "seed", "training"],
    "rows": [["pgd-at", "81.4", "0", "1:02 min"], ["[b]none", "0.0", "1", "8 s\x1b[2J"]],
    "right_aligned": [False, True, True, True],
}


def test_table_leaves_out_what_is_optional_in_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = terminal(monkeypatch)
    print_table(**TABLE, optional=["training", "seed"])
    printed = stream.getvalue()

    assert "training" not in printed
    assert all(word in printed for word in ("seed", "worst", "case", "pgd-at", "[b]none", "81.4"))


def test_table_never_cuts_a_cell_short_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    print_table(**TABLE)

    assert all(word in stream.getvalue() for word in ("training", "1:02 min", "8 s\\x1b[2J"))


def test_wide_table_loses_nothing_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "28")
    print_table(**TABLE, optional=["training", "seed"])

    assert "training" in capsys.readouterr().out


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


def test_a_notebook_gets_one_bar_that_is_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    monkeypatch.setenv("TERM", "xterm-color")
    screen, job = Terminal(), make_job()

    with display(Progress([job], workers=1), screen) as shown:
        shown.show(CellStarted(job, 0))
        shown.show(CellNotice(job, 0, "slow\x1b[2J"))
        shown.show(CellFinished(job, 0, "ok", "", 8.0))

    written = screen.getvalue()
    assert "\x1b" not in written
    lines = [line.rstrip() for line in written.replace("\n", "\r").split("\r") if line.strip()]
    bars = [line for line in lines if "%" in line]
    assert [bar.split()[-5:][0] for bar in (bars[0], bars[-1])] == ["0%", "100%"]
    assert [line for line in lines if line not in bars] == [
        "none torch seed 0: slow\\x1b[2J",
        "none torch seed 0: done in 8 s",
    ]

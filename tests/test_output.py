"""What is printed arrives, on whatever stream; what can't be printed is said in one line."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark import cli, status
from benchmark.text import counted, in_ascii, shortened

ROOT = Path(__file__).parent.parent


def bench(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "benchmark", *arguments],
        env=environment,
        text=True,
        check=False,
        stderr=settings.pop("stderr", subprocess.PIPE),
        stdout=settings.pop("stdout", subprocess.PIPE),
        **settings,
    )


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("command", ["--help", "--version", "list suites"])
def test_full_device_ends_every_command_in_one_line(command: str, unbuffered: str) -> None:
    with open("/dev/full", "w") as full:
        done = bench(*command.split(), stdout=full, env={"PYTHONUNBUFFERED": unbuffered})

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "bench: error: standard output can't be written: No space left on device"
    ]


def test_full_standard_error_stops_no_command() -> None:
    with open("/dev/full", "w") as full:
        done = bench("report", "nowhere", stderr=full)

    assert done.returncode == 2


def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as closed:
        done = bench("list", "attacks", stdout=closed)

    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_break_nothing_and_their_numbers_are_no_other_files(closed: str) -> None:
    program = (
        "import os, sys\n"
        "from benchmark.cli.app import app, main\n"
        "def check():\n"
        "    print('out'); print('err', file=sys.stderr)\n"
        "    child = os.spawnv(os.P_WAIT, '/bin/sh', ['sh', '-c', 'test -e /proc/self/fd/0 "
        "-a -e /proc/self/fd/1 -a -e /proc/self/fd/2'])\n"
        "    sys.exit(10 + child if os.dup(0) > 2 else 20)\n"
        "app.command('check')(check)\n"
        "main()\n"
    )
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", program, "check"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 10
    assert (done.stdout, done.stderr) == (
        "" if ">&-" in closed.split() else "out\n",
        "" if "2>&-" in closed else "err\n",
    )


def test_a_pipe_that_breaks_elsewhere_is_not_taken_for_a_reader_who_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(folder: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "to a worker")

    monkeypatch.setattr(status, "status", broken)
    monkeypatch.setattr(sys, "argv", ["bench", "status", "out"])
    with pytest.raises(BrokenPipeError, match="to a worker"):
        cli.main()


def test_ascii_terminal_gets_stand_ins(tmp_path: Path) -> None:
    program = (
        "from benchmark.cli.app import app, main\n"
        "from benchmark.cli.output import tell\n"
        "app.command('tell')(lambda: tell('≤ 65.5–70.2 % ± 3 under L∞ ε, ü'))\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "tell"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "<= 65.5-70.2 % +- 3 under Linf eps, \\xfc\n", done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [("–", "-"), ("≤ 5", "<= 5"), ("─", "-"), ("日", "\\u65e5"), ("plain", "plain")],
)
def test_every_character_has_a_stand_in(text: str, expected: str) -> None:
    assert in_ascii(text) == expected


def test_one_is_no_plural() -> None:
    assert [counted(number, "cell") for number in (0, 1, 2)] == ["0 cells", "1 cell", "2 cells"]


def test_shortened_keeps_beginning_and_remedy() -> None:
    short = shortened(f"unknown {'x' * 5000}; did you mean 'y'?", 600)

    assert len(short) == 600
    assert short.startswith("unknown xxx")
    assert short.endswith("; did you mean 'y'?")


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--defense", "x" * 5000),
        ("run", "--defense", "none", "--set", f"{'x' * 5000}=1"),
        ("report", "x" * 5000),
        ("x" * 5000,),
        ("run", f"--{'x' * 5000}"),
    ],
    ids=["value", "assignment", "path", "command", "option"],
)
def test_no_error_line_is_longer_than_anyone_reads(arguments: tuple[str, ...]) -> None:
    done = bench(*arguments)

    assert done.returncode == 2
    assert max(map(len, done.stderr.splitlines())) <= 600


@pytest.mark.parametrize(
    "arguments",
    [
        ("\x1b]0;owned\x07",),
        ("run", "--\x1b[31m"),
        ("run", "--epochs", "\x1b[31m"),
        ("report", "\x1b[31m"),
        ("run", "--defense", "none", "--suite", "\x1b[31m.yaml"),
        ("run", "--defense", "none", "--dataset", "folder:\x1b[31m"),
        ("list", "\x1b[31m"),
    ],
    ids=["command", "option", "number", "folder", "suite", "data set", "list"],
)
def test_no_error_line_holds_what_a_terminal_obeys(arguments: tuple[str, ...]) -> None:
    done = bench(*arguments)

    assert done.returncode == 2
    assert not {"\x1b", "\x07"} & set(done.stderr)


def test_early_interrupt_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(5)\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = bench("run", env={"PYTHONPATH": path})

    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, "bench: stopped\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("report", "results", "--figures", ""),
        ("report", "results", "--publish", ""),
        ("report", "results", "--robustbench", ""),
        ("report", ""),
        ("merge", "results", "--out", ""),
        ("merge", "", "--out", "all"),
        ("show", "cell", "--out", ""),
        ("compare", "a", "b", "--out", ""),
        ("run", "--defense", "none", "--out", ""),
        ("run", "--defense", "none", "--data-dir", ""),
        ("run", "--defense", "none", "--config", ""),
        ("run", "--defense", "none", "--set", "out=''"),
        ("attack", "--weights", "w.pt", "--out", ""),
    ],
    ids=" ".join,
)
def test_empty_path_never_means_the_working_directory(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    done = bench(*arguments, cwd=tmp_path)

    assert done.returncode == 2
    assert "an empty path was given" in done.stderr
    assert list(tmp_path.iterdir()) == []

"""The table of commands, and how `bench` ends: exit codes, and one line for what went wrong."""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any

import typer

from benchmark.cli import stored
from benchmark.cli.attack import attack
from benchmark.cli.check import check
from benchmark.cli.execution import Stopped
from benchmark.cli.listing import list_names
from benchmark.cli.output import OutputError, ReaderGoneError, guarded, say, tell
from benchmark.cli.plugin import check_plugin
from benchmark.cli.run import run
from benchmark.cli.status import status
from benchmark.cli.submit import submit
from benchmark.errors import BenchError
from benchmark.text import clean, shortened

app = typer.Typer(
    name="bench",
    help="Trains defenses against adversarial examples, attacks them, and ranks what holds.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# What is told of it to the package that it comes in.
_VERSIONS = {
    "bench": "meta-adv-bench",
    "adversarial-robustness-toolbox": "adversarial-robustness-toolbox",
    **{name: name for name in ("torch", "higher", "tensorflow", "keras", "numpy", "ray")},
}

_INTERRUPTED = 130  # what Typer makes of Ctrl-C

# The class that Typer raises for wrong command lines; it exports the subclass alone.
_UsageError: Any = typer.BadParameter.__base__


def main() -> None:
    """The console script: one line and an exit code for everything that a user can get wrong."""
    try:
        with guarded():
            code = _called()
    except OutputError as error:
        say(f"error: {error}")
        code = error.exit_code
    except ReaderGoneError:  # the reader has seen enough
        code = 1
    sys.exit(code)


def _called() -> int:
    """Carries out the command line; returns the exit code."""
    try:
        # None where a command simply ended.
        code = app(prog_name="bench", standalone_mode=False) or 0
        if code == _INTERRUPTED:  # by Typer, which says nothing of it
            say("stopped")
        return code
    except Stopped as ended:
        say("stopped; the same command goes on where this one stopped")
        return ended.code
    except SystemExit as ended:
        # Typer takes every broken pipe, also one to a process of ours, for a reader who has left
        if isinstance(ended.__context__, BrokenPipeError):
            raise ended.__context__ from None
        raise
    except OutputError:
        raise
    except BenchError as error:
        say(f"error: {error}")
        return error.exit_code
    except _UsageError as error:
        _explain(error)
        return error.exit_code
    except ValueError as error:
        from defenses.errors import DefenseError

        if not isinstance(error, DefenseError):
            raise
        say(f"error: {error}")
        return BenchError.exit_code
    except typer.Abort:
        say("stopped")
        return _INTERRUPTED


def _explain(error: Any) -> None:
    """How a command line is wrong, as Typer words it; what was typed in it is made harmless."""
    words = io.StringIO()
    # Of a number, Typer tells what it should be and not what was given
    if (errors := getattr(error.__cause__, "errors", None)) is not None:
        error.message += f"; got {errors()[0]['input']!r}"
    error.show(file=words)
    for line in words.getvalue().splitlines():
        print(shortened(clean(line), 500), file=sys.stderr)


def _version(asked: bool) -> None:
    """What to name in a report of a fault; nothing of it is imported."""
    if not asked:
        return
    from importlib.metadata import PackageNotFoundError, version

    for name, package in _VERSIONS.items():
        try:
            tell(f"{name} {version(package)}")
        except PackageNotFoundError:
            tell(f"{name} (not installed)")
    tell(f"python {sys.version.split()[0]}")
    raise typer.Exit


@app.callback()
def _bench(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_version,
            is_eager=True,
            help="Print the versions of this program and of what decides its numbers.",
        ),
    ] = False,
) -> None:
    pass


# Its words without an option are told where they belong.
app.command(context_settings={"allow_extra_args": True})(run)
app.command()(attack)
app.command("list")(list_names)
app.command()(stored.show)
app.command()(stored.report)
app.command()(stored.compare)
app.command()(check)
app.command()(stored.merge)
app.command()(status)
app.command()(stored.schema)
app.command("check-plugin")(check_plugin)
app.command()(submit)

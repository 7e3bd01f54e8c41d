"""The options of `bench run`: all but Config, Assignment and DryRun are RunConfig's keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.errors import ConfigError

if TYPE_CHECKING:
    from benchmark.cli.display import Detail

DEFAULT_OUT = Path("bench-results")


def named(given: str | Path) -> Path:
    """A path from the command line; raises `ConfigError` for "", which would mean this folder."""
    if not str(given).strip():
        raise ConfigError("an empty path was given; give one, such as '.' for the current folder")
    return Path(given)


Names = list[str] | None

Defense = Annotated[
    Names,
    typer.Option(
        metavar="NAME",
        help="Defense to measure, such as pgd-at+jpeg, or all; repeatable, or with commas.",
    ),
]

Framework = Annotated[
    Names, typer.Option(metavar="NAME", help="torch, tensorflow; both unless given.")
]

Dataset = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="digits (default), mnist, npz:FILE or folder:DIR."),
]

Model = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Architecture; cnn unless given, mlp for tabular data."),
]

Suite = Annotated[
    str | None, typer.Option(metavar="NAME", help="Attack suite; quick unless given.")
]

Eps = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="Budget in pixel scale [0, 1], such as 0.15 or 8/255; by data set unless given.",
    ),
]

Norm = Annotated[str | None, typer.Option(metavar="NAME", help="linf (default), l2 or l1.")]

Seed = Annotated[
    Names, typer.Option(metavar="INTEGER", help="Training seed; repeatable; 0 unless given.")
]

Epochs = Annotated[
    int | None,
    typer.Option(metavar="INTEGER", help="Training epochs; by data set unless given."),
]

BudgetGe = Annotated[
    int | None,
    typer.Option(metavar="INTEGER", help="Gradient evaluations to train for, instead of --epochs."),
]

Examples = Annotated[
    int | None,
    typer.Option(metavar="INTEGER", help="Test examples to attack; 1000 unless given."),
]

Out = Annotated[
    Path | None,
    typer.Option(
        parser=named,
        metavar="DIR",
        help=f"Folder for the results; {DEFAULT_OUT} unless given.",
    ),
]

DataDir = Annotated[
    Path | None,
    typer.Option(
        parser=named, metavar="DIR", help="Folder that holds the data; else $BENCH_DATA_DIR."
    ),
]

Download = Annotated[
    bool | None, typer.Option("--download/--no-download", help="May missing data be fetched?")
]

ImageSize = Annotated[
    int | None,
    typer.Option(metavar="INTEGER", help="Resize folder:DIR's images to this many pixels square."),
]

SplitSeed = Annotated[
    int | None,
    typer.Option(metavar="INTEGER", help="Seed of the data's splits; 0 unless given."),
]

Device = Annotated[str | None, typer.Option(metavar="NAME", help="auto (default), cpu or cuda.")]

Jobs = Annotated[
    int | None,
    typer.Option(metavar="INTEGER", help="Cells at a time; one a framework unless given."),
]

Threads = Annotated[
    int | None,
    typer.Option(
        metavar="INTEGER",
        help="CPU threads of a cell; they round differently, so fix them where numbers must be "
        "equal to the last digit. The CPUs are shared among --jobs unless given.",
    ),
]

AttackTimeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="An attack that asks the model anything later than this has failed; others go on.",
    ),
]

Baseline = Annotated[
    bool | None,
    typer.Option(
        "--baseline/--no-baseline", help="Also measure each cell's undefended twin (default)."
    ),
]

OnOverfit = Annotated[
    str | None,
    typer.Option(
        metavar="restore|warn",
        help="At catastrophic overfitting, go back to the last good weights, or only tell "
        "(default; fgsm-rs goes back).",
    ),
]

Protocol = Annotated[
    str | None,
    typer.Option(
        metavar="none|brief|adapt",
        help="How much to measure of each model's adaptation to other attacks: nothing (default), "
        "a first look, or the full protocol.",
    ),
]

Config = Annotated[
    Path | None,
    typer.Option(parser=named, metavar="FILE.yaml", help="Options from a file; flags go first."),
]

Assignment = Annotated[
    Names,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Set one key on top, such as parameters.meta-adv.inner_steps=2; repeatable.",
    ),
]

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the cells and what they cost; write nothing.")
]

Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors and the last line only.")]

Verbose = Annotated[
    bool, typer.Option("--verbose", help="Print a line for each stage, with its seconds.")
]


def detail(*, quiet: bool, verbose: bool) -> Detail:
    """How much to print; raises `ConfigError` for both."""
    if quiet and verbose:
        raise ConfigError("--quiet and --verbose ask for different things; give one of them")
    return "quiet" if quiet else "verbose" if verbose else "usual"

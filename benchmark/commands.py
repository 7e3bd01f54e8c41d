"""The commands on stored results. They are part of `benchmark.cli`: they print, and import late."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark import options
from benchmark.errors import CellError, ConfigError, UnknownName
from benchmark.text import clean

if TYPE_CHECKING:
    from reports.terminal import TerminalTable

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder with the results.")]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder with the results.")]
Format = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Print it instead: table, csv, json, markdown or latex."),
]
To = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder for the report; DIR/report unless given."),
]
Publish = Annotated[
    Path | None,
    typer.Option(metavar="SITE", help="Write or update the site of static pages there instead."),
]
Robustbench = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Write RobustBench-style JSON entries there instead."),
]
Verify = Annotated[
    bool,
    typer.Option("--verify", help="Replay a sample of the stored claims instead; see --sample."),
]
Sample = Annotated[int, typer.Option(metavar="INTEGER", min=0, help="Claims to verify; 0 for all.")]


def report(
    folder: Folder,
    to: To = None,
    format: Format = None,
    publish: Publish = None,
    robustbench: Robustbench = None,
    verify: Verify = False,
    sample: Sample = 20,
    data_dir: options.DataDir = None,
) -> None:
    """Write the report of existing results again; or print, publish, export or verify them.

    --publish writes a leaderboard that sorts and filters, a page for each model and comparisons, as
    static pages for any host; once more, it rewrites only what changed.

    --verify loads stored weights, replays stored adversarial examples and says whether what is
    stored still holds; it ends with exit code 1 where it doesn't.
    """
    import reports

    folder = folder.expanduser()
    chosen: dict[str, object] = {"--to": to, "--format": format, "--publish": publish}
    chosen |= {"--robustbench": robustbench, "--verify": verify}
    given = [name for name, value in chosen.items() if value]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} ask for different things; give one of them")
    if verify:
        _verify(folder, sample, data_dir)
    elif publish is not None:
        typer.echo(clean(reports.publish(folder, publish.expanduser())))
    elif robustbench is not None:
        paths = reports.write_robustbench(folder, robustbench.expanduser())
        typer.echo(f"{len(paths)} entries in {clean(robustbench.expanduser())}")
    elif format is None:
        typer.echo(clean(reports.write(folder, to.expanduser() if to else None)))
    else:
        _check_format(format)
        if format == "table":
            _print(reports.terminal_table(folder))
        else:
            typer.echo(reports.formatted(folder, format), nl=False)


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A cell's id, or the beginning of it.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other cell's.")],
    out: Out = options.DEFAULT_OUT,
    format: Annotated[
        str, typer.Option(metavar="NAME", help="table, csv, json, markdown or latex.")
    ] = "table",
) -> None:
    """Compare two cells on the same test examples: differences, intervals, paired tests."""
    import reports
    from benchmark.listing import find_cell
    from benchmark.results import Store

    _check_format(format)
    store = Store.open(out.expanduser())
    first, second = find_cell(store, a), find_cell(store, b)
    if first == second:
        raise ConfigError(f"both name the cell {first!r}; give two different ones")
    compared = reports.compare(store.path, first, second)
    if format == "table":
        _print(reports.comparison_table(compared))
    else:
        typer.echo(reports.formatted_comparison(compared, format), nl=False)


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders with results.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder to join them in; it may hold results.")
    ],
) -> None:
    """Join results of several runs or machines; the same cell twice must have the same result.

    Where CPU threads or devices differ, accuracies may be 2 points apart: then the copy in --out,
    or else in the folder given first, is kept, and a line says how far the other one is from it.
    """
    import reports
    from benchmark.merge import merge

    out = out.expanduser()
    merged = merge([folder.expanduser() for folder in folders], out)
    for path, reason in sorted(merged.left_out.items()):
        typer.echo(clean(f"left out: {path}: {reason}"))
    typer.echo(
        f"{len(merged.added)} cells added, {len(merged.extended)} extended, "
        f"{len(merged.equal)} there already"
    )
    typer.echo(f"report: {clean(reports.write(out))}")


def _verify(folder: Path, size: int, data_dir: Path | None) -> None:
    from benchmark.results import Store
    from benchmark.verify import DIFFERS, UNCHECKED, sample, verify

    store = Store.open(folder)
    data = data_dir or os.environ.get("BENCH_DATA_DIR")
    claims = sample(store, size=size or None, data_dir=Path(data).expanduser() if data else None)
    if not claims:
        raise ConfigError(f"{folder} holds no attack with a result, so there is nothing to verify")
    states = []
    for verdict in verify(claims):
        claim = verdict.claim
        typer.echo(clean(f"{verdict.state}: {claim.cell_id} {claim.key}: {verdict.text}"))
        states.append(verdict.state)
    differ, unchecked = states.count(DIFFERS), states.count(UNCHECKED)
    summary = f"{len(states) - differ - unchecked} of {len(states)} claims hold"
    summary += f", {differ} differ" if differ else ""
    summary += f", {unchecked} could not be checked" if unchecked else ""
    if differ or unchecked == len(states):
        raise CellError(f"{summary} in {folder}")
    typer.echo(summary)


def _check_format(name: str) -> None:
    import reports

    if name not in reports.FORMATS:
        raise UnknownName("format", name, reports.FORMATS)


def _print(table: TerminalTable) -> None:
    from benchmark.display import print_table

    print_table(table.columns, table.rows, right_aligned=table.right_aligned)
    for note in table.notes:
        typer.echo(clean(note))

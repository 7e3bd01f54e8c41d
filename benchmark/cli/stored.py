"""The commands on stored results. They are part of `benchmark.cli`: they print, and import late."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli import options
from benchmark.cli.execution import write_report
from benchmark.cli.options import named
from benchmark.cli.output import tell, told_if_slow
from benchmark.errors import CheckError, ConfigError, UnknownName
from benchmark.paths import data_folder, expanded
from benchmark.text import counted

if TYPE_CHECKING:
    from reports.terminal import TerminalTable

Format = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Print it instead: table, csv, json, markdown or latex."),
]
Publish = Annotated[
    Path | None,
    typer.Option(
        parser=named,
        metavar="SITE",
        help="Folder for the site; DIR/report unless given.",
    ),
]
Downloads = Annotated[
    bool,
    typer.Option("--downloads", help="Put weights and adversarial examples on the site, too."),
]
Figures = Annotated[
    Path | None,
    typer.Option(
        parser=named,
        metavar="OUT",
        help="Write figures for papers there instead, each as PDF, PNG and SVG.",
    ),
]
Robustbench = Annotated[
    Path | None,
    typer.Option(
        parser=named,
        metavar="DIR",
        help="Write RobustBench-style JSON entries there instead.",
    ),
]
Verify = Annotated[
    bool,
    typer.Option("--verify", help="Derive what is stored again and compare instead; see --sample."),
]
_SAMPLE = 20  # stages
Sample = Annotated[
    int | None,
    typer.Option(
        metavar="INTEGER",
        min=0,
        help=f"Stages to verify beside all cells, {_SAMPLE} unless given; 0 for all.",
    ),
]
SampleSeed = Annotated[
    int | None,
    typer.Option(metavar="INTEGER", min=0, help="Of the sample; drawn, and told, unless given."),
]
AllowUnchecked = Annotated[
    bool,
    typer.Option("--allow-unchecked", help="Let --verify pass what it names as not checked."),
]


def show(
    cell: Annotated[
        str, typer.Argument(metavar="CELL", help="A cell's id, or the beginning of it.")
    ],
    out: options.Folder = options.DEFAULT_OUT,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="Print a configuration for --config instead.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything that is stored instead.")
    ] = False,
) -> None:
    """Show one cell: configuration, training and every attack."""
    from benchmark.cli.showing import cell_details, cell_records
    from benchmark.plans.again import configuration
    from benchmark.results import Store
    from reports.identifiers import find_cell

    if as_yaml and as_json:
        raise ConfigError("--yaml and --json ask for different things; give one of them")
    store = Store.open(expanded(out))
    cell_id = find_cell(store, cell)
    if as_json:
        print(json.dumps(cell_records(store, cell_id), indent=2))
        return
    for line in (configuration if as_yaml else cell_details)(store, cell_id):
        tell(line)


def schema() -> None:
    """Print the JSON schema of every stored record, arranged as `bench show --json` prints them."""
    from benchmark.results.records.published import json_schema

    print(json.dumps(json_schema(), indent=2))


def report(
    folder: options.ResultsArgument,
    format: Format = None,
    publish: Publish = None,
    downloads: Downloads = False,
    figures: Figures = None,
    robustbench: Robustbench = None,
    verify: Verify = False,
    sample: Sample = None,
    sample_seed: SampleSeed = None,
    allow_unchecked: AllowUnchecked = False,
    data_dir: options.DataDir = None,
) -> None:
    """Write the site of existing results again; or print, draw, export or verify them.

    The site is a leaderboard that sorts and filters, a page for each model and comparisons, as
    static pages that open from the file and for any host. Written again, only what changed is.

    --verify derives what is stored again from data, configuration and weights: every cell's record,
    and of a sample of stages everything, attacks included. It ends with exit code 1 where something
    differs or could not be checked; what is never checked stands in docs/verification.md.
    """
    import reports

    folder = expanded(folder)
    chosen: dict[str, object] = {"--format": format, "--publish": publish, "--figures": figures}
    chosen |= {"--robustbench": robustbench, "--verify": verify}
    of_verify = {"--sample": sample is not None, "--sample-seed": sample_seed is not None}
    of_verify |= {"--allow-unchecked": allow_unchecked, "--data-dir": data_dir is not None}
    _check_together(chosen, of_verify, downloads=downloads)
    if verify:
        size = _SAMPLE if sample is None else sample
        _verify(folder, size, sample_seed, data_dir, allow_unchecked=allow_unchecked)
    elif figures is not None:
        paths = reports.write_figures(folder, expanded(figures))
        tell(f"{counted(len(paths), 'file')} in {expanded(figures)}")
    elif robustbench is not None:
        paths = reports.write_robustbench(folder, expanded(robustbench))
        tell(f"{counted(len(paths), 'entry', 'entries')} in {expanded(robustbench)}")
    elif format is None:
        to = expanded(publish) if publish else None
        tell(reports.publish(folder, to, downloads=downloads))
    else:
        _check_format(format)
        if format == "table":
            _print(reports.terminal_table(folder))
        else:
            print(reports.formatted(folder, format), end="")


def _check_together(
    chosen: Mapping[str, object], of_verify: Mapping[str, bool], *, downloads: bool
) -> None:
    """Raises `ConfigError` for options that don't go together."""
    given = [name for name, value in chosen.items() if value]
    if downloads and given not in ([], ["--publish"]):
        raise ConfigError(f"--downloads belongs to the site; leave it out beside {given[0]}")
    if not chosen["--verify"] and (alone := [name for name, is_on in of_verify.items() if is_on]):
        raise ConfigError(f"{alone[0]} belongs to --verify; give both or none")
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} ask for different things; give one of them")


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A cell's id, or the beginning of it.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other cell's.")],
    out: options.Folder = options.DEFAULT_OUT,
    format: Annotated[
        str, typer.Option(metavar="NAME", help="table, csv, json, markdown or latex.")
    ] = "table",
) -> None:
    """Compare two cells on the same test examples: differences, intervals, paired tests."""
    import reports
    from benchmark.results import Store
    from reports.identifiers import find_cell

    _check_format(format)
    store = Store.open(expanded(out))
    first, second = find_cell(store, a), find_cell(store, b)
    if first == second:
        raise ConfigError(f"both name the cell {first!r}; give two different ones")
    compared = reports.compare(store.path, first, second)
    if format == "table":
        _print(reports.comparison_table(compared))
    else:
        print(reports.formatted_comparison(compared, format), end="")


def merge(
    folders: Annotated[
        list[Path],
        typer.Argument(parser=named, metavar="DIR...", help="Folders with results."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            parser=named, metavar="DIR", help="Folder to join them in; it may hold results."
        ),
    ],
) -> None:
    """Join results of several runs or machines; the same cell twice must have the same result.

    Where CPU threads, processors, devices or versions of packages differ, accuracies (of attacks,
    claims, curves, corruptions, certificates, transfers) may be 2 points apart, or one example
    where there are few, and means of a meta-test 2 points outside of each other's intervals: then
    the copy in --out, or else in the folder given first, is kept, and a line says how far the other
    one is from it. What is whole is joined; exit code 1 where something damaged is in none of the
    folders whole.
    """
    from benchmark.results.merge import merge

    out = expanded(out)
    merged = merge([expanded(folder) for folder in folders], out)
    for path, reason in sorted(merged.left_out.items()):
        tell(f"left out: {path}: {reason}")
    twice = len(merged.repeated)
    tell(
        f"{counted(len(merged.added), 'cell')} added, {len(merged.extended)} extended, "
        f"{len(merged.equal)} there already"
        + (f"; {twice} in several of these folders, equal, and taken once" if twice else "")
    )
    tell(f"report: {write_report(out)}")
    if merged.lost:
        raise CheckError(
            f"{len(merged.lost)} of what was left out is damaged, and no other folder has it "
            "whole; run it again, or restore it"
        )


def _verify(
    folder: Path, size: int, seed: int | None, data_dir: Path | None, *, allow_unchecked: bool
) -> None:
    import secrets

    from benchmark.results import Store
    from benchmark.verify import CELL, DIFFERS, UNCHECKED, sample, stages, told, verify

    store = Store.open(folder)
    data = data_folder(data_dir)
    # Whoever knows what is drawn can change the rest.
    seed = secrets.randbelow(2**32) if seed is None else seed
    claims = sample(store, size=size or None, seed=seed, data_dir=data)
    if not claims:
        raise ConfigError(f"{folder} holds no cell that ended, so there is nothing to verify")
    states, verdicts = [], iter(verify(claims))
    for number, claim in enumerate(claims, 1):
        with told_if_slow(f"verifying {claim.cell_id} {claim.stage}, {number} of {len(claims)}"):
            verdict = next(verdicts)
        tell(f"{verdict.state}: {claim.cell_id} {claim.stage}: {verdict.text}")
        states.append(verdict.state)
    cells = sum(claim.stage == CELL for claim in claims)
    drawn = len(claims) - cells
    summary = (
        f"{counted(cells, 'cell')} and {drawn} of {counted(len(stages(store, data)), 'stage')} "
        f"(--sample-seed {seed}): {told(states)}"
    )
    if DIFFERS in states or (UNCHECKED in states and not allow_unchecked):
        raise CheckError(f"{summary} in {folder}")
    tell(f"{summary}, let pass" if UNCHECKED in states else summary)


def _check_format(name: str) -> None:
    import reports

    if name not in reports.FORMATS:
        raise UnknownName("format", name, reports.FORMATS)


def _print(table: TerminalTable) -> None:
    from benchmark.cli.display import print_table

    print_table(table.columns, table.rows, right_aligned=table.right_aligned)
    for note in table.notes:
        tell(note)

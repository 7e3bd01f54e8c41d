"""The `bench` command: the only place that prints to the user and sets exit codes.

Imports wait inside the commands, so that `bench --help` answers at once.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark import commands, options
from benchmark.attack import attack
from benchmark.errors import BenchError
from benchmark.execution import endings_as_interrupts, execute, fail_for, stopped
from benchmark.output import OutputError, guarded, say, tell, told_if_slow
from benchmark.paths import expanded
from benchmark.text import clean, shortened

if TYPE_CHECKING:
    from benchmark.plan import Plan

app = typer.Typer(
    name="bench",
    help="Trains defenses against adversarial examples, attacks them, and ranks what holds.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

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
    except BrokenPipeError:  # the reader has seen enough
        code = 1
    sys.exit(code)


def _called() -> int:
    """Carries out the command line; returns the exit code."""
    try:
        # None where a command simply ended.
        return app(prog_name="bench", standalone_mode=False) or 0
    except OutputError:
        raise
    except BenchError as error:
        say(f"error: {error}")
        return error.exit_code
    except _UsageError as error:
        _explain(error)
        return error.exit_code
    except typer.Abort:
        say("stopped")
        return 130


def _explain(error: Any) -> None:
    """How a command line is wrong, as Typer words it; what was typed in it is made harmless."""
    words = io.StringIO()
    error.show(file=words)
    for line in words.getvalue().splitlines():
        print(shortened(clean(line), 500), file=sys.stderr)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            tell(f"bench {version('meta-adv-bench')}")
        except PackageNotFoundError:
            tell("bench (not installed)")
        raise typer.Exit


@app.callback()
def _bench(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


@app.command()
def run(
    defense: options.Defense = None,
    framework: options.Framework = None,
    dataset: options.Dataset = None,
    model: options.Model = None,
    suite: options.Suite = None,
    eps: options.Eps = None,
    norm: options.Norm = None,
    seed: options.Seed = None,
    epochs: options.Epochs = None,
    budget_ge: options.BudgetGe = None,
    examples: options.Examples = None,
    out: options.Out = None,
    data_dir: options.DataDir = None,
    download: options.Download = None,
    image_size: options.ImageSize = None,
    split_seed: options.SplitSeed = None,
    device: options.Device = None,
    jobs: options.Jobs = None,
    threads: options.Threads = None,
    attack_timeout: options.AttackTimeout = None,
    baseline: options.Baseline = None,
    on_overfit: options.OnOverfit = None,
    protocol: options.Protocol = None,
    config: options.Config = None,
    assignment: options.Assignment = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Train defenses, attack them, and write the leaderboard."""
    given = {
        "defense": defense,
        "framework": framework,
        "dataset": dataset,
        "model": model,
        "suite": suite,
        "eps": eps,
        "norm": norm,
        "seed": seed,
        "epochs": epochs,
        "budget_ge": budget_ge,
        "examples": examples,
        "out": out,
        "data_dir": data_dir,
        "download": download,
        "image_size": image_size,
        "split_seed": split_seed,
        "device": device,
        "jobs": jobs,
        "threads": threads,
        "attack_timeout": attack_timeout,
        "baseline": baseline,
        "on_overfit": on_overfit,
        "protocol": protocol,
    }
    flags = {key: value for key, value in given.items() if value is not None}
    detail = options.detail(quiet=quiet, verbose=verbose)
    try:
        with endings_as_interrupts():
            plan = _plan(flags, config, assignment or [], dry_run=dry_run, quiet=quiet)
            outcomes = [] if dry_run else execute(plan, detail)
    except KeyboardInterrupt as interrupt:
        raise stopped(interrupt) from None
    if dry_run:
        _print_plan(plan)
    fail_for(outcomes, plan.config.out / "logs")


@app.command("list")
def list_names(
    what: Annotated[
        str,
        typer.Argument(metavar="defenses|attacks|suites|datasets|models|families|DEFENSE|MODEL"),
    ],
) -> None:
    """List what can be named on the command line, or the parameters of a defense or model."""
    from benchmark.listing import descriptions

    found = descriptions(what)
    width = max(map(len, found), default=0)
    for name, description in found.items():
        tell(f"{name:<{width}}  {description}")


@app.command()
def show(
    cell: Annotated[str, typer.Argument(help="A cell's id, or the beginning of it.")],
    out: commands.Out = options.DEFAULT_OUT,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="Print a configuration for --config instead.")
    ] = False,
) -> None:
    """Show one cell: configuration, training and every attack."""
    from benchmark.again import configuration
    from benchmark.listing import find_cell
    from benchmark.results import Store
    from benchmark.showing import cell_details

    store = Store.open(expanded(out))
    show = configuration if as_yaml else cell_details
    for line in show(store, find_cell(store, cell)):
        tell(line)


app.command()(attack)
app.command()(commands.report)
app.command()(commands.compare)
app.command()(commands.merge)


def _plan(
    flags: dict[str, Any], file: Path | None, assignments: list[str], *, dry_run: bool, quiet: bool
) -> Plan:
    """Checks everything, and tells what the user should know beforehand."""
    with told_if_slow("loading, and checking the configuration", quiet=quiet):
        from benchmark.config import read
        from benchmark.plan import make_plan

        config = read(flags, file=file, assignments=assignments)
    with told_if_slow(f"loading {PurePath(config.dataset).name}", quiet=quiet):
        plan = make_plan(config, dry_run=dry_run)
    for notice in () if quiet else plan.notices:
        say(notice)
    return plan


def _print_plan(plan: Plan) -> None:
    from benchmark.display import print_table
    from benchmark.results import Store
    from benchmark.resume import pending

    out = plan.config.out
    stored = (out / "bench.json").exists()
    to_do = pending(plan.jobs, Store.open(out)) if stored else plan.jobs
    waiting = {job.cell.cell_id for job in to_do}
    rows = [
        [
            cell_id,
            f"{plan.estimates[cell_id]:,.0f}",
            f"{plan.memory[cell_id] / 1e6:,.0f} MB" if cell_id in plan.memory else "",
            "to do" if cell_id in waiting else "done",
        ]
        for cell_id in (job.cell.cell_id for job in plan.jobs)
    ]
    columns = ["cell", "training GE", "memory", "state"]
    print_table(columns, rows, right_aligned=[False, True, True, False])
    total = sum(plan.estimates[cell_id] for cell_id in waiting)
    protocols = [job.adaptation for job in to_do if job.adaptation is not None]
    adapting = sum(protocol.gradient_evaluations() for protocol in protocols)
    tell(
        f"{len(waiting)} of {len(plan.jobs)} cells to do, about {total:,.0f} gradient evaluations "
        f"of training and {adapting:,.0f} of the adaptation protocol; nothing was written"
    )


if __name__ == "__main__":
    main()

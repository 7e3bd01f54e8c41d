"""`bench run`."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from benchmark.cli import options
from benchmark.cli.output import say, tell, told_if_slow
from benchmark.execution import endings_as_interrupts, execute, fail_for, stopped

if TYPE_CHECKING:
    from benchmark.plans.run import Plan


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


def _plan(
    flags: dict[str, Any], file: Path | None, assignments: list[str], *, dry_run: bool, quiet: bool
) -> Plan:
    """Checks everything, and tells what the user should know beforehand."""
    with told_if_slow("loading, and checking the configuration", quiet=quiet):
        from benchmark.config import read
        from benchmark.plans.run import make_plan

        config = read(flags, file=file, assignments=assignments)
    with told_if_slow(f"loading {PurePath(config.dataset).name}", quiet=quiet):
        plan = make_plan(config, dry_run=dry_run)
    for notice in () if quiet else plan.notices:
        say(notice)
    return plan


def _print_plan(plan: Plan) -> None:
    from benchmark.cli.display import print_table
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

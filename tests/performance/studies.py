"""What the studies of meta-learning share: rows at equal compute, and tables with 95 % intervals.

A row is a name, a defense and its parameters. At each budget it is a `bench run` into a folder of
its own, so that a study that is started again goes on where it stopped.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

from reports.records import read
from reports.statistics import across_seeds, of_differences, over_episodes

SEEDS = (0, 1, 2)
BUDGETS = (250_000, 1_000_000, 4_000_000)

# Adversarial querying (Goldblum et al. 2020) with the optimiser and the updates that suit these
# budgets: chosen as those of the others.
FEW = {"distribution": ["few-way"], "ways": 5}
OURS = {**FEW, "inner_loss": "clean", "tasks": 2, "support": 25, "query": 25, "clean_weight": 0.2}
QUERYING = {**OURS, "query_attack_steps": 5}
TUNED = {"attack_steps": 5, "batch_size": 64}

NOTHING = "–"


def parser_of(doc, rows, *, dataset, model, budgets=BUDGETS):
    """The options that every study has."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data-dir")
    parser.add_argument("--dataset", default=dataset)
    parser.add_argument("--model", default=model)
    parser.add_argument("--framework", default="torch")
    parser.add_argument("--budget-ge", nargs="+", type=int, default=list(budgets))
    parser.add_argument("--seed", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--only", nargs="+", choices=rows, default=list(rows))
    parser.add_argument("--batch-size", help="as in `bench run`: auto on a GPU")
    parser.add_argument("--report", action="store_true", help="run nothing")
    return parser


def measured(options, rows, settings, *, begins=""):
    """(row, budget) to its cells by seed: each is run, unless `--report`, and then read.

    `settings` gives, of a row's name, what its configuration has besides what all have; `begins` is
    what the names of folders begin with.
    """
    folders = {
        (row, budget): options.out / f"{begins}{_slug(row)}-{options.framework}-{budget}"
        for budget in options.budget_ge
        for row in options.only
    }
    if not options.report:
        for (row, budget), out in folders.items():
            _run(out, _configuration(options, rows[row], budget) | settings(row))
    there = {pair: out for pair, out in folders.items() if any(out.glob("cells/*/cell.json"))}
    return _of_equal_seeds({pair: _by_seed(out) for pair, out in there.items()})


def _by_seed(out):
    """A folder's cells by their training seed; stops where a seed has two."""
    found = {}
    for cell in read(out).cells:
        if (seed := seed_of(cell)) in found:
            raise SystemExit(
                f"{out} holds two cells of training seed {seed}: what was run with other options "
                "lies there, too; give another --out"
            )
        found[seed] = cell
    return found


def unique(found):
    """Results by their keys, of (key, result) pairs; stops where two of a version share one.

    Of several versions of a protocol the newest.
    """
    kept = {}
    for key, one in found:
        other = kept.setdefault(key, one)
        if other is not one and other.record.version == one.record.version:
            raise SystemExit(
                f"{' '.join(map(str, key))} was measured with several settings; give each an --out "
                "of its own"
            )
        kept[key] = max(other, one, key=lambda result: result.record.version)
    return kept


def _of_equal_seeds(found):
    """Cells by seed of those seeds that all rows at a budget have, since seeds are paired."""
    for budget in sorted({budget for _, budget in found}):
        rows = [cells for (_, same), cells in found.items() if same == budget]
        for lacking in sorted(set.union(*map(set, rows)) - set.intersection(*map(set, rows))):
            print(f"seed {lacking} at {budget:,} is left out: not every row has it")
            for cells in rows:
                cells.pop(lacking, None)
    return {pair: [cells[seed] for seed in sorted(cells)] for pair, cells in found.items() if cells}


def _slug(row):
    return row.replace(", ", "-").replace(" %", "").replace(" ", "-")


def _configuration(options, row, budget):
    defense, parameters = row
    found = {
        "dataset": options.dataset,
        "data_dir": options.data_dir,
        "model": options.model,
        "framework": options.framework,
        "defense": defense,
        "parameters": {defense: parameters} if parameters else {},
        "baseline": False,
        "budget_ge": budget,
        "seed": options.seed,
        "examples": 20,
        "suite": "quick",
        "jobs": 1,
        "threads": 1,
    }
    return found | ({"batch_size": options.batch_size} if options.batch_size else {})


def _run(out, configuration):
    out.mkdir(parents=True, exist_ok=True)
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(configuration))
    command = [sys.executable, "-m", "benchmark", "run", "--config", path, "--out", out, "--quiet"]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"{out.name} failed; see {out}")


def head(names):
    """The first two lines of a table."""
    print("\n| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))


def line(*values):
    """A row of a table."""
    print("| " + " | ".join(map(str, values)) + " |")


def percent(found, queries=1):
    """A mean with its interval, of each seed's (n,) shares of so many queries each."""
    if not found:
        return NOTHING
    values = np.stack(list(found.values()))
    told = across_seeds(values) if len(values) > 1 else over_episodes(values[0], queries=queries)
    return f"{100 * told.mean:.1f} ({100 * told.low:.1f} to {100 * told.high:.1f})"


def points(values, *, marked=False):
    """A mean with its interval, of (seeds, n) differences; bold where it excludes 0 if `marked`."""
    low, high = of_differences(values)
    mark = "**" if marked and (low > 0 or high < 0) else ""
    told = f"{100 * values.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{mark}{told}{mark}"


def difference(ours, theirs):
    """In points, of the seeds that both have; bold where its interval excludes 0."""
    values = apart(ours, theirs)
    return points(values, marked=True) if values.size else NOTHING


def apart(ours, theirs):
    """(seeds, n) differences, of the seeds that both have (n,) values of."""
    both = [seed for seed in ours if seed in theirs]
    found = [ours[seed].astype(float) - theirs[seed] for seed in both]
    return np.stack(found) if found else np.empty((0, 0))


def seed_of(cell):
    """The training seed of a cell, which values of models are paired by."""
    return cell.record.config.seed

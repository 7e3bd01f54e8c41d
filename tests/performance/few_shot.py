"""Where meta-learning should win: new classes. Defenses at equal compute, adapted with few labels.

    python tests/performance/few_shot.py --data-dir DIR --out RESULTS

Omniglot's two small sets, split by alphabet (`few_shot_omniglot.yaml` beside this file; Latin,
which is in both sets, is left out), or GTSRB (`--dataset npz:FILE --split 0`). Each row and budget
is a `bench run` into a folder of its own below `--out`; started again, it goes on where it stopped.
A small run takes minutes:

    python tests/performance/few_shot.py --data-dir DIR --out RESULTS --budget-ge 20000 \\
        --seed 0 --episodes 50 --only pgd-at aq-ridge --readouts centroid ridge

`--report` runs nothing: the tables are made from what is there. Intervals are 95 %, over training
seeds and episodes, which are the same for every model. A row is judged by the read-out that is
best on validation classes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from scipy.stats import t

from reports.fewshots import chosen
from reports.records import read
from reports.statistics import across_seeds

HERE = Path(__file__).parent
BUDGETS, SEEDS = (250_000, 1_000_000, 4_000_000), (0, 1, 2)
FEW = {"distribution": ["few-way"], "ways": 5}
# As AQ, with the optimiser and the updates that suit these budgets: chosen as those of the others.
OURS = {**FEW, "inner_loss": "clean", "tasks": 2, "support": 25, "query": 25, "clean_weight": 0.2}
CLOSED = {**OURS, "query_attack_steps": 5}
TUNED = {"attack_steps": 5, "batch_size": 64}
# Row: defense and its parameters.
ROWS = {
    "none": ("none", {}),
    "pgd-at": ("pgd-at", {}),
    "pgd-at, tuned": ("pgd-at", TUNED),
    "trades": ("trades", {}),
    "maml, no adversary": ("meta-adv", {**OURS, "clean_weight": 1.0}),
    "adml": ("meta-adv", {"preset": "adml", **FEW, "support": 25, "query": 25}),
    "r-maml": ("meta-adv", {"preset": "r-maml", **FEW}),
    "aq": ("meta-adv", {"preset": "aq", **FEW}),
    "aq-maml": ("meta-adv", CLOSED),
    "aq-anil": ("meta-adv", {**CLOSED, "algorithm": "anil"}),
    "aq-centroid": ("meta-adv", {**CLOSED, "head": "centroid"}),
    "aq-ridge": ("meta-adv", {**CLOSED, "head": "ridge"}),
    "aq-ridge, rotations": ("meta-adv", {**CLOSED, "head": "ridge", "rotations": True}),
    # The share of the first phase is chosen by the column of validation classes.
    "two phases, 25 %": ("meta-adv", {**CLOSED, "head": "centroid", "pretrain": 0.25}),
    "two phases, 50 %": ("meta-adv", {**CLOSED, "head": "centroid", "pretrain": 0.5}),
    "two phases, 75 %": ("meta-adv", {**CLOSED, "head": "centroid", "pretrain": 0.75}),
    "cosine head alone": ("meta-adv", {**CLOSED, "head": "centroid", "pretrain": 1.0}),
}
BASELINES = ("pgd-at", "pgd-at, tuned", "trades", "cosine head alone")


def configuration(row, budget, options):
    defense, parameters = ROWS[row]
    return {
        "dataset": options.dataset,
        "split": options.split,
        "model": options.model,
        "framework": options.framework,
        "defense": defense,
        "parameters": {defense: parameters} if parameters else {},
        "baseline": False,
        "budget_ge": budget,
        "seed": list(options.seed),
        "examples": 20,
        "suite": "quick",
        "protocol": "few-shot",
        "adaptation": {
            "ways": options.ways,
            "shots": options.shots,
            "queries": [options.queries, "stored"],
            "episodes": options.episodes,
            "readouts": options.readouts,
            "autoattack_episodes": options.autoattack_episodes,
            "tuning_episodes": options.tuning_episodes,
        },
        "data_dir": str(options.data_dir),
        "jobs": 1,
        "threads": 1,
    }


def folder(row, budget, options):
    name = row.replace(", ", "-").replace(" %", "").replace(" ", "-")
    return options.out / f"{name}-{options.framework}-{budget}"


def run(row, budget, options):
    out = folder(row, budget, options)
    out.mkdir(parents=True, exist_ok=True)
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(configuration(row, budget, options)))
    command = [sys.executable, "-m", "benchmark", "run", "--config", path, "--out", out, "--quiet"]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"{row} at {budget} failed; see {out}")


class Measured:
    """The cells of a row at a budget, seed by seed."""

    def __init__(self, cells):
        self.cells = cells
        self.judged = {size: self._judged(size) for size in self._sizes()}

    def _sizes(self):
        return sorted({(o.record.ways, o.record.shots) for c in self.cells for o in c.few_shot})

    def of(self, cell, size):
        return [o for o in cell.few_shot if (o.record.ways, o.record.shots) == size]

    def _judged(self, size):
        """Each seed's read-out that is best on validation classes."""
        found = [chosen(self.of(cell, size)) for cell in self.cells]
        return [one for one in found if one is not None]

    def shares(self, size, name, readout=None):
        """(seeds, episodes) of the read-out named, else of those judged by."""
        ones = self.judged[size]
        if readout is not None:
            every = [o for c in self.cells for o in self.of(c, size)]
            ones = [o for o in every if o.record.readout == readout and o.shares]
        return np.array([one.shares[name] for one in ones if name in one.shares])


def percent(values):
    """A mean with its interval, of (seeds, episodes)."""
    if not values.size:
        return "–"
    low, high = interval(values)
    return f"{100 * values.mean():.1f} ({100 * low:.1f} to {100 * high:.1f})"


def interval(values):
    """Over seeds and episodes; of one seed over its episodes, of values in [-1, 1]."""
    if len(values) == 1:
        count = values.shape[1]
        reach = t.isf(0.025, count - 1) * values.std(ddof=1) / count**0.5
        return values.mean() - reach, values.mean() + reach
    found = across_seeds((values + 1) / 2)
    return 2 * found.low - 1, 2 * found.high - 1


def difference(ours, theirs):
    """In points, bold where its interval excludes 0."""
    seeds = min(len(ours), len(theirs))
    apart = ours[:seeds] - theirs[:seeds]
    low, high = interval(apart)
    mark = "**" if low > 0 or high < 0 else ""
    return f"{mark}{100 * apart.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f}){mark}"


def head(names):
    print("| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))


def table(measured, size):
    print(f"\n### {size[0]}-way {size[1]}-shot\n")
    names = (
        "Row, Budget, Seeds, Read-out, Validation, Clean, Robust, Stored, AutoAttack, GE, Labels"
    )
    head(names.split(", "))
    for (row, budget), one in measured.items():
        if not one.judged.get(size):
            continue
        names = "/".join(dict.fromkeys(o.record.readout for o in one.judged[size]))
        record = one.judged[size][0].record
        shares = [one.shares(size, n) for n in ("clean", "robust", "stored_queries", "autoattack")]
        values = [percent(value) for value in shares]
        cost = f"{record.cost.gradient_evaluations:.0f} | {record.labels_used}"
        seen = 100 * np.mean([o.validation for o in one.judged[size]])
        told = f"| {row} | {budget:,} | {len(shares[0])} | {names} | {seen:.1f} | "
        print(told + " | ".join([*values, cost]) + " |")


def readouts(measured, size):
    """What each read-out leaves of white-box queries."""
    names = sorted(
        {o.record.readout for m in measured.values() for c in m.cells for o in c.few_shot}
    )
    print()
    head([f"Robust, {size[0]}-way {size[1]}-shot", "Budget", *names])
    for (row, budget), one in measured.items():
        values = [percent(one.shares(size, "robust", name)) for name in names]
        print(f"| {row} | {budget:,} | " + " | ".join(values) + " |")


def differences(measured, size):
    """Of the rows that learn episodes to each baseline at the same budget."""
    heads = [name for name in BASELINES if any(row == name for row, _ in measured)]
    about = f"Robust, points, {size[0]}-way {size[1]}-shot"
    print()
    head([about, "Budget", *(f"less {name}" for name in heads)])
    for (row, budget), one in measured.items():
        if ROWS[row][0] != "meta-adv" or row in heads or size not in one.judged:
            continue
        cells = []
        for baseline in heads:
            other = measured.get((baseline, budget))
            there = other is not None and size in other.judged
            cells.append(
                difference(one.shares(size, "robust"), other.shares(size, "robust"))
                if there
                else "–"
            )
        print(f"| {row} | {budget:,} | " + " | ".join(cells) + " |")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dataset", default="omniglot")
    parser.add_argument("--split", default=str(HERE / "few_shot_omniglot.yaml"))
    parser.add_argument("--model", default="cnn-small")
    parser.add_argument("--framework", default="torch")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--budget-ge", nargs="+", type=int, default=list(BUDGETS))
    parser.add_argument("--seed", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--ways", nargs="+", type=int, default=[5, 20])
    parser.add_argument("--shots", nargs="+", type=int, default=[1, 5])
    parser.add_argument("--queries", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--tuning-episodes", type=int, default=20)
    parser.add_argument("--autoattack-episodes", type=int, default=5)
    parser.add_argument(
        "--readouts", nargs="+", default=["centroid", "ridge", "linear", "finetune", "own"]
    )
    parser.add_argument("--report", action="store_true", help="run nothing")
    return parser.parse_args()


def main():
    options = arguments()
    pairs = [(row, budget) for budget in options.budget_ge for row in options.only]
    if not options.report:
        for pair in pairs:
            run(*pair, options)
    measured = {}
    for pair in pairs:
        if any(folder(*pair, options).glob("cells/*/cell.json")):
            cells = read(folder(*pair, options)).cells
            measured[pair] = Measured(sorted(cells, key=lambda cell: cell.record.config.seed))
    for size in sorted({size for one in measured.values() for size in one.judged}):
        table(measured, size)
        readouts(measured, size)
        differences(measured, size)


if __name__ == "__main__":
    main()

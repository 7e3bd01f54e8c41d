"""Attacks in a row, and another data set: `meta-adv` beside its rivals at equal compute.

    python tests/performance/new_tasks.py sequence --out RESULTS
    python tests/performance/new_tasks.py domain --out RESULTS

On digits. `sequence` has four attack families in a row, each with labels of its own. `domain` goes
from the digits 0 to 4 to those from 5 on, files that this script makes of scikit-learn's; with
`--dataset mnist --adapt-to digits --resize` from MNIST to digits. Each row is a `bench run` into a
folder of its own below `--out`; started again, it goes on where it stopped. `--report` runs
nothing: the tables are made from what is there. Intervals are 95 %, over training seeds and
episodes, which are the same for every model.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from sklearn.datasets import load_digits

from reports.records import read
from reports.statistics import across_seeds, over_episodes

ATTACKS = {"distribution": ["attacks"], "support_family": "other"}
# Row: defense and its parameters.
ROWS = {
    "pgd-at": ("pgd-at", {}),
    "random-norm": ("random-norm", {}),
    "meta-adv": ("meta-adv", {}),
    # Trained to learn one family without losing another, with rates of its own for each layer
    "meta-adv, low forgetting": ("meta-adv", {**ATTACKS, "learn_rates": True}),
}


def adaptation(options):
    if options.protocol == "domain":
        return {
            "adapt_to": options.adapt_to or f"npz:{options.out.resolve() / 'late.npz'}",
            "resize": options.resize,
            "shots": options.shots,
            "episodes": options.episodes,
            "queries": options.queries,
        }
    return {
        "families": options.families,
        "labels": options.labels,
        "episodes": options.episodes,
        "queries": options.queries,
        "rounds": options.rounds,
        "attack_steps": options.attack_steps,
    }


def halves(out):
    """The digits 0 to 4, and those from 5 on, as files."""
    digits = load_digits()
    x = (digits.images[..., None] / 16).astype(np.float32)
    for name, some in (("early", digits.target < 5), ("late", digits.target >= 5)):
        rows = np.random.default_rng(0).permutation(np.flatnonzero(some))
        test, train = np.split(rows, [len(rows) // 5])
        parts = {"train": train, "test": test}
        arrays = {f"x_{part}": x[index] for part, index in parts.items()}
        arrays |= {f"y_{part}": digits.target[index] % 5 for part, index in parts.items()}
        np.savez(out / f"{name}.npz", **arrays)


def configuration(row, options):
    defense, parameters = ROWS[row]
    dataset = options.dataset
    if dataset is None:
        early = f"npz:{options.out.resolve() / 'early.npz'}"
        dataset = early if options.protocol == "domain" else "digits"
    return {
        "dataset": dataset,
        "model": options.model,
        "framework": options.framework,
        "defense": defense,
        "parameters": {defense: parameters} if parameters else {},
        "baseline": False,
        "budget_ge": options.budget_ge,
        "eps": options.eps,
        "seed": options.seed,
        "examples": 20,
        "suite": "quick",
        "protocol": options.protocol,
        "adaptation": adaptation(options),
        "data_dir": options.data_dir,
        "jobs": 1,
        "threads": 1,
    }


def folder(row, options):
    name = row.replace(", ", "-").replace(" ", "-")
    return options.out / f"{options.protocol}-{name}-{options.framework}-{options.budget_ge}"


def run(row, options):
    out = folder(row, options)
    out.mkdir(parents=True, exist_ok=True)
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(configuration(row, options)))
    command = [sys.executable, "-m", "benchmark", "run", "--config", path, "--out", out, "--quiet"]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"{row} failed; see {out}")


def percent(values, queries):
    """A mean with its interval, of (seeds, episodes)."""
    several = len(values) > 1
    found = across_seeds(values) if several else over_episodes(values[0], queries=queries)
    return f"{100 * values.mean():.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"


def head(names):
    print("| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))


def sequences(rows):
    """Learners by what stays right under all families together in the end."""
    head(["Row", "Learner", "Seeds", "Clean", "Mean", "Worst", "Forgetting", "GE", "Labels"])
    for row, cells in rows.items():
        for learner in dict.fromkeys(o.record.learner for c in cells for o in c.sequences):
            ones = [o for c in cells for o in c.sequences if o.record.learner == learner]
            ones = [one for one in ones if one.worst is not None]
            if not ones:
                continue
            record = ones[0].record
            clean, mean = (
                100 * np.mean([getattr(one.record, name)[-1].mean for one in ones])
                for name in ("clean", "mean")
            )
            lost = 100 * np.mean([one.record.forgetting.mean for one in ones])
            worst = percent(np.stack([one.worst for one in ones]), record.queries)
            cost = f"{record.cost.gradient_evaluations:,.0f} | {record.labels_used}"
            told = f"{clean:.1f} | {mean:.1f} | {worst} | {lost:+.1f} | {cost}"
            print(f"| {row} | {learner} | {len(ones)} | {told} |")


def domains(rows):
    """Methods by clean / robust accuracy, for each number of labels a class."""
    every = [one.record for cells in rows.values() for cell in cells for one in cell.domains]
    shots = every[0].shots if every else []
    head(["Row", "Method", "Seeds", *(f"{n} a class: clean / robust" for n in shots), "GE"])
    for row, cells in rows.items():
        for method in dict.fromkeys(o.record.method for c in cells for o in c.domains):
            ones = [o for c in cells for o in c.domains if o.record.method == method]
            ones = [one for one in ones if one.robust is not None]
            if not ones:
                continue
            told = [
                f"{100 * np.mean([one.record.clean[place].mean for one in ones]):.1f} / "
                + percent(np.stack([one.robust[:, place] for one in ones]), ones[0].record.queries)
                for place in range(len(shots))
            ]
            cost = f"{ones[0].record.cost[-1].gradient_evaluations:,.0f}"
            print(f"| {row} | {method} | {len(ones)} | {' | '.join(told)} | {cost} |")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("protocol", choices=["sequence", "domain"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data-dir")
    parser.add_argument("--dataset", help="digits unless given")
    parser.add_argument("--adapt-to", help="domain: the digits 5 to 9 unless given")
    parser.add_argument("--resize", action="store_true")
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--framework", default="torch")
    parser.add_argument("--eps", type=float, default=0.15)
    parser.add_argument("--budget-ge", type=int, default=250_000)
    parser.add_argument("--seed", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--families", nargs="+", default=["linf", "l2", "universal", "patch"])
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--attack-steps", type=int, default=20)
    parser.add_argument("--shots", nargs="+", type=int, default=[1, 5, 20])
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--report", action="store_true", help="run nothing")
    return parser.parse_args()


def main():
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    halves(options.out)
    if not options.report:
        for row in options.only:
            run(row, options)
    there = [row for row in options.only if any(folder(row, options).glob("cells/*/cell.json"))]
    rows = {row: read(folder(row, options)).cells for row in there}
    (sequences if options.protocol == "sequence" else domains)(rows)


if __name__ == "__main__":
    main()

"""Does it pay to learn where attacks start? Banks of perturbations and patches at equal compute.

    python tests/performance/learned_starts.py --dataset gtsrb --data-dir DIR --out RESULTS

`meta-gen`'s bank (meta adversarial training, Metzen et al. 2021) beside `pgd-at`, and beside what
the bank is without its learning: patterns for each image from starts that stay as they were drawn,
and one pattern that all images share. All are attacked by ART's universal and patch attacks
(`learned_starts.yaml` beside this file), which none of them met. Each row is a `bench run` into a
folder of its own below `--out`; started again, it goes on where it stopped, and `--report` runs
nothing. Intervals are 95 %, over training seeds and test examples. A run of minutes:

    python tests/performance/learned_starts.py --dataset digits --out RESULTS --seed 0 \\
        --budget-ge 50000 --examples 100 --only pgd-at bank-patch
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import yaml

from reports.records import read
from reports.statistics import across_seeds

SUITE = Path(__file__).with_suffix(".yaml")
# What the bank is without learned starts, and with a single one that goes to each result.
OWN, SHARED = {"meta_rate": 0.0}, {"bank_size": 1, "candidates": 1, "meta_rate": 1.0}
PATCH = {"pattern": "patch"}
# Row: defense and its parameters.
ROWS = {
    "pgd-at": ("pgd-at", {}),
    "bank-perturbation": ("meta-gen", {}),
    "own-perturbation": ("meta-gen", OWN),
    "shared-perturbation": ("meta-gen", SHARED),
    "bank-patch": ("meta-gen", PATCH),
    "own-patch": ("meta-gen", {**PATCH, **OWN}),
    "shared-patch": ("meta-gen", {**PATCH, **SHARED}),
}


def folder(row, options):
    return options.out / f"{row}-{options.framework}-{options.budget_ge}"


def run(row, options):
    defense, parameters = ROWS[row]
    configuration = {
        "dataset": options.dataset,
        "data_dir": options.data_dir,
        "model": options.model,
        "framework": options.framework,
        "defense": defense,
        "parameters": {defense: parameters} if parameters else {},
        "baseline": False,
        "budget_ge": options.budget_ge,
        "seed": options.seed,
        "examples": options.examples,
        "suite": str(SUITE),
        "jobs": 1,
        "threads": 1,
    }
    out = folder(row, options)
    out.mkdir(parents=True, exist_ok=True)
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(configuration))
    command = [sys.executable, "-m", "benchmark", "run", "--config", path, "--out", out, "--quiet"]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"{row} failed; see {out}")


def share(outcomes):
    """A mean with its interval, of (seeds, examples)."""
    found = across_seeds(outcomes)
    return f"{100 * found.mean:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"


def table(options):
    """What each attack leaves of each row."""
    names = list(yaml.safe_load(SUITE.read_text())["attacks"])
    print("| Row | Seeds | GE | Clean | " + " | ".join(names) + " |")
    print("|" + "---|" * (len(names) + 4))
    for row in options.only:
        if not any(folder(row, options).glob("cells/*/cell.json")):
            continue
        cells = [cell for cell in read(folder(row, options)).cells if cell.record.status == "ok"]
        under = [{one.name: one for one in cell.under(SUITE.stem)} for cell in cells]
        found = []
        for name in names:
            there = [one[name].outcomes for one in under if one[name].outcomes is not None]
            found.append(share([one.robust for one in there]) if there else "–")
        clean = share([one[names[0]].outcomes.clean_correct for one in under])
        cost = cells[0].training.cost.gradient_evaluations
        print(f"| {row} | {len(cells)} | {cost:,.0f} | {clean} | {' | '.join(found)} |")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dataset", default="gtsrb")
    parser.add_argument("--data-dir")
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--framework", default="torch")
    parser.add_argument("--budget-ge", type=int, default=1_000_000)
    parser.add_argument("--seed", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--report", action="store_true", help="run nothing")
    return parser.parse_args()


def main():
    options = arguments()
    if not options.report:
        for row in options.only:
            run(row, options)
    table(options)


if __name__ == "__main__":
    main()

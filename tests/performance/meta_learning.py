"""Was meta-learning worth its compute? Defenses at equal gradient evaluations, then adapted.

    python tests/performance/meta_learning.py --data-dir DIR --out RESULTS

MNIST, `cnn-small`, PyTorch, a million gradient evaluations a training (`--budget-ge`), the suite
`norms.yaml` beside this file, and the adaptation protocol on held-out families. Each row is a
`bench run` into a folder of its own below `--out`; started again, it goes on where it stopped.
`--only` runs some rows, `--report` none: then the tables are made from what is there. Intervals are
95 %, over training seeds and test examples or episodes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

from reports.records import read
from reports.statistics import across_seeds

SEEDS, BUDGET, EXAMPLES = (0, 1, 2), 1_000_000, 500
# Chosen on the validation examples of seed 0: more updates of the same cost.
TUNED = {"attack_steps": 5, "batch_size": 64}
TUNED_META = {"query_attack_steps": 5, "tasks": 2}
ALL_NORMS = {
    "distribution": ["attacks"],
    "attacks": ["pgd-linf", "pgd-l2", "pgd-l1"],
    "least_budget": 1.0,
    "task_attack_steps": 5,
    "tasks": 1,
    "query": 56,
}
OTHER = {**ALL_NORMS, "support_family": "other"}
# Row: defense and its parameters.
ROWS = {
    "none": ("none", {}),
    "pgd-at": ("pgd-at", {}),
    "pgd-at, tuned": ("pgd-at", TUNED),
    "random-norm": ("random-norm", {}),
    "random-norm, tuned": ("random-norm", TUNED),
    "seed-listing": ("seed-listing", {}),
    "meta-adv": ("meta-adv", {}),
    "meta-adv, fomaml": ("meta-adv", {"algorithm": "fomaml"}),
    "meta-adv, reptile": ("meta-adv", {"algorithm": "reptile"}),
    "meta-adv, anil": ("meta-adv", {"algorithm": "anil"}),
    "meta-adv, tuned": ("meta-adv", TUNED_META),
    "meta-adv, norms": ("meta-adv", ALL_NORMS),
    "meta-adv, norms, other family": ("meta-adv", OTHER),
    "meta-adv, norms, no inner step": ("meta-adv", {**OTHER, "inner_rate": 0.0}),
    "meta-gen, bank": ("meta-gen", {}),
    "meta-gen, bank of patches": ("meta-gen", {"pattern": "patch"}),
    "meta-gen, network": ("meta-gen", {"generator": "network"}),
    "mng-ac": ("mng-ac", {}),
}
BASELINES = (
    "pgd-at",
    "random-norm",
    "pgd-at, tuned",
    "random-norm, tuned",
    "meta-adv, norms, no inner step",
)
ADAPTATION = {
    "families": ["universal", "patch", "jsma"],
    "shots": [10, 100],
    "steps": [0, 5, 20],
    "rates": [0.003, 0.01, 0.03, 0.1],
    "attack_steps": 10,
    "episodes": 20,
}
TUNING = "cells/*/adaptations/tuning-*.json"
LINF = ("pgd-linf", "square-linf")


def configuration(row, options):
    defense, parameters = ROWS[row]
    return {
        "dataset": "mnist",
        "model": "cnn-small",
        "framework": "torch",
        "defense": defense,
        "parameters": {defense: parameters} if parameters else {},
        "baseline": False,
        "budget_ge": BUDGET,
        "seed": list(options.seed),
        "examples": EXAMPLES,
        "suite": str(Path(__file__).with_name("norms.yaml")),
        "protocol": "adapt",
        "adaptation": ADAPTATION,
        "data_dir": str(options.data_dir),
        "jobs": options.jobs,
    }


def folder(row, options):
    return options.out / row.replace(", ", "-").replace(" ", "-")


def run(row, options):
    out = folder(row, options)
    out.mkdir(parents=True, exist_ok=True)
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(configuration(row, options)))
    command = [sys.executable, "-m", "benchmark", "run", "--config", path, "--out", out]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"{row} failed; see {out}")


class Measured:
    """The cells of a row, seed by seed."""

    def __init__(self, row, options):
        cells = sorted(read(folder(row, options)).cells, key=lambda cell: cell.record.config.seed)
        self.seeds = [cell.record.config.seed for cell in cells]
        outcomes = [{a.name: a.outcomes for a in cell.attacks.values()} for cell in cells]
        self.clean = np.array([one["pgd-linf"].clean_correct for one in outcomes])
        self.linf = np.array([np.all([one[a].robust for a in LINF], axis=0) for one in outcomes])
        self.union = np.array(
            [np.all([o.robust for o in one.values()], axis=0) for one in outcomes]
        )
        # All of them, also one that a training met: else the rows' means were of different attacks.
        self.families = [{one.record.family: one for one in cell.adaptations} for cell in cells]
        for seed, found in zip(self.seeds, self.families, strict=True):
            if lacking := [name for name, one in found.items() if one.correct is None]:
                where = f"{row}, seed {seed}: {', '.join(lacking)}"
                raise SystemExit(f"{where} has no result; see {folder(row, options)}")
        met = {one.record.family for one in cells[0].adaptations if not one.held_out}
        self.met = f" (met {', '.join(sorted(met))})" if met else ""
        tuning = [json.loads(p.read_text()) for p in folder(row, options).glob(TUNING)]
        # (rates, shots, steps), the mean over seeds
        self.tuning = np.mean([one["accuracy"] for one in tuning], axis=0)

    def before(self):
        return self.tuned(lambda one, _: one.correct[:, -1, 0])

    def after(self, labels, *families):
        # The first row is of no labels
        row = 1 + ADAPTATION["shots"].index(labels)
        return self.tuned(lambda one, at: one.correct[:, row, at], families)

    def tuned(self, value, chosen=()):
        """(seeds, episodes), the mean over the chosen families, or all."""
        return np.array([
            np.mean([
                value(one, one.record.steps.index(one.record.tuned_steps))
                for name, one in families.items()
                if name in (chosen or families)
            ], axis=0)
            for families in self.families
        ])  # fmt: skip

    def own(self):
        """Accuracy under the threat's own family, before and after adapting to the others.

        None of a row that has met another: that one is then what it should not forget.
        """
        if self.met:
            return None
        before = self.tuned(lambda one, _: one.seen[:, 0])
        after = self.tuned(lambda one, at: one.seen[:, at])
        return before.mean(), after.mean()

    def area(self):
        steps = ADAPTATION["steps"]
        return self.tuned(
            lambda one, _: np.trapezoid(one.correct[:, -1], steps, axis=1) / steps[-1]
        )


def percent(values):
    """A mean with its interval, of (seeds, examples) or (seeds, episodes)."""
    found = across_seeds(values)
    return f"{found.mean:.1%} ({found.low:.1%} to {found.high:.1%})".replace("%", "")


def difference(ours, theirs):
    """Of paired values in [0, 1], with its interval; whether it excludes 0."""
    # Between 0 and 1, where the interval is made.
    found = across_seeds((ours.astype(float) - theirs + 1) / 2)
    low, high = (2 * bound - 1 for bound in (found.low, found.high))
    mark = "**" if low > 0 or high < 0 else ""
    return f"{mark}{200 * found.mean - 100:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}){mark}"


def table(measured):
    print(
        "| Row | Clean | Linf | Union of norms | Three families, before | after 100 labels | Area |"
    )
    print("|---|---|---|---|---|---|---|")
    for row, one in measured.items():
        values = (one.clean, one.linf, one.union, one.before(), one.after(100), one.area())
        print(f"| {row}{one.met} | " + " | ".join(percent(value) for value in values) + " |")
    for baseline in BASELINES:
        if baseline in measured:
            differences(measured, baseline)


def differences(measured, baseline):
    print(f"\nDifference to `{baseline}`, in points; bold where its interval excludes 0\n")
    families, other = ADAPTATION["families"], measured[baseline]
    heads = ["Linf", "Union of norms", "Three families, before", "after 10 labels", "after 100"]
    heads += [f"{family}, after 100" for family in families]
    print("| Row | " + " | ".join(heads) + " |")
    print("|---|" + "---|" * len(heads))
    for row, one in measured.items():
        if row == baseline or one.seeds != other.seeds:
            continue
        pairs = [(one.linf, other.linf), (one.union, other.union), (one.before(), other.before())]
        pairs += [(one.after(labels), other.after(labels)) for labels in ADAPTATION["shots"]]
        pairs += [(one.after(100, family), other.after(100, family)) for family in families]
        cells = [difference(ours, theirs) for ours, theirs in pairs]
        print(f"| {row}{one.met} | " + " | ".join(cells) + " |")


def curves(measured):
    print("\nAccuracy by steps, n labels; the mean over seeds and episodes\n")
    heads = [f"n = {n}, k = {k}" for n in ADAPTATION["shots"] for k in ADAPTATION["steps"]]
    print("| Row | Family | " + " | ".join(heads) + " |")
    print("|---|---|" + "---|" * len(heads))
    for row, one in measured.items():
        for family in one.families[0]:
            correct = np.mean([seed[family].correct for seed in one.families], axis=(0, 1))
            values = correct[1:].ravel()  # without the row of no labels
            print(f"| {row} | {family} | " + " | ".join(f"{100 * v:.1f}" for v in values) + " |")


def limits(measured):
    print("\nL1, which rates are tuned on, at each cell's best rate and steps;")
    print("and Linf under PGD-10, before and after 100 labels of the three families\n")
    shots = ADAPTATION["shots"]
    heads = ["L1, before", *[f"n = {n}, at best" for n in shots], "Linf, before", "after"]
    print("| Row | " + " | ".join(heads) + " |")
    print("|---|" + "---|" * len(heads))
    for row, one in measured.items():
        best = one.tuning[:, 1:].max(axis=(0, 2))
        values = [one.tuning[0, -1, 0], *best, *(one.own() or (None, None))]
        told = ["–" if value is None else f"{100 * value:.1f}" for value in values]
        print(f"| {row} | " + " | ".join(told) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seed", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--report", action="store_true", help="run nothing")
    options = parser.parse_args()
    if not options.report:
        for row in options.only:
            run(row, options)
    there = [row for row in options.only if any(folder(row, options).glob("cells/*"))]
    measured = {row: Measured(row, options) for row in there}
    table(measured)
    curves(measured)
    limits(measured)


if __name__ == "__main__":
    main()

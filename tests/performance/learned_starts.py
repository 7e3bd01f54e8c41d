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

from pathlib import Path

import yaml
from studies import difference, head, line, measured, parser_of, percent, seed_of

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
BANKS = tuple(row for row in ROWS if row.startswith("bank"))


class Outcomes:
    """What is right of each attack, (examples,) by seed, of the cells of a row."""

    def __init__(self, cells, names):
        ended = [cell for cell in cells if cell.record.status == "ok"]
        found = {
            seed_of(cell): {one.name: one.outcomes for one in cell.under(SUITE.stem)}
            for cell in ended
        }
        self.seeds = len(ended)
        self.cost = ended[0].training.cost.gradient_evaluations if ended else 0
        # An attack that failed or can't be read has no outcomes
        self.clean = {
            seed: next(there.clean_correct for there in one.values() if there is not None)
            for seed, one in found.items()
            if any(there is not None for there in one.values())
        }
        self.robust = {
            name: {
                seed: one[name].robust for seed, one in found.items() if one.get(name) is not None
            }
            for name in names
        }


def table(rows, names):
    """What each attack leaves of each row."""
    head(["Row", "Budget", "Seeds", "GE", "Clean", *names])
    for (row, budget), one in rows.items():
        values = [percent(one.robust[name]) for name in names]
        cost = f"{one.cost:,.0f}"
        line(row, f"{budget:,}", one.seeds, cost, percent(one.clean), *values)


def differences(rows, names):
    """Of the banks to each row without learned starts, at the same budget."""
    head(["Points", "Budget", "less", *names])
    for (row, budget), one in rows.items():
        rivals = {other: them for (other, same), them in rows.items() if same == budget}
        for other, them in rivals.items() if row in BANKS else ():
            if other not in BANKS:
                values = [difference(one.robust[name], them.robust[name]) for name in names]
                line(row, f"{budget:,}", other, *values)


def arguments():
    parser = parser_of(__doc__, ROWS, dataset="gtsrb", model="cnn", budgets=[1_000_000])
    parser.add_argument("--examples", type=int, default=500)
    return parser.parse_args()


def main():
    options = arguments()
    settings = {"suite": str(SUITE), "examples": options.examples}
    names = list(yaml.safe_load(SUITE.read_text())["attacks"])
    cells = measured(options, ROWS, lambda row: settings)
    rows = {pair: Outcomes(found, names) for pair, found in cells.items()}
    table(rows, names)
    differences(rows, names)


if __name__ == "__main__":
    main()
